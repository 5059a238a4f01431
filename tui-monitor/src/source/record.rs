//! Recording what is seen to a trace file, on and off while it runs.

use std::fs::File;
use std::path::PathBuf;

use serde_json::json;
use touchstone_client::{
    Direction as Way,
    trace::{Header, Kind, Record, Traced, Writer},
};

use super::{Origin, What};
use crate::event::{Direction, Recording};

/// The name under which decisions of the tap are recorded.
pub(super) const TAP: &str = "tap";
/// The name of the event that holds a decision.
pub(super) const DECISION: &str = "decision";

/// A recording that may be on or off. Its file is made when it is first switched on, and never
/// replaces another one.
#[derive(Debug)]
pub(super) struct Tape {
    path: Option<PathBuf>,
    header: Header,
    writer: Option<Writer<File>>,
    on: bool,
    records: u64,
    told: u64,
}

impl Tape {
    pub(super) fn new(path: Option<PathBuf>, target: &str, started_at: u64) -> Self {
        let tool = concat!("touchstone-watch ", env!("CARGO_PKG_VERSION"));
        Self {
            path,
            header: Header::new(tool, target, started_at),
            writer: None,
            on: false,
            records: 0,
            told: 0,
        }
    }

    /// Begins, goes on or pauses.
    pub(super) fn switch(&mut self, on: bool) -> Recording {
        if !on {
            self.on = false;
            self.flush();
            return Recording::Off;
        }
        let Some(path) = &self.path else {
            return Recording::Failed {
                path: String::new(),
                reason: "no file is named".to_owned(),
            };
        };
        if self.writer.is_none() {
            let opened = File::create_new(path).and_then(|file| Writer::new(file, &self.header));
            match opened {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => return self.failed(&error),
            }
        }
        self.on = true;
        self.state()
    }

    /// Writes a record if the recording is on. Tells only what went wrong.
    pub(super) fn keep(&mut self, record: &Record) -> Option<Recording> {
        let writer = self.writer.as_mut().filter(|_| self.on)?;
        match writer.write(record) {
            Ok(()) => {
                self.records += 1;
                None
            }
            Err(error) => Some(self.failed(&error)),
        }
    }

    /// Gives what is buffered to the operating system, and tells how far it is.
    pub(super) fn flush(&mut self) -> Option<Recording> {
        if let Err(error) = self.writer.as_mut()?.flush() {
            return Some(self.failed(&error));
        }
        let news = self.on && self.told != self.records;
        self.told = self.records;
        news.then(|| self.state())
    }

    fn state(&self) -> Recording {
        Recording::On {
            path: self.shown(),
            records: self.records,
        }
    }

    fn failed(&mut self, error: &std::io::Error) -> Recording {
        self.on = false;
        Recording::Failed {
            path: self.shown(),
            reason: error.to_string(),
        }
    }

    fn shown(&self) -> String {
        let path = self.path.as_ref();
        path.map_or_else(String::new, |path| path.display().to_string())
    }
}

/// What a sighting is in a trace. Nothing for what the monitor itself found out.
pub(super) fn record_of(t_us: u64, origin: &Origin, what: &What) -> Option<Record> {
    let way = |direction: &Direction| match direction {
        Direction::Sent => Way::Sent,
        Direction::Received | Direction::Inside => Way::Received,
    };
    let mut recipients = None;
    let mut conn = match &*origin.conn {
        "" => "-".to_owned(),
        conn => conn.to_owned(),
    };
    let kind = match what {
        What::Event {
            direction,
            name,
            args,
            ack,
        } => Kind::Packet(
            way(direction),
            Traced::Event {
                name: name.clone(),
                args: args.clone(),
                ack: *ack,
                attachments: 0,
            },
        ),
        What::Ack {
            direction,
            id,
            args,
        } => Kind::Packet(
            way(direction),
            Traced::Ack {
                id: *id,
                args: args.clone(),
                attachments: 0,
            },
        ),
        What::Decision(raw) => {
            let decision: serde_json::Value = serde_json::from_str(raw).ok()?;
            let ids = decision["recipients"].as_array()?;
            recipients = Some(
                ids.iter()
                    .filter_map(|id| id.as_str().map(str::to_owned))
                    .collect(),
            );
            TAP.clone_into(&mut conn);
            Kind::Packet(
                Way::Received,
                Traced::Event {
                    name: DECISION.to_owned(),
                    args: (&decision).into(),
                    ack: None,
                    attachments: 0,
                },
            )
        }
        What::Connect(auth) => Kind::Packet(Way::Sent, Traced::Connect(auth.clone())),
        What::Accepted(sid) => {
            let answer = json!({"sid": sid.as_deref()});
            Kind::Packet(Way::Received, Traced::Connect(answer))
        }
        What::Http(exchange) => Kind::Http(exchange.clone()),
        What::Connection(word, text) => Kind::Mark(format!("{word}: {text}")),
        What::Gap(text) => Kind::Mark(format!("gap: {text}")),
        What::Note(text) => Kind::Mark(text.clone()),
    };
    Some(Record {
        t_us,
        conn,
        kind,
        recipients,
    })
}
