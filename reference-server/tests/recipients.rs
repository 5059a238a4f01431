//! The router's recipients against a model that is written differently: the router asks of each
//! filter which scopes it accepts, the model says of each connection which events it is there for.

use std::collections::BTreeSet;

use proptest::prelude::*;
use touchstone_reference_server::router::{
    ConnectionId, RecipientFilter, Routed, Scope, recipients,
};

#[derive(Clone, Debug)]
struct Peer {
    id: ConnectionId,
    scope: Scope,
}

impl Routed for Peer {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// The specification's words for a filter, and the id that it names.
fn words(filter: &RecipientFilter) -> (&'static str, &str) {
    match filter {
        RecipientFilter::AllInterestedInSession { session_id } => ("session", session_id),
        RecipientFilter::UserScopedOnly => ("user", ""),
        RecipientFilter::MachineScopedOnly { machine_id } => ("machine", machine_id),
        RecipientFilter::AllUserAuthenticatedConnections => ("all", ""),
    }
}

/// The model: the set of (connection, reason) pairs, built from the side of the connections.
fn expected(
    peers: &[Peer],
    filter: &RecipientFilter,
    skip: Option<ConnectionId>,
) -> Vec<ConnectionId> {
    let (kind, named) = words(filter);
    let mut chosen = BTreeSet::new();
    for peer in peers {
        let own = match &peer.scope {
            Scope::User => vec!["session", "user", "machine", "all"],
            Scope::Session(id) if id == named => vec!["session", "all"],
            Scope::Machine(id) if id == named => vec!["machine", "all"],
            Scope::Session(_) | Scope::Machine(_) => vec!["all"],
        };
        if own.contains(&kind) {
            chosen.insert(peer.id);
        }
    }
    if let Some(skip) = skip {
        chosen.remove(&skip);
    }
    chosen.into_iter().collect()
}

fn actual(
    peers: &[Peer],
    filter: &RecipientFilter,
    skip: Option<ConnectionId>,
) -> Vec<ConnectionId> {
    recipients(peers, filter, skip).map(Routed::id).collect()
}

/// Names that sessions and machines share, so that they can be taken for each other.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "", "all", "user-scoped-only"]).prop_map(str::to_owned)
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::User),
        name().prop_map(Scope::Session),
        name().prop_map(Scope::Machine)
    ]
}

fn filter() -> impl Strategy<Value = RecipientFilter> {
    prop_oneof![
        name().prop_map(|session_id| RecipientFilter::AllInterestedInSession { session_id }),
        Just(RecipientFilter::UserScopedOnly),
        name().prop_map(|machine_id| RecipientFilter::MachineScopedOnly { machine_id }),
        Just(RecipientFilter::AllUserAuthenticatedConnections),
    ]
}

fn numbered(scopes: Vec<Scope>) -> Vec<Peer> {
    (1..)
        .zip(scopes)
        .map(|(id, scope)| Peer {
            id: ConnectionId(id),
            scope,
        })
        .collect()
}

proptest! {
    #[test]
    fn recipients_are_those_of_the_model(
        scopes in prop::collection::vec(scope(), 0..12),
        filter in filter(),
        skip in prop::option::of(0_u64..14),
    ) {
        let peers = numbered(scopes);
        let skip = skip.map(ConnectionId);
        prop_assert_eq!(actual(&peers, &filter, skip), expected(&peers, &filter, skip));
    }
}

/// Every scope under every filter with every skip, once: what chance might leave out.
#[test]
fn the_whole_table() {
    let names = ["a", "b"].map(str::to_owned);
    let mut scopes = vec![Scope::User, Scope::User];
    let mut filters = vec![RecipientFilter::UserScopedOnly, RecipientFilter::default()];
    for name in names {
        scopes.extend([Scope::Session(name.clone()), Scope::Machine(name.clone())]);
        filters.push(RecipientFilter::AllInterestedInSession {
            session_id: name.clone(),
        });
        filters.push(RecipientFilter::MachineScopedOnly { machine_id: name });
    }
    let peers = numbered(scopes);
    let mut rows = 0;
    for filter in &filters {
        for skip in (0..=peers.len() as u64 + 1)
            .map(ConnectionId)
            .map(Some)
            .chain([None])
        {
            assert_eq!(
                actual(&peers, filter, skip),
                expected(&peers, filter, skip),
                "{filter:?} {skip:?}"
            );
            rows += 1;
        }
    }
    assert_eq!(rows, filters.len() * (peers.len() + 3));
}

#[test]
fn filters_are_written_as_in_the_specification() {
    #[track_caller]
    fn check(filter: &RecipientFilter, text: &str) {
        assert_eq!(serde_json::to_string(filter).unwrap(), text);
        assert_eq!(
            &serde_json::from_str::<RecipientFilter>(text).unwrap(),
            filter
        );
    }
    let session_id = "s".to_owned();
    check(
        &RecipientFilter::AllInterestedInSession { session_id },
        r#"{"type":"all-interested-in-session","sessionId":"s"}"#,
    );
    let machine_id = "m".to_owned();
    check(
        &RecipientFilter::MachineScopedOnly { machine_id },
        r#"{"type":"machine-scoped-only","machineId":"m"}"#,
    );
    check(
        &RecipientFilter::UserScopedOnly,
        r#"{"type":"user-scoped-only"}"#,
    );
    check(
        &RecipientFilter::AllUserAuthenticatedConnections,
        r#"{"type":"all-user-authenticated-connections"}"#,
    );
}
