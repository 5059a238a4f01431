//! The wire trace of one case: what was sent and received, by whom and when.
//!
//! The client's recorder keeps it, bounded; here it becomes lines for people, shortened and without
//! secrets or heartbeats, or a whole trace file. Nothing here judges.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use touchstone_output::text::error_chain;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_client::{
    Args, Conduct, Direction as Way, End, Frame, Tap,
    provision::Provisioner,
    trace::{Bounds, Exchange, Header, Kind, Record, Recorder, Traced, Writer},
};

use crate::{
    event::{Direction, TraceLine},
    focus,
    marks::{CASE, CUT, SUITE, VERDICT},
    verdict::{Finding, Verdict},
};

/// How much of a case is kept, the last of it. No case of the catalogue comes near, so that every
/// trace can be replayed; the bound is for servers that flood.
const BOUNDS: Bounds = Bounds {
    entries: 100_000,
    bytes: 64 << 20,
};

/// How many lines a report holds: the last ones, and those that made a finding.
const MAX_LINES: usize = 2_000;

/// How many characters of a packet are shown.
const MAX_TEXT: usize = 360;

/// How many leading characters of a token are shown, so that two of them can be told apart.
const TOKEN_SHOWN: usize = 6;

/// Collects the trace of one case; shared by its connections.
#[derive(Debug)]
pub(crate) struct Evidence {
    recorder: Recorder,
    /// The first packet of the server that no client can read, with the name of its connection.
    unreadable: Arc<OnceLock<String>>,
    /// Which connections went to which node, where there are several.
    nodes: Mutex<Vec<(String, String)>>,
}

/// Records a connection, and notes where what the server sends cannot be read.
struct Reading {
    conn: String,
    inner: Arc<dyn Tap>,
    unreadable: Arc<OnceLock<String>>,
}

impl Tap for Reading {
    fn frame(&self, at: Instant, direction: Way, frame: &Frame) {
        self.inner.frame(at, direction, frame);
    }

    fn conduct(&self, at: Instant, conduct: Conduct) {
        self.inner.conduct(at, conduct);
    }

    fn ended(&self, at: Instant, end: &End) {
        self.inner.ended(at, end);
        if let End::ParseError { .. } | End::BrokenFrame { .. } = end {
            self.unreadable
                .get_or_init(|| format!("on {}: {}", self.conn, error_chain(end)));
        }
    }
}

