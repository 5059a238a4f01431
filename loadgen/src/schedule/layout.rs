//! Who is who: how the population is spread over accounts, and how an account's connections are
//! numbered.

use crate::scenario::{Population, Role, Scenario};

/// One account's part of the population. Its connections are numbered from 0: users first, then
/// those of each session, then machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its number in the whole schedule.
    pub index: u32,
    /// User-scoped connections.
    pub users: u32,
    /// Sessions.
    pub sessions: u32,
    /// Connections of each session.
    pub per_session: u32,
    /// Machines, each with one connection.
    pub machines: u32,
    /// The numbers that its first connection of each role has in the whole schedule.
    first: [u32; 3],
}

/// What a connection is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its role.
    pub role: Role,
    /// Which of the account's users, sessions or machines it is one of.
    pub subject: u32,
}

/// The part of `total` that comes before `index`, when it is spread evenly over `among`.
fn before(total: u32, index: u32, among: u32) -> u32 {
    let before = u64::from(total) * u64::from(index) / u64::from(among.max(1));
    u32::try_from(before).unwrap_or(u32::MAX)
}

impl Account {
    pub(crate) fn new(scenario: &Scenario, index: u32) -> Self {
        let Population {
            accounts,
            users,
            sessions,
            per_session,
            machines,
            ..
        } = scenario.population;
        let first = |total| before(total, index, accounts);
        let part = |total| before(total, index + 1, accounts) - first(total);
        Self {
            index,
            users: part(users),
            sessions: part(sessions),
            per_session,
            machines: part(machines),
            first: [first(users), first(sessions) * per_session, first(machines)],
        }
    }

    /// How many connections it has.
    pub fn connections(&self) -> u32 {
        self.users + self.sessions * self.per_session + self.machines
    }

    /// What a connection is bound to.
    pub fn peer(&self, number: u32) -> Peer {
        let of_sessions = self.sessions * self.per_session;
        let (role, subject) = if number < self.users {
            (Role::User, number)
        } else if number < self.users + of_sessions {
            (
                Role::Session,
                (number - self.users) / self.per_session.max(1),
            )
        } else {
            (Role::Machine, number - self.users - of_sessions)
        };
        Peer { role, subject }
    }

    /// The connections of a session or machine, or the one of a user.
    pub fn connections_of(&self, role: Role, subject: u32) -> std::ops::Range<u32> {
        match role {
            Role::User => subject..subject + 1,
            Role::Session => {
                let first = self.users + subject * self.per_session;
                first..first + self.per_session
            }
            Role::Machine => {
                let first = self.users + self.sessions * self.per_session + subject;
                first..first + 1
            }
        }
    }

    /// The number that a connection has among all of its role in the whole schedule.
    pub(crate) fn number_in_role(&self, number: u32) -> u32 {
        let of_sessions = self.sessions * self.per_session;
        match self.peer(number).role {
            Role::User => self.first[0] + number,
            Role::Session => self.first[1] + number - self.users,
            Role::Machine => self.first[2] + number - self.users - of_sessions,
        }
    }

    /// How many connections of the whole schedule come before those of this account.
    pub(crate) fn connections_before(&self) -> u64 {
        self.first.into_iter().map(u64::from).sum()
    }

    /// The place of a connection among all of the schedule.
    pub(crate) fn place(&self, number: u32) -> u64 {
        self.connections_before() + u64::from(number)
    }

    /// Which of so many nodes a connection goes to: they are spread over them in turn.
    pub(crate) fn node(&self, number: u32, nodes: usize) -> usize {
        usize::try_from(self.place(number)).unwrap_or_default() % nodes
    }

    /// How a report names a connection.
    pub fn name(&self, number: u32) -> String {
        let Peer { role, subject } = self.peer(number);
        let role = match role {
            Role::User => "user",
            Role::Session => "session",
            Role::Machine => "machine",
        };
        let of = self.connections_of(self.peer(number).role, subject);
        let which = if of.len() > 1 {
            format!(", connection {}", number - of.start)
        } else {
            String::new()
        };
        format!("account {}, {role} {subject}{which}", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(population: &str) -> Scenario {
        let text = format!(
            "description = ''\n[population]\n{population}\n[[phases]]\nname = 'a'\nduration = '1s'"
        );
        Scenario::parse("test", &text).unwrap()
    }

    #[test]
    fn everybody_has_a_place() {
        let scenario =
            scenario("accounts = 7\nusers = 3\nsessions = 10\nper-session = 2\nmachines = 9");
        let accounts: Vec<_> = (0..7).map(|index| Account::new(&scenario, index)).collect();
        let sum = |of: fn(&Account) -> u32| accounts.iter().map(of).sum::<u32>();
        assert_eq!(
            (sum(|a| a.users), sum(|a| a.sessions), sum(|a| a.machines)),
            (3, 10, 9)
        );
        assert_eq!(u64::from(sum(Account::connections)), scenario.connections());
        for role in Role::ALL {
            let mut numbers: Vec<u32> = Vec::new();
            for account in &accounts {
                let peers = (0..account.connections()).filter(|p| account.peer(*p).role == role);
                numbers.extend(peers.map(|p| account.number_in_role(p)));
            }
            assert!(
                numbers.iter().copied().eq(0..numbers.len() as u32),
                "{numbers:?}"
            );
        }
        let mut before = 0;
        for account in &accounts {
            assert_eq!(account.connections_before(), before);
            before += u64::from(account.connections());
        }
    }

    #[test]
    fn connections_and_subjects_agree() {
        let scenario =
            scenario("accounts = 1\nusers = 2\nsessions = 3\nper-session = 2\nmachines = 1");
        let account = Account::new(&scenario, 0);
        for number in 0..account.connections() {
            let peer = account.peer(number);
            assert!(
                account
                    .connections_of(peer.role, peer.subject)
                    .contains(&number)
            );
        }
        assert_eq!(account.name(0), "account 0, user 0");
        assert_eq!(account.name(5), "account 0, session 1, connection 1");
        assert_eq!(account.name(8), "account 0, machine 0");
    }
}
