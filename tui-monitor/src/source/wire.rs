//! Connections that somebody else in this process drives, such as those of a load: all that they send
//! and receive, so that both sides of a remote call and every copy of an update are seen.
//!
//! A [`Recorder`] stands between the two. It never makes a connection wait; what it had no room for is
//! told as a gap.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval};
use touchstone_client::{
    Direction as Way,
    provision::Rest,
    trace::{Bounds, DROPPED, Kind, Record, Recorder, Traced},
};
use touchstone_output::text::error_chain;

use super::sighted::{Origins, what_of};
use super::{Options, Origin, Post, SIGHTINGS, Sighting, Source, TOOL, What, channel, tap};
use crate::event::SourceState;
pub use crate::lint::Inspect;

/// How often the recorder is emptied. A screen shows some 30 frames a second.
const EVERY: Duration = Duration::from_millis(30);

/// What is watched.
pub struct Wire<'a> {
    /// How a recording names it.
    pub target: &'a str,
    /// How a recording names what made it, where that is not the monitor.
    pub tool: Option<&'a str>,
    /// With this, the control tap of the server is read as well, so that an event shows both whom the
    /// router meant and who got it.
    pub rest: Option<Rest>,
    /// Who looks at each record in place of the judge that every source has.
    pub inspect: Option<Inspect>,
}

/// Begins to watch whatever is connected with the taps of the recorder that this returns. The source
/// ends when it is closed.
pub fn start(wire: Wire<'_>, options: &Options) -> (Source, Recorder) {
    let (outlet, source) = channel(options);
    let mut post = Post::new(options, outlet, wire.tool.unwrap_or(TOOL), wire.target);
    if let Some(inspect) = wire.inspect {
        post.inspect = inspect;
    }
    let rest = wire.rest;
    let recorder = Recorder::new(post.start, Bounds::default());
    let mut watcher = Watcher {
        recorder: recorder.clone(),
        origins: Origins::default(),
        post,
    };
    let options = options.clone();
    tokio::spawn(async move {
        watcher.post.begin(&options).await;
        match rest {
            None => watcher.watch(stream::pending()).await,
            Some(rest) => watcher.watch(decisions(&rest).await).await,
        }
        watcher.post.end(String::new()).await;
    });
    (source, recorder)
}

/// What the server's tap tells; at its end a gap that says why.
async fn decisions(rest: &Rest) -> impl Stream<Item = What> + use<> {
    let ended = |reason: String| What::Gap(format!("the router's decisions are missing: {reason}"));
    let told = match rest.stream(tap::PATH, None).await {
        Ok(chunks) => tap::told_by(chunks).left_stream(),
        Err(error) => stream::iter([Err(error_chain(&error))]).right_stream(),
    };
    told.map(move |told| told.unwrap_or_else(ended))
}

struct Watcher {
    recorder: Recorder,
    origins: Origins,
    post: Post,
}

impl Watcher {
    async fn watch(&mut self, decisions: impl Stream<Item = What>) {
        let mut decisions = pin!(decisions.fuse());
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Decisions wait for a whole round, so that the copies of what they are about, which carry
        // more, are seen first.
        let (mut waiting, mut ripe) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(what) = decisions.next(), if waiting.len() < SIGHTINGS => {
                    waiting.push(tap::sighting(what));
                    continue;
                }
                goes_on = self.post.idle() => {
                    if goes_on {
                        continue;
                    }
                    self.take().await;
                    return;
                }
            }
            self.take().await;
            for sighting in ripe.drain(..) {
                self.post.see(sighting).await;
            }
            std::mem::swap(&mut waiting, &mut ripe);
        }
    }

    /// Takes what was recorded since the last time.
    async fn take(&mut self) {
        for record in self.recorder.drain() {
            self.see(record).await;
        }
    }

    async fn see(&mut self, record: Record) {
        // What the recorder had no room for is as lost to the screen as what the queue had none for.
        self.post.outlet.dropped += lost(&record);
        let origin = self.origins.of(&record);
        if let Some(state) = state_of(&origin, &record) {
            self.post.outlet.state(state).await;
        }
        let at = self.post.start + Duration::from_micros(record.t_us);
        let lints = (self.post.inspect)(&record);
        self.post.keep(&record).await;
        if let Some(what) = what_of(record, &lints) {
            self.post.show(Sighting { at, origin, what }, lints).await;
        }
    }
}

