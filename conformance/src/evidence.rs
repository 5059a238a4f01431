//! The wire trace of one case: what was sent and received, by whom and when.
//!
//! Bounded and redacted: it ends up in reports. Heartbeats are left out, since they tell nothing about
//! a verdict. Nothing here judges.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::time::Instant;
use touchstone_client::{Direction as Way, Frame, Tap};

use crate::event::{Direction, TraceLine};

/// How many lines of a case are kept, the last ones.
const MAX_LINES: usize = 2_000;

/// How many characters of a packet are shown.
const MAX_TEXT: usize = 360;

/// How many leading characters of a token are shown, so that two of them can be told apart.
const TOKEN_SHOWN: usize = 6;

/// Collects the trace of one case; shared by its connections.
#[derive(Debug)]
pub(crate) struct Evidence {
    start: Instant,
    lines: Mutex<VecDeque<TraceLine>>,
}

impl Evidence {
    pub(crate) fn new(start: Instant) -> Arc<Self> {
        Arc::new(Self {
            start,
            lines: Mutex::default(),
        })
    }

    /// A tap for the connection that the case calls `conn`.
    pub(crate) fn tap(self: &Arc<Self>, conn: &str) -> Arc<dyn Tap> {
        Arc::new(ConnTap {
            evidence: Arc::clone(self),
            conn: conn.to_owned(),
        })
    }

    /// Notes something that is no packet of a connection.
    pub(crate) fn note(&self, conn: &str, dir: Direction, text: &str) {
        self.push(Instant::now(), conn, dir, shorten(text));
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<TraceLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    fn push(&self, at: Instant, conn: &str, dir: Direction, text: String) {
        let at_us = at.saturating_duration_since(self.start).as_micros();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(TraceLine {
            at_us: u64::try_from(at_us).unwrap_or(u64::MAX),
            conn: conn.to_owned(),
            dir,
            text,
        });
    }
}

struct ConnTap {
    evidence: Arc<Evidence>,
    conn: String,
}

impl Tap for ConnTap {
    fn frame(&self, at: Instant, direction: Way, frame: &Frame) {
        let dir = match direction {
            Way::Sent => Direction::C2s,
            Way::Received => Direction::S2c,
        };
        let text = match frame {
            Frame::Text(text) => shown(text),
            Frame::Binary(bytes) => Some(format!("binary attachment, {} bytes", bytes.len())),
        };
        if let Some(text) = text {
            self.evidence.push(at, &self.conn, dir, text);
        }
    }
}

/// A packet for people: `update-metadata #3 {…}` instead of `423["update-metadata",{…}]`. Nothing for
/// heartbeats; whatever is no known packet is shown as it is.
fn shown(frame: &str) -> Option<String> {
    let rest = match frame.as_bytes() {
        [b'2' | b'3', ..] => return None,
        [b'0', ..] => return Some(shorten(&format!("open {}", &frame[1..]))),
        [b'4', ..] => &frame[1..],
        _ => return Some(shorten(frame)),
    };
    let Some(kind) = rest.chars().next() else {
        return Some(String::from("empty message"));
    };
    let rest = &rest[kind.len_utf8()..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (id, body) = rest.split_at(digits);
    let id = if id.is_empty() {
        String::new()
    } else {
        format!(" #{id}")
    };
    let text = match kind {
        '0' => format!("CONNECT {}", redacted(rest)),
        '1' => String::from("DISCONNECT"),
        '2' => match serde_json::from_str::<Vec<Value>>(body) {
            Ok(args) => {
                let name = args.first().and_then(Value::as_str).unwrap_or("?");
                let args: Vec<_> = args.iter().skip(1).map(Value::to_string).collect();
                format!("{name}{id} {}", args.join(", "))
            }
            Err(_) => format!("event{id} {body}"),
        },
        '3' => format!(
            "ack{id} {}",
            body.trim_start_matches('[').trim_end_matches(']')
        ),
        '4' => format!("CONNECT_ERROR {rest}"),
        _ => frame.to_owned(),
    };
    Some(shorten(text.trim_end()))
}

/// The auth of a CONNECT packet without its token.
fn redacted(auth: &str) -> String {
    let Ok(mut auth) = serde_json::from_str::<Value>(auth) else {
        return auth.to_owned();
    };
    if let Some(token) = auth.get_mut("token")
        && let Some(text) = token.as_str().filter(|text| text.len() > TOKEN_SHOWN)
    {
        let head: String = text.chars().take(TOKEN_SHOWN).collect();
        *token = Value::String(format!("{head}…"));
    }
    auth.to_string()
}

/// At most [`MAX_TEXT`] characters on one line; the end is kept as well, since it often tells more.
pub(crate) fn shorten(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let count = clean.chars().count();
    if count <= MAX_TEXT {
        return clean;
    }
    let head: String = clean.chars().take(MAX_TEXT * 3 / 4).collect();
    let tail: String = clean.chars().skip(count - MAX_TEXT / 8).collect();
    format!("{head} …({count} characters)… {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &str, expected: Option<&str>) {
        assert_eq!(shown(frame).as_deref(), expected);
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
        check("4", Some("empty message"));
        check("9?", Some("9?"));
        check("42[broken", Some("event [broken"));
    }

    #[test]
    fn no_token_is_shown() {
        check(
            r#"40{"token":"abcdefghijklmnop","clientType":"user-scoped"}"#,
            Some(r#"CONNECT {"token":"abcdef…","clientType":"user-scoped"}"#),
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
    async fn only_the_last_lines_are_kept() {
        let evidence = Evidence::new(Instant::now());
        for n in 0..MAX_LINES + 10 {
            evidence.note("u1", Direction::Mark, &n.to_string());
        }
        let lines = evidence.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0].text, "10");
    }
}
