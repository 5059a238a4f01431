//! Accounts, sessions and machines for a case, through the target's provisioner.
//!
//! What cannot be provisioned is a precondition that failed, not a verdict on what the case is about.

use futures_util::future::try_join_all;
use rand::Rng as _;
use serde_json::Value;
use touchstone_client::{
    Secret,
    provision::{
        self, Made, NewMachine, NewSession, ProvisionError, Provisioner, Rest, rest::Answer,
    },
    trace::CONTRIVED,
};
use touchstone_output::text::error_chain;

use crate::{
    case::{Flow, Stop},
    ctx::Ctx,
    ledger::Requirement,
    target::Capability,
};

/// An account of the case's own.
#[derive(Debug, Clone)]
pub struct Account {
    inner: provision::Account,
}

impl Account {
    /// What CONNECT carries.
    pub fn token(&self) -> &str {
        self.inner.token.expose()
    }

    /// Its token, which nothing shows.
    pub(crate) fn secret(&self) -> &Secret {
        &self.inner.token
    }
}

/// A session of an account.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: String,
}

/// A machine of an account.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its id.
    pub id: String,
}

/// The word that reports use for a provisioner.
pub(crate) fn kind(provisioner: &Provisioner) -> &'static str {
    match provisioner {
        Provisioner::Rest(_) => "rest",
        Provisioner::File(_) => "file",
        Provisioner::Command(_) => "command",
    }
}

