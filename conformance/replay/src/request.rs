//! The HTTP requests of a recording, and what they mean for a server that has no REST surface.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_client::{
    Secret,
    provision::{Account, NewMachine, NewSession, ProvisionError, Provisioner},
    trace::{Exchange, Kind},
};

use super::{
    heard::What,
    listen::Log,
    lock,
    report::Unsent,
    script::{is_sign_in, token_name},
};

/// The accounts of now, by the names of their tokens in the recording.
pub(super) type Tokens = Mutex<HashMap<String, Account>>;

/// One request with all that it needs, so that it can be on its way while steps go on.
pub(super) struct Request {
    pub(super) conn: String,
    pub(super) step: usize,
    pub(super) index: usize,
    pub(super) recorded: Exchange,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) account: Option<Account>,
    pub(super) seed: [u8; 32],
    pub(super) provisioner: Provisioner,
    pub(super) log: Arc<Log>,
    pub(super) tokens: Arc<Tokens>,
}

impl Request {
    pub(super) async fn send(self) -> Option<Unsent> {
        let began = Instant::now();
        let answered = if is_sign_in(&self.recorded) {
            self.sign_in().await
        } else if let Provisioner::Rest(rest) = &self.provisioner {
            let token = self.account.as_ref().map(|account| &account.token);
            let method = &self.recorded.method;
            let answer = rest
                .request(method, &self.path, token, self.body.as_ref())
                .await;
            match answer {
                Ok(answer) => Ok(Some((answer.status, answer.body))),
                Err(ProvisionError::NoAnswer { .. }) => Ok(None),
                Err(error) => Err(touchstone_output::text::error_chain(&error)),
            }
        } else {
            self.provide().await
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(why) => {
                return Some(Unsent {
                    conn: self.conn,
                    what: format!("{} {}", self.recorded.method, self.recorded.url),
                    why,
                    step: Some(self.step),
                });
            }
        };
        let answer = answer.map(|(status, mut body)| {
            let recorded = self.recorded.response.clone().unwrap_or_default();
            if let (Some(name), Some(token)) = (token_name(Some(&recorded)), body["token"].as_str())
            {
                let account = Account {
                    token: Secret::new(token),
                    id: None,
                };
                lock(&self.tokens).entry(name.clone()).or_insert(account);
                body["token"] = json!(format!("{name}…"));
            }
            self.log.kept().names.learn_all(&recorded, &body);
            (status, body)
        });
        let (status, response) = answer.clone().unzip();
        let exchange = Exchange {
            method: self.recorded.method.clone(),
            url: self.path.clone(),
            status,
            request: self.body.clone(),
            response,
            ms: 0,
            us: u64::try_from(began.elapsed().as_micros()).ok(),
        };
        self.log.judge(&self.conn, Kind::Http(exchange));
        self.log
            .hear(&self.conn, What::Answered(self.index, answer));
        None
    }

    /// Makes an account of its own: a signature of the recording would sign in to the old one.
    async fn sign_in(&self) -> Result<Option<(u16, Value)>, String> {
        let name = token_name(self.recorded.response.as_ref());
        // The same token is the same account, where a provisioner would hand out another one.
        let known = name
            .as_ref()
            .and_then(|name| lock(&self.tokens).get(name).cloned());
        let made = match (known, &self.provisioner) {
            (Some(account), Provisioner::File(_) | Provisioner::Command(_)) => Ok(account),
            _ => self.provisioner.account(self.seed).await,
        };
        match (made, name) {
            (Ok(account), Some(name)) => {
                lock(&self.tokens).insert(name, account);
                Ok(self.as_recorded())
            }
            (Ok(_), None) => Err("the recording does not name the account".into()),
            (Err(ProvisionError::Http { status, body, .. }), _) => {
                Ok(Some((status, Value::String(body))))
            }
            (Err(error), _) => Err(touchstone_output::text::error_chain(&error)),
        }
    }

    /// Makes what the request would make, on a server that is not provisioned over REST.
    async fn provide(&self) -> Result<Option<(u16, Value)>, String> {
        let none = || "the target is not provisioned over REST".to_owned();
        let account = self.account.as_ref().ok_or_else(none)?;
        if self.recorded.method != "POST" || self.recorded.status != Some(200) {
            return Err(none());
        }
        let text = |key: &str| self.body.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let recorded = |pointer: &str| {
            let id = self.recorded.response.as_ref()?.pointer(pointer)?.as_str();
            id.map(str::to_owned)
        };
        let made = match self.recorded.url.as_str() {
            "/v1/sessions" => {
                let new = NewSession {
                    tag: text("tag").unwrap_or_default(),
                    metadata: text("metadata").unwrap_or_default(),
                    agent_state: text("agentState"),
                    data_encryption_key: text("dataEncryptionKey"),
                };
                let made = self.provisioner.session(account, &new).await;
                (recorded("/session/id"), made)
            }
            "/v1/machines" => {
                let new = NewMachine {
                    id: text("id").unwrap_or_default(),
                    metadata: text("metadata").unwrap_or_default(),
                    daemon_state: text("daemonState"),
                    data_encryption_key: text("dataEncryptionKey"),
                };
                let made = self.provisioner.machine(account, &new).await;
                (recorded("/machine/id"), made)
            }
            _ => return Err(none()),
        };
        let (old, made) = made;
        let made = made.map_err(|error| touchstone_output::text::error_chain(&error))?;
        if let Some(old) = old {
            self.log.kept().names.learn(&old, &made.id);
        }
        Ok(self.as_recorded())
    }

    /// The recorded answer, with the names of now.
    fn as_recorded(&self) -> Option<(u16, Value)> {
        let body = self.recorded.response.as_ref();
        let body = body.map(|body| self.log.kept().names.renamed_in(body));
        let body = body.unwrap_or_default();
        self.recorded.status.map(|status| (status, body))
    }
}