impl Evidence {
    /// The evidence of a case that begins at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            recorder: Recorder::new(start, BOUNDS),
            unreadable: Arc::default(),
            nodes: Mutex::default(),
        }
    }

    /// A tap for the connection that the case calls `conn`.
    pub(crate) fn tap(&self, conn: &str) -> Arc<dyn Tap> {
        Arc::new(Reading {
            conn: conn.to_owned(),
            inner: self.recorder.tap(conn),
            unreadable: Arc::clone(&self.unreadable),
        })
    }

    /// Notes that the connection which the case calls `conn` goes to this node.
    pub(crate) fn goes_to(&self, conn: &str, node: String) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        // As the recorder names the second one of a name.
        let before = nodes.iter().filter(|(name, _)| {
            let rest = name.strip_prefix(conn);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        });
        let conn = match before.count() {
            0 => conn.to_owned(),
            count => format!("{conn}#{}", count + 1),
        };
        nodes.push((conn, node));
    }

    /// The connections and their nodes, where there are several.
    pub(crate) fn nodes(&self) -> Vec<(String, String)> {
        let nodes = self.nodes.lock();
        nodes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server has sent that no client can read, if it has. The connection is over then, and
    /// nothing that a case finds afterwards says anything.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        self.unreadable.get().map(String::as_str)
    }

    /// Notes a step of the case.
    pub(crate) fn mark(&self, text: &str) {
        self.recorder.mark(SUITE, shorten(text));
    }

    /// `provisioner`, with its HTTP exchanges noted here.
    pub(crate) fn provisioner(&self, provisioner: &Provisioner) -> Provisioner {
        provisioner.recorded(&self.recorder)
    }

    /// The trace for people, oldest first. What made the `findings` is looked up in it, by the `salt` of the
    /// case's values, and is never among what is left out.
    pub(crate) fn lines(&self, salt: &str, findings: &mut [Finding]) -> Vec<TraceLine> {
        let records = self.recorder.records();
        let (places, mut lines): (Vec<usize>, Vec<_>) = records
            .iter()
            .enumerate()
            .filter_map(|(at, record)| Some((at, line(record)?)))
            .unzip();
        focus::find(&records, salt, findings, |record| {
            places.binary_search(&record).ok()
        });
        let mut surplus = lines.len().saturating_sub(MAX_LINES);
        let focused: HashSet<usize> = findings
            .iter()
            .flat_map(|finding| finding.focus.iter().map(|focus| focus.line))
            .collect();
        let mut at = 0;
        let mut moved = Vec::with_capacity(lines.len());
        let mut kept = 0;
        lines.retain(|_| {
            let stays = surplus == 0 || focused.contains(&at);
            surplus -= usize::from(!stays);
            moved.push(kept);
            kept += usize::from(stays);
            at += 1;
            stays
        });
        for focus in findings.iter_mut().flat_map(|finding| &mut finding.focus) {
            focus.line = moved[focus.line];
        }
        lines
    }

    /// The trace of `case` as a file of the format `touchstone-trace`, which holds no token. It ends
    /// with the case's id and `verdict`, for those who replay it.
    pub(crate) fn file(
        &self,
        target: &str,
        started_at: u64,
        case: &str,
        verdict: Verdict,
    ) -> std::io::Result<String> {
        self.recorder.mark(SUITE, format!("{CASE}{case}"));
        self.recorder.mark(SUITE, format!("{VERDICT}{verdict}"));
        let tool = concat!("touchstone-check ", env!("CARGO_PKG_VERSION"));
        let mut writer = Writer::new(Vec::new(), &Header::new(tool, target, started_at))?;
        for record in self.recorder.records() {
            writer.write(&record)?;
        }
        Ok(String::from_utf8_lossy(&writer.finish()?).into_owned())
    }
}

fn line(record: &Record) -> Option<TraceLine> {
    let (dir, text) = match &record.kind {
        Kind::Packet(way, packet) => {
            let dir = match way {
                Way::Sent => Direction::C2s,
                Way::Received => Direction::S2c,
            };
            (dir, shown(packet)?)
        }
        Kind::Http(exchange) => (Direction::Http, exchanged(exchange)),
        Kind::Mark(text) => (Direction::Mark, text.clone()),
    };
    let text = shorten(text.trim_end());
    Some(TraceLine {
        at_us: record.t_us,
        conn: record.conn.clone(),
        dir,
        text,
    })
}

/// A packet for people: `update-metadata #3 {…}` instead of `423["update-metadata",{…}]`. Nothing for
/// heartbeats.
fn shown(packet: &Traced) -> Option<String> {
    let numbered = |id: &Option<u64>| id.map_or_else(String::new, |id| format!(" #{id}"));
    Some(match packet {
        Traced::Ping(_) | Traced::Pong(_) | Traced::Noop => return None,
        Traced::Open(handshake) => format!("open {handshake}"),
        Traced::Close => "close".into(),
        Traced::Upgrade => "upgrade".into(),
        Traced::Connect(Value::Null) => "CONNECT".into(),
        Traced::Connect(data) => format!("CONNECT {}", redacted(data)),
        Traced::ConnectError(data) => format!("CONNECT_ERROR {data}"),
        Traced::Disconnect => "DISCONNECT".into(),
        Traced::Event {
            name, args, ack, ..
        } => {
            format!("{name}{} {}", numbered(ack), Args::as_str(args))
        }
        Traced::Ack { id, args, .. } => format!("ack #{id} {}", args.as_str()),
        Traced::Binary { size, .. } => format!("binary attachment, {size} bytes"),
        Traced::Raw(text) => text.clone(),
    })
}

