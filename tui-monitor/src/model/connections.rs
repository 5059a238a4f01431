//! The connections that are known, by account: what the monitor opened, and what a trace or a tap
//! mentions.
//!
//! Bounded, since a tap of a large server mentions thousands of connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Entry, Kind, Recipients, Scope, SourceState};

/// Connections that are kept by name.
const MOST: usize = 1_000;

/// The tree: accounts, and their connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    accounts: BTreeMap<Arc<str>, Account>,
    known: usize,
    /// Mentions of connections that no longer fitted.
    pub(crate) unnamed: u64,
}

/// The connections of one account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) events: u64,
    pub(crate) connections: BTreeMap<Arc<str>, Connection>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) scope: Scope,
    pub(crate) state: State,
    pub(crate) events: u64,
}

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Mentioned by others: whether it is open is not known.
    Mentioned,
    Connecting,
    Open,
    /// Tried again after a while.
    Lost {
        reason: String,
        attempt: u32,
        in_ms: u64,
    },
    Closed {
        reason: String,
    },
}

/// How many of the monitor's own connections are in which state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    pub(crate) lost: usize,
    pub(crate) closed: usize,
}

impl Connections {
    /// The accounts in the order of their names.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&Arc<str>, &Account)> {
        self.accounts.iter()
    }

    /// What a connection is for, where that is known.
    pub(crate) fn scope(&self, account: &str, conn: &str) -> Option<&Scope> {
        let account = self.accounts.get(account)?;
        Some(&account.connections.get(conn)?.scope)
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let connections = self.accounts.values().flat_map(|a| a.connections.values());
        for connection in connections {
            match connection.state {
                State::Mentioned => {}
                State::Connecting => tally.connecting += 1,
                State::Open => tally.open += 1,
                State::Lost { .. } => tally.lost += 1,
                State::Closed { .. } => tally.closed += 1,
            }
        }
        tally
    }

    /// The first connection that is lost or closed, with why.
    pub(crate) fn trouble(&self) -> Option<(&str, &State)> {
        let mut connections = self.accounts.values().flat_map(|a| &a.connections);
        connections
            .find(|(_, connection)| {
                matches!(connection.state, State::Lost { .. } | State::Closed { .. })
            })
            .map(|(name, connection)| (&**name, &connection.state))
    }

    pub(crate) fn source(&mut self, state: &SourceState) {
        let (conn, scope, state) = match state {
            SourceState::Connecting { conn, scope } => (conn, Some(scope), State::Connecting),
            SourceState::Connected { conn, scope } => (conn, Some(scope), State::Open),
            SourceState::Reconnecting {
                conn,
                reason,
                attempt,
                in_ms,
            } => {
                let reason = reason.clone();
                let (attempt, in_ms) = (*attempt, *in_ms);
                let state = State::Lost {
                    reason,
                    attempt,
                    in_ms,
                };
                (conn, None, state)
            }
            SourceState::Closed { conn, reason } => {
                let reason = reason.clone();
                (conn, None, State::Closed { reason })
            }
            SourceState::Playback(_) | SourceState::Rewound | SourceState::Ended { .. } => return,
        };
        let home = self.accounts.iter();
        let home = home.filter(|(_, account)| account.connections.contains_key(conn));
        let home = home.map(|(name, _)| Arc::clone(name)).next();
        let home = home.unwrap_or_else(|| account_of(conn));
        if let Some(connection) = self.connection(&home, conn) {
            connection.state = state;
            if let Some(scope) = scope {
                connection.scope = scope.clone();
            }
        }
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        if matches!(entry.kind, Kind::Note | Kind::Gap) {
            return;
        }
        let account = if entry.account.is_empty() {
            account_of(&entry.conn)
        } else {
            Arc::clone(&entry.account)
        };
        // The number of accounts is bounded as that of connections is.
        if self.accounts.len() < MOST || self.accounts.contains_key(&account) {
            self.accounts
                .entry(Arc::clone(&account))
                .or_default()
                .events += 1;
        }
        match &entry.recipients {
            Recipients::Routed(routed) => {
                for conn in &routed.recipients {
                    self.mention(&account, conn, &Scope::None);
                }
            }
            Recipients::Ours(receipts) => {
                for receipt in receipts {
                    self.mention(&account, &receipt.conn, &receipt.scope);
                }
            }
            Recipients::Unknown if !entry.conn.is_empty() => {
                self.mention(&account, &entry.conn, &entry.scope);
            }
            Recipients::Unknown => {}
        }
    }

    /// One more event of a connection.
    pub(crate) fn mention(&mut self, account: &Arc<str>, conn: &Arc<str>, scope: &Scope) {
        if let Some(connection) = self.connection(account, conn) {
            connection.events += 1;
            if connection.scope == Scope::None {
                connection.scope = scope.clone();
            }
        }
    }

    fn connection(&mut self, account: &Arc<str>, conn: &Arc<str>) -> Option<&mut Connection> {
        let known = self
            .accounts
            .get(account)
            .is_some_and(|account| account.connections.contains_key(conn));
        if !known {
            if let Some(connection) = self.leave(&account_of(conn), account, conn) {
                let account = self.accounts.entry(Arc::clone(account)).or_default();
                return Some(
                    account
                        .connections
                        .entry(Arc::clone(conn))
                        .or_insert(connection),
                );
            }
            if self.known >= MOST {
                self.unnamed += 1;
                return None;
            }
            self.known += 1;
        }
        let account = self.accounts.entry(Arc::clone(account)).or_default();
        let connection = account.connections.entry(Arc::clone(conn));
        Some(connection.or_insert_with(|| Connection {
            scope: Scope::None,
            state: State::Mentioned,
            events: 0,
        }))
    }
}

