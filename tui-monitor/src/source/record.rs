//! Recording what is seen to a trace file, on and off while it runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use touchstone_client::{
    Direction as Way,
    trace::{Header, Kind, Record, Traced, Writer},
};

use super::{Origin, What};
use crate::event::{Direction, Recording};
use crate::text;

/// The name under which decisions of the tap are recorded.
pub(super) const TAP: &str = "tap";
/// The name of the event that holds a decision.
pub(super) const DECISION: &str = "decision";

/// Where a recording goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RecordTo {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Into this file, which does not exist yet.
    File(PathBuf),
    /// Into a new file in the current folder, named by the time at which the recording begins.
    ByTime,
}

type Sink = Box<dyn Write + Send>;

/// A recording that may be on or off. Its file is made when it is first switched on, and never
/// replaces another one. A file that could not be written is left as it is: whoever tries again gets
/// the next one.
pub(super) struct Tape {
    to: RecordTo,
    /// The file that is written, or was to be written last.
    path: PathBuf,
    create: fn(&Path) -> io::Result<Sink>,
    header: Header,
    writer: Option<Writer<Sink>>,
    on: bool,
    /// Since when a file that goes on lacks what was seen.
    off_us: Option<u64>,
    /// Files that could not be written to the end.
    broken: u32,
    lost: Option<Recording>,
    records: u64,
    told: u64,
}

impl Tape {
    pub(super) fn new(tool: &str, to: RecordTo, target: &str, started_at: u64) -> Self {
        Self {
            to,
            path: PathBuf::new(),
            create: |path| Ok(Box::new(File::create_new(path)?)),
            header: Header::new(tool, target, started_at),
            writer: None,
            on: false,
            off_us: None,
            broken: 0,
            lost: None,
            records: 0,
            told: 0,
        }
    }

    /// Begins, goes on or pauses, at a time since the monitor began.
    pub(super) fn switch(&mut self, on: bool, t_us: u64) -> Recording {
        if !on {
            self.on = false;
            self.off_us = Some(t_us);
            return match self.flush() {
                Some(failed) => failed,
                None => Recording::Off,
            };
        }
        self.on = true;
        if self.writer.is_none() {
            let Some(path) = self.next(t_us) else {
                self.on = false;
                return Recording::Failed {
                    path: String::new(),
                    reason: "no file is named".to_owned(),
                };
            };
            self.path = path;
            match (self.create)(&self.path).and_then(|file| Writer::new(file, &self.header)) {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => return self.failed(&error),
            }
            (self.records, self.told, self.lost) = (0, 0, None);
        } else if let Some(off_us) = self.off_us.take() {
            let lasted = Duration::from_micros(t_us.saturating_sub(off_us)).as_secs_f64();
            let gap = What::Gap(format!("the recording was off for {lasted:.1} s"));
            if let Some(failed) =
                record_of(t_us, &Origin::none(), &gap).and_then(|record| self.keep(&record))
            {
                return failed;
            }
        }
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

    /// Why the last file is not whole, if it is not.
    pub(super) fn lost(&self) -> Option<Recording> {
        self.lost.clone()
    }

    fn state(&self) -> Recording {
        Recording::On {
            path: self.shown(),
            records: self.records,
        }
    }

    fn failed(&mut self, error: &io::Error) -> Recording {
        let failed = Recording::Failed {
            path: self.shown(),
            reason: error.to_string(),
        };
        self.on = false;
        self.off_us = None;
        self.broken += u32::from(self.writer.take().is_some());
        self.lost = Some(failed.clone());
        failed
    }

    /// The file to be made now: `name.jsonl`, and `name-2.jsonl` after one that could not be written.
    fn next(&self, t_us: u64) -> Option<PathBuf> {
        let path = match &self.to {
            RecordTo::Nowhere => return None,
            RecordTo::File(path) => path.clone(),
            RecordTo::ByTime => {
                let at = text::date_time(self.header.started_at + t_us / 1_000);
                let seconds = at.split('.').next().unwrap_or(&at);
                format!("watch-{}Z.jsonl", seconds.replace([':', '-'], "")).into()
            }
        };
        if self.broken == 0 {
            return Some(path);
        }
        let mut name = path.file_stem()?.to_owned();
        name.push(format!("-{}", self.broken + 1));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        Some(path.with_file_name(name))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::TOOL;

    fn note(t_us: u64) -> Record {
        let note = What::Note("x".repeat(100));
        record_of(t_us, &Origin::none(), &note).unwrap()
    }

    fn told(recording: &Recording, folder: &Path) -> String {
        let name = |path: &str| {
            let path = Path::new(path).strip_prefix(folder).unwrap();
            path.display().to_string()
        };
        match recording {
            Recording::Off => "off".to_owned(),
            Recording::On { path, records } => format!("{} {records}", name(path)),
            Recording::Failed { path, reason } => format!("{} failed: {reason}", name(path)),
        }
    }

    #[test]
    fn what_was_seen_while_it_was_off_is_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let mut tape = Tape::new(TOOL, RecordTo::File(path.clone()), "test", 0);
        let switched = tape.switch(true, 1_000_000);
        assert_eq!(told(&switched, folder.path()), "r.jsonl 0");
        assert_eq!(tape.keep(&note(1_500_000)), None);
        assert_eq!(tape.switch(false, 2_000_000), Recording::Off);
        assert_eq!(tape.keep(&note(3_000_000)), None);
        let switched = tape.switch(true, 4_500_000);
        assert_eq!(told(&switched, folder.path()), "r.jsonl 2");
        tape.flush();
        let written = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = written.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{written}");
        assert!(
            lines[1].contains("gap: the recording was off for 2.5 s"),
            "{written}"
        );
    }

    #[test]
    fn a_file_that_nobody_named_has_the_time_of_its_own_beginning() {
        let mut tape = Tape::new(TOOL, RecordTo::ByTime, "test", 1_800_000_000_000);
        tape.create = |_| Ok(Box::new(io::sink()));
        // An hour after the monitor began.
        let began = tape.switch(true, 3_600_000_000);
        let name = "watch-20270115T090000Z.jsonl 0";
        assert_eq!(told(&began, Path::new("")), name);
        tape.switch(false, 3_700_000_000);
        assert_eq!(
            told(&tape.switch(true, 3_800_000_000), Path::new(""))
                .split(' ')
                .next(),
            name.split(' ').next()
        );
    }

    #[test]
    fn a_full_disk_ends_a_file_and_the_next_attempt_makes_another() {
        let folder = tempfile::tempdir().unwrap();
        let to = RecordTo::File(folder.path().join("r.jsonl"));
        let mut tape = Tape::new(TOOL, to, "test", 0);
        tape.create = |_| Ok(Box::new(File::options().write(true).open("/dev/full")?));
        let mut say = Vec::new();
        say.push(tape.switch(true, 0));
        say.extend((0..10_000).find_map(|at| tape.keep(&note(at))));
        // It is told once, and what is seen from then on is no news.
        assert_eq!((tape.keep(&note(9)), tape.flush()), (None, None));
        assert_eq!(tape.lost().as_ref(), say.last());
        tape.create = |path| Ok(Box::new(File::create_new(path)?));
        say.push(tape.switch(true, 10));
        assert_eq!(tape.keep(&note(10)), None);
        say.extend(tape.flush());
        assert_eq!(tape.lost(), None);
        let say: Vec<String> = say.iter().map(|one| told(one, folder.path())).collect();
        insta::assert_snapshot!(say.join("\n"));
    }
}