fn exchanged(exchange: &Exchange) -> String {
    let body = |body: &Option<Value>| body.as_ref().map_or_else(String::new, Value::to_string);
    let status = exchange
        .status
        .map_or_else(|| "no answer".into(), |status| status.to_string());
    let Exchange {
        method,
        url,
        request,
        response,
        ..
    } = exchange;
    format!(
        "{method} {url} {} -> {status} {}",
        body(request),
        body(response)
    )
}

/// The auth of a CONNECT packet without its token.
fn redacted(auth: &Value) -> Value {
    let mut auth = auth.clone();
    if let Some(token) = auth.get_mut("token")
        && let Some(text) = token.as_str().filter(|text| text.len() > TOKEN_SHOWN)
    {
        let head: String = text.chars().take(TOKEN_SHOWN).collect();
        *token = Value::String(format!("{head}…"));
    }
    auth
}

/// At most 360 characters on one line; the end is kept as well, since it often tells more.
pub fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    let count = clean.chars().count();
    if count <= MAX_TEXT {
        return clean;
    }
    let head: String = clean.chars().take(MAX_TEXT * 3 / 4).collect();
    let tail: String = clean.chars().skip(count - MAX_TEXT / 8).collect();
    format!("{head}{CUT}{count} characters)… {tail}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchstone_client::Frame;

    use super::*;

    #[track_caller]
    fn check(frame: &str, expected: Option<&str>) {
        assert_eq!(
            shown(&Traced::of(&Frame::text(frame)))
                .as_deref()
                .map(str::trim_end),
            expected
        );
    }

    #[test]
    fn packets_are_readable() {
        check("2", None);
        check("3probe", None);
        check(r#"0{"sid":"x"}"#, Some(r#"open {"sid":"x"}"#));
        check(r#"42["ping"]"#, Some("ping"));
        check(
            r#"4217["update-metadata",{"sid":"a"}]"#,
            Some(r#"update-metadata #17 {"sid":"a"}"#),
        );
        check(
            r#"4317[{"result":"error"}]"#,
            Some(r#"ack #17 {"result":"error"}"#),
        );
        check("41", Some("DISCONNECT"));
        check(
            r#"44{"message":"no"}"#,
            Some(r#"CONNECT_ERROR {"message":"no"}"#),
        );
        check("9?", Some("9?"));
        check("42[broken", Some("42[broken"));
    }

    #[test]
    fn no_token_is_shown() {
        check(
            r#"40{"token":"abcdefghijklmnop","clientType":"user-scoped"}"#,
            Some(r#"CONNECT {"token":"abcdef…","clientType":"user-scoped"}"#),
        );
    }

    #[test]
    fn exchanges_are_readable() {
        let exchange = Exchange {
            method: "POST".into(),
            url: "/v1/sessions".into(),
            status: Some(200),
            request: Some(json!({"tag": "t"})),
            response: Some(json!({"session": {}})),
            ms: 3,
            us: None,
        };
        let text = exchanged(&exchange);
        assert_eq!(
            text,
            r#"POST /v1/sessions {"tag":"t"} -> 200 {"session":{}}"#
        );
    }

    #[test]
    fn long_packets_keep_both_ends() {
        let text = shorten(&format!("{}END", "x".repeat(5_000)));
        assert!(
            text.chars().count() < 450 && text.ends_with("END"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_file_is_a_trace_without_tokens() {
        let evidence = Evidence::new(Instant::now());
        let connect = Frame::text(r#"40{"token":"abcdefghijklmnop"}"#);
        evidence
            .tap("u1")
            .frame(Instant::now(), Way::Sent, &connect);
        evidence.mark("a step");
        let file = evidence
            .file("http://127.0.0.1:1", 5, "a.case", Verdict::Fail)
            .unwrap();
        assert_eq!(file.lines().count(), 5, "{file}");
        assert!(file.contains("case: a.case") && file.contains("verdict: fail"));
        assert!(
            file.starts_with(r#"{"format":"touchstone-trace","version":1"#),
            "{file}"
        );
        assert!(!file.contains("abcdefg"), "{file}");
        assert_eq!(evidence.lines("", &mut []).len(), 4);
    }
}