impl Connections {
    /// Takes a connection from the account that its label made likely, now that it is known to be
    /// another's.
    fn leave(
        &mut self,
        guess: &Arc<str>,
        account: &Arc<str>,
        conn: &Arc<str>,
    ) -> Option<Connection> {
        if guess == account {
            return None;
        }
        let guessed = self.accounts.get_mut(guess)?;
        let connection = guessed.connections.remove(conn)?;
        if guessed.connections.is_empty() && guessed.events == 0 {
            self.accounts.remove(guess);
        }
        Some(connection)
    }
}

/// The account of a connection's label: what is before its slash.
pub(crate) fn account_of(conn: &str) -> Arc<str> {
    conn.split_once('/')
        .map_or(conn, |(account, _)| account)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Routed;
    use crate::model::testing::entry;

    #[test]
    fn states_come_from_the_source_and_counts_from_entries() {
        let mut connections = Connections::default();
        let conn: Arc<str> = "a1/user".into();
        let scope = Scope::User;
        connections.source(&SourceState::Connected {
            conn: Arc::clone(&conn),
            scope,
        });
        connections.entry(&entry(1, "new-message"));
        assert_eq!(connections.tally().open, 1);
        assert!(connections.trouble().is_none());
        connections.source(&SourceState::Reconnecting {
            conn,
            reason: "reset".to_owned(),
            attempt: 2,
            in_ms: 800,
        });
        let (name, account) = connections.accounts().next().unwrap();
        let connection = &account.connections["a1/user"];
        assert_eq!((&**name, account.events, connection.events), ("a1", 1, 1));
        assert_eq!(connection.scope, Scope::User);
        assert_eq!(connections.tally().lost, 1);
        assert_eq!(connections.trouble().unwrap().0, "a1/user");
    }

    #[test]
    fn a_connection_moves_to_the_account_that_entries_name() {
        let mut connections = Connections::default();
        let conn: Arc<str> = "1/user-1".into();
        let scope = Scope::User;
        let connected = SourceState::Connected {
            conn: Arc::clone(&conn),
            scope: scope.clone(),
        };
        connections.source(&connected);
        connections.mention(&"a1".into(), &conn, &scope);
        let reason = "over".to_owned();
        connections.source(&SourceState::Closed { conn, reason });
        let names: Vec<&str> = connections.accounts().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a1"]);
        assert_eq!((connections.tally().closed, connections.known), (1, 1));
    }

    #[test]
    fn what_a_tap_mentions_is_bounded() {
        let mut connections = Connections::default();
        for number in 0..2_000_u64 {
            let mut entry = entry(number, "activity");
            entry.recipients = Recipients::Routed(Box::new(Routed {
                filter: "{}".into(),
                recipients: vec![format!("sid-{number}").into()],
                skipped: None,
                receipts: Vec::new(),
            }));
            connections.entry(&entry);
        }
        let (_, account) = connections.accounts().next().unwrap();
        assert_eq!(account.connections.len(), MOST);
        assert_eq!((account.events, connections.unnamed), (2_000, 1_000));
    }
}
