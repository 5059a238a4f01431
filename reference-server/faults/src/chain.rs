//! Several that take part at the seams, one after the other.

use std::sync::Arc;

use axum::http::Uri;
use serde_json::Value;
use touchstone_reference_server::Config;
use touchstone_reference_server::builders::MessageRow;
use touchstone_reference_server::seams::{
    Account, Admission, Asked, Call, Cause, Client, Connection, Effects, Emission, Flow, Frame,
    HttpAnswer, HttpRequest, Reply, Rows, Seams, Server, Wait,
};

/// Each is handed what the one before it has made of what is right. Who keeps a packet back, or answers
/// a request, keeps it from those behind.
#[derive(Debug)]
pub(crate) struct Chain(pub(crate) Vec<Arc<dyn Seams>>);

impl Chain {
    /// Those that are given, as one.
    pub(crate) fn of(mut all: Vec<Arc<dyn Seams>>) -> Option<Arc<dyn Seams>> {
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Arc::new(Self(all))),
        }
    }
}

/// Waits for one thing after the other.
fn one_after_the_other(waits: Vec<Wait>) -> Option<Wait> {
    if waits.is_empty() {
        return None;
    }
    Some(Box::pin(async move {
        let mut turns = Vec::new();
        for wait in waits {
            turns.push(wait.await);
        }
        Box::new(turns) as Box<dyn Send>
    }))
}

// A seam that is forgotten here would do nothing, whatever takes part at it.
#[warn(clippy::missing_trait_methods)]
impl Seams for Chain {
    fn settings(&self, config: &mut Config) {
        self.0.iter().for_each(|seams| seams.settings(config));
    }

    fn before_admission(&self, server: &Server, auth: &Value) -> Option<Wait> {
        let all = self.0.iter();
        one_after_the_other(
            all.filter_map(|one| one.before_admission(server, auth))
                .collect(),
        )
    }

    fn admit(&self, server: &Server, auth: &Value, right: Admission) -> Admission {
        let all = self.0.iter();
        all.fold(right, |admission, one| one.admit(server, auth, admission))
    }

    fn call(&self, server: &Server, call: &mut Call<'_>) -> Flow {
        let is_handled = self
            .0
            .iter()
            .all(|one| one.call(server, call) == Flow::Handle);
        if is_handled {
            Flow::Handle
        } else {
            Flow::Ignore
        }
    }

    fn before_call(&self, server: &Server, call: &Call<'_>) -> Option<Wait> {
        let all = self.0.iter();
        one_after_the_other(
            all.filter_map(|one| one.before_call(server, call))
                .collect(),
        )
    }

    fn payload(&self, event: &str, payload: &mut Value) {
        self.0.iter().for_each(|one| one.payload(event, payload));
    }

    fn route(
        &self,
        server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        let all = self.0.iter();
        all.for_each(|one| one.route(server, emission, recipients));
    }

    fn answer(&self, server: &Server, request: &Asked<'_>, answer: Value) -> Option<Value> {
        let mut all = self.0.iter();
        all.try_fold(answer, |answer, one| one.answer(server, request, answer))
    }

    fn refused(&self, server: &Server, client: &Client<'_>, auth: &Value) {
        let all = self.0.iter();
        all.for_each(|one| one.refused(server, client, auth));
    }

    fn misplaced(&self, server: &Server, client: &Client<'_>, ack: Option<u64>) -> Flow {
        let is_handled = self
            .0
            .iter()
            .all(|one| one.misplaced(server, client, ack) == Flow::Handle);
        if is_handled {
            Flow::Handle
        } else {
            Flow::Ignore
        }
    }

    fn outcome(
        &self,
        server: &Arc<Server>,
        cause: &Cause<'_>,
        rows: &Rows,
        effects: &mut Effects,
        mut reply: Option<&mut Reply>,
    ) {
        for one in &self.0 {
            one.outcome(server, cause, rows, effects, reply.as_deref_mut());
        }
    }

    fn is_current(&self, version: f64, expected: f64, right: bool) -> bool {
        let all = self.0.iter();
        all.fold(right, |right, one| one.is_current(version, expected, right))
    }

    fn next_version(&self, version: u64, right: u64) -> u64 {
        let all = self.0.iter();
        all.fold(right, |right, one| one.next_version(version, right))
    }

    fn message_seq(&self, rows: &Rows, session: &str, right: u64) -> u64 {
        let all = self.0.iter();
        all.fold(right, |right, one| one.message_seq(rows, session, right))
    }

    fn known_message(
        &self,
        rows: &Rows,
        session: &str,
        local_id: Option<&str>,
        content: &Value,
        right: Option<MessageRow>,
    ) -> Option<MessageRow> {
        let all = self.0.iter();
        all.fold(right, |right, one| {
            one.known_message(rows, session, local_id, content, right)
        })
    }

    fn callee(
        &self,
        rows: &Rows,
        method: &str,
        right: Option<Arc<Connection>>,
    ) -> Option<Arc<Connection>> {
        let all = self.0.iter();
        all.fold(right, |right, one| one.callee(rows, method, right))
    }

    fn update_seq(&self, account: &str, right: u64) -> u64 {
        let all = self.0.iter();
        all.fold(right, |seq, one| one.update_seq(account, seq))
    }

    fn redirect(&self, request: &HttpRequest<'_>) -> Option<Uri> {
        self.0.iter().find_map(|one| one.redirect(request))
    }

    fn caller(
        &self,
        server: &Server,
        request: &HttpRequest<'_>,
        right: Option<Arc<Account>>,
    ) -> Option<Arc<Account>> {
        let all = self.0.iter();
        all.fold(right, |caller, one| one.caller(server, request, caller))
    }

    fn body(
        &self,
        server: &Server,
        request: &HttpRequest<'_>,
        body: &mut Value,
    ) -> Option<HttpAnswer> {
        self.0
            .iter()
            .find_map(|one| one.body(server, request, body))
    }

    fn send(&self, connection: &Arc<Connection>, frame: &Frame) -> bool {
        self.0.iter().all(|one| one.send(connection, frame))
    }

    fn before_request(&self, server: &Server, request: &HttpRequest<'_>) -> Option<Wait> {
        let all = self.0.iter();
        one_after_the_other(
            all.filter_map(|one| one.before_request(server, request))
                .collect(),
        )
    }

    fn request(&self, server: &Server, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        self.0.iter().find_map(|one| one.request(server, request))
    }

    fn response(&self, server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let all = self.0.iter();
        all.for_each(|one| one.response(server, request, answer));
    }
}