/// What was made, or nothing where the server has no route for it.
fn made_if_offered<T>(made: Flow<T>) -> Flow<Option<T>> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(Stop::Unprovided(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

fn stop(error: &ProvisionError) -> Stop {
    let reason = error_chain(error);
    match error {
        ProvisionError::Unsupported { .. } => Stop::Skip(reason),
        ProvisionError::NotEnough { .. } => Stop::Short,
        _ => Stop::Trouble(reason),
    }
}

impl Ctx {
    /// Makes an account.
    pub async fn account(&mut self) -> Flow<Account> {
        let mut key = [0; 32];
        self.names().fill_bytes(&mut key);
        let made = self.provisioner().account(key).await;
        self.evidence.mark("an account is made");
        Ok(Account {
            inner: made.map_err(|error| stop(&error))?,
        })
    }

    /// Makes a session.
    pub async fn session(&mut self, account: &Account) -> Flow<Session> {
        let new = NewSession {
            tag: self.marker("tag"),
            metadata: self.marker("metadata"),
            ..NewSession::default()
        };
        let asked = self.shared.clock.unix_ms();
        let made = self.provisioner().session(&account.inner, &new).await;
        let id = self.made(asked, made)?;
        self.evidence.mark(&format!("session {id} is made"));
        Ok(Session { id })
    }

    /// Makes a machine.
    pub async fn machine(&mut self, account: &Account) -> Flow<Machine> {
        let new = NewMachine {
            id: self.marker("machine"),
            metadata: self.marker("metadata"),
            ..NewMachine::default()
        };
        let asked = self.shared.clock.unix_ms();
        let made = self.provisioner().machine(&account.inner, &new).await;
        let id = self.made(asked, made)?;
        self.evidence.mark(&format!("machine {id} is made"));
        Ok(Machine { id })
    }

    /// The id of what was `asked` for. Its versions and times are remembered where the server told them.
    fn made(&mut self, asked: u64, made: Result<Made, ProvisionError>) -> Flow<String> {
        let is_rest = matches!(self.shared.target.provisioner, Provisioner::Rest(_));
        let Made { id, record } = made.map_err(|error| match &error {
            // Others say by it that there is no such thing on their server.
            ProvisionError::Unsupported { .. } if is_rest => Stop::Unprovided(error_chain(&error)),
            error => stop(error),
        })?;
        self.saw_created(asked, &record);
        self.shared.made(&id);
        for (field, key) in [
            ("metadata", "metadataVersion"),
            ("agentState", "agentStateVersion"),
            ("daemonState", "daemonStateVersion"),
        ] {
            if let Some(version) = record[key].as_i64() {
                self.saw_version(&id, field, version);
            }
        }
        Ok(id)
    }

    /// Makes an access key, and gives its data.
    pub async fn access_key(
        &mut self,
        account: &Account,
        session: &Session,
        machine: &Machine,
        data: &str,
    ) -> Flow<String> {
        let made = self
            .provisioner()
            .access_key(&account.inner, &session.id, &machine.id, data)
            .await;
        self.evidence.mark("an access key is made");
        made.map_err(|error| stop(&error))
    }

    /// An HTTP request that must succeed: another status breaks `by` and ends the case.
    pub async fn rest(
        &mut self,
        by: &'static Requirement,
        account: &Account,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Flow<Value> {
        let Answer { status, body, .. } = self.rest_any(account, method, path, body).await?;
        if matches!(status, 404 | 501) && body.get("path").is_some() {
            return Err(Stop::Skip(format!("{method} {path} answers {status}")));
        }
        // What is not there yet breaks nothing that is said of it.
        let is_made = method == "POST" && matches!(path, "/v1/sessions" | "/v1/machines");
        if is_made && matches!(status, 404 | 405 | 501) {
            let reason = format!("{method} {path} answers {status}");
            return Err(Stop::Unprovided(reason));
        }
        let expected = format!("{method} {path} to succeed");
        self.require(
            by,
            (200..300).contains(&status),
            expected,
            format!("{status} {body}"),
        )?;
        Ok(body)
    }

    /// An HTTP request with whatever answer. Needs a target with a REST surface.
    pub async fn rest_any(
        &self,
        account: &Account,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Flow<Answer> {
        self.rest_as(Some(account.secret()), method, path, body)
            .await
    }

    /// A request without a body, and with one more header.
    pub async fn rest_with(
        &self,
        header: Option<(&str, &str)>,
        account: &Account,
        method: &str,
        path: &str,
    ) -> Flow<Answer> {
        let mut options = self.options("http", None);
        if let Some((name, value)) = header {
            options = options.header(name, value);
        }
        let rest = Rest::new(&options).map_err(|error| stop(&error))?;
        let rest = self.evidence.provisioner(&Provisioner::Rest(rest));
        let Provisioner::Rest(rest) = rest else {
            return Err(Stop::Skip("the target is not provisioned over REST".into()));
        };
        let shown =
            header.map_or_else(String::new, |(name, value)| format!("with {name}: {value}"));
        let text = self.sends(&format!("{method} {path}"), &shown);
        let answer = rest
            .request(method, path, Some(account.secret()), None)
            .await;
        self.sent(&text).await;
        answer.map_err(|error| stop(&error))
    }

    /// What `path` answers to the account, for those who compare it with what it answered before: it is no part
    /// of what the case does, and does not stand in its trace.
    pub async fn read_aside(&self, account: &Account, path: &str) -> Flow<Answer> {
        let Provisioner::Rest(rest) = &self.shared.target.provisioner else {
            return Err(Stop::Skip("the target is not provisioned over REST".into()));
        };
        let answer = rest.request("GET", path, Some(account.secret()), None);
        answer.await.map_err(|error| stop(&error))
    }

    /// As [`rest_any`](Self::rest_any), with any token or none.
    pub async fn rest_as(
        &self,
        token: Option<&Secret>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Flow<Answer> {
        let Provisioner::Rest(rest) = self.provisioner() else {
            return Err(Stop::Skip("the target is not provisioned over REST".into()));
        };
        if path.starts_with("/control/emit") {
            self.evidence.mark(CONTRIVED);
        }
        // Signatures and challenges are secrets.
        let shown = match path.starts_with("/v1/auth") {
            true => String::new(),
            false => body.to_string(),
        };
        let text = self.sends(&format!("{method} {path}"), &shown);
        let body = (!body.is_null()).then_some(body);
        let answer = rest.request(method, path, token, body).await;
        self.sent(&text).await;
        answer.map_err(|error| stop(&error))
    }

    /// The target's provisioner, with its HTTP exchanges in the case's evidence.
    fn provisioner(&self) -> Provisioner {
        self.evidence.provisioner(&self.shared.target.provisioner)
    }

    /// Signs in with a key of the caller's choice, where accounts are made over REST.
    pub async fn sign_in(&self, key: [u8; 32]) -> Flow<Account> {
        let Provisioner::Rest(rest) = self.provisioner() else {
            return Err(Stop::Skip("the target is not provisioned over REST".into()));
        };
        let inner = rest.account(key).await.map_err(|error| stop(&error))?;
        self.evidence.mark("an account signs in");
        Ok(Account { inner })
    }

    /// What the target lacks, found out by asking for it.
    pub(crate) async fn missing_capabilities(
        &mut self,
        account: &Account,
    ) -> Flow<Vec<(Capability, String)>> {
        if !matches!(self.shared.target.provisioner, Provisioner::Rest(_)) {
            // Access keys are not among them: files and programs may have some.
            let of_rest = Capability::ALL.into_iter();
            let missing = of_rest
                .filter(|what| *what != Capability::AccessKeys)
                .map(|what| {
                    let reason = format!("no {what}: the target is not provisioned over REST");
                    (what, reason)
                });
            return Ok(missing.collect());
        }
        // A server may have no such route yet: what needs one cannot be judged, and all else can.
        let session = made_if_offered(self.session(account).await)?.map(|session| session.id);
        let machine = made_if_offered(self.machine(account).await)?.map(|machine| machine.id);
        let session = session.unwrap_or_else(|| "no-session".into());
        let machine = machine.unwrap_or_else(|| "no-machine".into());
        let access_key = format!("/v1/access-keys/{session}/{machine}");
        let of_session = |route: &str| route.replace(":session", &session);
        let probes = [
            (Capability::AccessKeys, "GET", access_key),
            (Capability::Settings, "GET", "/v1/account/settings".into()),
            (Capability::KeyValue, "GET", "/v1/kv".into()),
            (Capability::Friends, "GET", "/v1/friends".into()),
            (Capability::Artifacts, "GET", "/v1/artifacts".into()),
            (Capability::Pairing, "POST", "/v1/auth/request".into()),
            (Capability::SessionPages, "GET", "/v2/sessions".into()),
            (
                Capability::Messages,
                "GET",
                of_session("/v1/sessions/:session/messages"),
            ),
            (
                Capability::MessagePosts,
                "GET",
                of_session("/v3/sessions/:session/messages"),
            ),
            (
                Capability::Archive,
                "POST",
                of_session("/v1/sessions/:session/archive"),
            ),
            (Capability::Control, "POST", "/control/emit".into()),
        ];
        // Deleting comes last: the other routes answer 404 for a session that is gone.
        let deletion = (
            Capability::DeleteSession,
            "DELETE",
            of_session("/v1/sessions/:session"),
        );
        let probe = async |(capability, method, path): &(Capability, &str, String)| {
            let answer = self.rest_any(account, method, path, &Value::Null).await?;
            if !matches!(answer.status, 404 | 405 | 501) {
                return Ok(None);
            }
            let route = path
                .replace(&session, ":session")
                .replace(&machine, ":machine");
            let status = answer.status;
            let reason = format!("no {capability}: {method} {route} answers {status}");
            Ok(Some((*capability, reason)))
        };
        let mut missing: Vec<_> = try_join_all(probes.iter().map(&probe))
            .await?
            .into_iter()
            .flatten()
            .collect();
        missing.extend(probe(&deletion).await?);
        Ok(missing)
    }
}
