//! The connections that most events divide: those of users, which hear of them, and the others.

use touchstone_harness::stage::Role;

/// Session- and machine-scoped connections of the account, which hear of nothing that is for users.
pub(crate) const SCOPED: [Role; 4] = [Role::S1, Role::S2, Role::M1, Role::M2];

/// Those who hear of what is for users.
pub(crate) const USERS: [Role; 2] = [Role::U1, Role::U2];

/// The cast for events that are for users only.
pub(crate) const CAST: [Role; 7] = [
    Role::U1,
    Role::U2,
    Role::S1,
    Role::S2,
    Role::M1,
    Role::M2,
    Role::V1,
];