/// How many records a mark says that the recorder let go.
fn lost(record: &Record) -> u64 {
    match &record.kind {
        Kind::Mark(mark) => mark
            .strip_prefix(DROPPED)
            .and_then(|count| count.strip_prefix(": ")?.parse().ok())
            .unwrap_or(0),
        _ => 0,
    }
}

/// What a record tells of its connection's state.
fn state_of(origin: &Origin, record: &Record) -> Option<SourceState> {
    let (conn, scope) = (origin.conn.clone(), origin.scope.clone());
    match &record.kind {
        Kind::Packet(Way::Sent, Traced::Connect(_)) => {
            Some(SourceState::Connecting { conn, scope })
        }
        Kind::Packet(Way::Received, Traced::Connect(_)) => {
            Some(SourceState::Connected { conn, scope })
        }
        Kind::Mark(mark) => {
            let reason = mark.strip_prefix("ended: ")?.to_owned();
            Some(SourceState::Closed { conn, reason })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use touchstone_client::{Clock, Direction::*, End, Frame};

    use super::*;
    use crate::event::Input;
    use crate::source::Overflow;
    use crate::source::RecordTo;

    fn test() -> Wire<'static> {
        Wire {
            target: "test",
            tool: None,
            rest: None,
            inspect: None,
        }
    }

    fn shown(input: Input) -> String {
        match input {
            Input::Entry(entry) => format!(
                "#{} {} {} {:?} {} link {:?}",
                entry.number, entry.account, entry.conn, entry.direction, entry.event, entry.link
            ),
            Input::Source(state) => format!("{state:?}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_recorder_had_no_room_for_is_counted_as_dropped() {
        let options = Options {
            clock: Clock::Fixed(0),
            queue: 32_768,
            overflow: Overflow::Drop,
            record: RecordTo::Nowhere,
            recording: false,
            seed: 0,
        };
        let (mut source, recorder) = start(test(), &options);
        let tap = recorder.tap("1/user-1");
        let kept = Bounds::default().entries;
        for number in 0..kept + 7 {
            let text = format!(r#"42["rpc-registered",{{"method":"m{number}"}}]"#);
            tap.frame(Instant::now(), Received, &Frame::text(text));
        }
        let (mut seen, mut dropped) = (0, 0);
        while seen < kept || dropped == 0 {
            match source.inputs.recv().await.unwrap() {
                Input::Entry(entry) if &*entry.event == "gap" => {
                    assert_eq!(
                        &*entry.raw,
                        "7 earlier records were dropped by whoever recorded"
                    );
                }
                Input::Entry(_) => seen += 1,
                Input::Dropped(count) => dropped += count,
                _ => {}
            }
        }
        assert_eq!((seen, dropped), (kept, 7));
        source.close().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn both_directions_of_a_connection() {
        let options = Options {
            clock: Clock::Fixed(0),
            queue: 16,
            overflow: Overflow::Wait,
            record: RecordTo::Nowhere,
            recording: false,
            seed: 0,
        };
        let (mut source, recorder) = start(test(), &options);
        let tap = recorder.tap("1/user-1");
        for (direction, text) in [
            (Received, r#"0{"sid":"e"}"#),
            (Sent, r#"40{"token":"secret","clientType":"user-scoped"}"#),
            (Received, r#"40{"sid":"s"}"#),
            (Received, "2"),
            (Sent, r#"420["rpc-call",{"method":"m","params":"p"}]"#),
            (Received, r#"430[{"ok":true,"result":"r"}]"#),
        ] {
            tap.frame(Instant::now(), direction, &Frame::text(text.to_owned()));
        }
        tap.ended(Instant::now(), &End::ClientClosed);
        let mut told = Vec::new();
        while told.len() < 7 {
            told.push(shown(source.inputs.recv().await.unwrap()));
        }
        insta::assert_snapshot!(told.join("\n"));
        source.close().await.unwrap();
    }
}
