//! Those who give a server something to show: accounts, sessions, machines, and what they send.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use touchstone_client::provision::{Account, NewMachine, NewSession, Rest};
use touchstone_client::{ConnectOptions, connect};

use crate::support::Served;

/// An account of a server.
pub(super) struct People {
    runtime: Runtime,
    options: ConnectOptions,
    rest: Rest,
    account: Account,
}

impl People {
    /// The same number gives the same account.
    pub(super) fn of(server: &Served, number: u8) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ConnectOptions::new(server.url.parse().expect("a URL"));
        let rest = Rest::new(&options).expect("a client");
        let account = runtime.block_on(rest.account([number; 32]));
        Self {
            runtime,
            options,
            rest,
            account: account.expect("an account"),
        }
    }

    pub(super) fn token(&self) -> &str {
        self.account.token.expose()
    }

    /// Makes a session, which is an event, and returns its id.
    pub(super) fn session(&self, tag: &str) -> String {
        let session = NewSession {
            tag: tag.to_owned(),
            metadata: "bWV0YWRhdGE=".to_owned(),
            ..NewSession::default()
        };
        let made = self.rest.session(&self.account, &session);
        self.runtime.block_on(made).expect("a session").id
    }

    /// Makes a machine of this id, which is two events.
    pub(super) fn machine(&self, id: &str) {
        let machine = NewMachine {
            id: id.to_owned(),
            metadata: "bWV0YWRhdGE=".to_owned(),
            ..NewMachine::default()
        };
        let made = self.rest.machine(&self.account, &machine);
        self.runtime.block_on(made).expect("a machine");
    }

    /// Sends an event on a connection of its own, which stays until the server has handled it.
    pub(super) fn send(&self, event: &str, data: &Value) {
        let auth = json!({"token": self.token(), "clientType": "user-scoped"});
        let options = self.options.clone().auth(auth);
        self.runtime.block_on(async {
            let (socket, _events) = connect(&options).await.expect("a connection");
            socket.emit(event, data).await.expect("an open connection");
            let handled = socket.call("ping", (), std::time::Duration::from_secs(30));
            handled.await.expect("an answer");
        });
    }
}
