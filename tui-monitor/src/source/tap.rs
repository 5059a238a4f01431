//! The control tap of a server: every decision of its router, as server-sent events.
//!
//! See docs/control.md. What the server drops since we are too slow, and what is missed while the
//! tap is lost, are gaps.

use eventsource_stream::Eventsource as _;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use touchstone_client::provision::{Rest, rest::Chunks};
use touchstone_output::text::error_chain;

use super::record::{DECISION, TAP};
use super::{Backoff, Options, Origin, Post, Sighting, Source, TOOL, What, channel, gap};
use crate::event::{Scope, SourceState};

/// Where a server offers it.
pub(super) const PATH: &str = "/control/tap";
/// The longest line that is read. Decisions hold one payload each.
const MAX_LINE: usize = 64 << 20;

/// Begins to watch the tap of the server that `rest` speaks to; `target` names it in a recording. The
/// source ends when the tap cannot be opened at first; once open, it is tried again for ever.
pub fn start(rest: Rest, target: &str, options: &Options) -> Source {
    let (outlet, source) = channel(options);
    let post = Post::new(options, outlet, TOOL, target);
    let options = options.clone();
    tokio::spawn(async move {
        let mut watcher = Watcher { rest, post };
        watcher.post.begin(&options).await;
        let reason = watcher.watch(options.seed).await;
        watcher.post.end(reason).await;
    });
    source
}

struct Watcher {
    rest: Rest,
    post: Post,
}

/// How a tap came to its end.
enum Over {
    /// The source is to end.
    Stopped,
    Lost(String),
}

impl Watcher {
    /// Watches until the source is to end, and gives the reason.
    async fn watch(&mut self, seed: u64) -> String {
        let mut backoff = Backoff::new(seed);
        let mut lost: Option<Instant> = None;
        loop {
            let connecting = SourceState::Connecting {
                conn: TAP.into(),
                scope: Scope::None,
            };
            self.post.outlet.state(connecting).await;
            let reason = match self.rest.stream(PATH, None).await {
                Ok(chunks) => {
                    self.opened(&mut lost).await;
                    let opened = Instant::now();
                    let over = self.read(chunks).await;
                    backoff.ended(opened.elapsed());
                    lost = Some(Instant::now());
                    match over {
                        Over::Stopped => return String::new(),
                        Over::Lost(reason) => {
                            self.saw(What::Connection("lost", reason.clone())).await;
                            reason
                        }
                    }
                }
                Err(error) if lost.is_none() => {
                    let reason = error_chain(&error);
                    self.saw(What::Connection("failed", reason.clone())).await;
                    let conn = TAP.into();
                    let closed = SourceState::Closed {
                        conn,
                        reason: reason.clone(),
                    };
                    self.post.outlet.state(closed).await;
                    return reason;
                }
                Err(error) => error_chain(&error),
            };
            let (attempt, wait) = backoff.next();
            let reconnecting = SourceState::Reconnecting {
                conn: TAP.into(),
                reason,
                attempt,
                in_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            };
            self.post.outlet.state(reconnecting).await;
            let pause = sleep(wait);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    goes_on = self.post.idle() => if !goes_on {
                        return String::new();
                    },
                }
            }
        }
    }

    async fn opened(&mut self, lost: &mut Option<Instant>) {
        let connected = SourceState::Connected {
            conn: TAP.into(),
            scope: Scope::None,
        };
        self.post.outlet.state(connected).await;
        let text = "the server's router tells its decisions".to_owned();
        self.saw(What::Connection("connected", text)).await;
        if let Some(since) = lost.take() {
            self.saw(What::Gap(gap(TAP, since.elapsed()))).await;
        }
    }

    async fn read(&mut self, chunks: Chunks) -> Over {
        let told = told_by(chunks);
        tokio::pin!(told);
        loop {
            let what = tokio::select! {
                what = told.next() => what,
                goes_on = self.post.idle() => {
                    if goes_on {
                        continue;
                    }
                    return Over::Stopped;
                }
            };
            match what {
                Some(Ok(what)) => self.saw(what).await,
                Some(Err(reason)) => return Over::Lost(reason),
                None => return Over::Lost("the server closed the tap".to_owned()),
            }
        }
    }

    async fn saw(&mut self, what: What) {
        self.post.see(sighting(what)).await;
    }
}

/// Something that a tap tells, now.
pub(super) fn sighting(what: What) -> Sighting {
    Sighting {
        at: Instant::now(),
        origin: Origin {
            conn: TAP.into(),
            ..Origin::none()
        },
        what,
    }
}

/// What an open tap tells: decisions, and gaps where the server dropped some. An error is why it ended.
pub(super) fn told_by(chunks: Chunks) -> impl Stream<Item = Result<What, String>> {
    bounded(chunks)
        .eventsource()
        .filter_map(async |event| match event {
            Ok(event) => match event.event.as_str() {
                DECISION => Some(Ok(What::Decision(event.data))),
                "lost" => Some(Ok(What::Gap(lost(&event.data)))),
                // The standard asks to ignore what one does not know.
                _ => None,
            },
            Err(error) => Some(Err(error.to_string())),
        })
}

/// The body piece by piece; an error instead of a line that has no end.
fn bounded(chunks: Chunks) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::try_unfold((chunks, 0), |(mut chunks, open)| async move {
        let Some(chunk) = chunks.next().await? else {
            return Ok(None);
        };
        let open = match chunk.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => chunk.len() - end - 1,
            None => open + chunk.len(),
        };
        if open > MAX_LINE {
            let problem = format!("a line is longer than {MAX_LINE} bytes");
            return Err(std::io::Error::other(problem));
        }
        Ok(Some((chunk, (chunks, open))))
    })
}

fn lost(data: &str) -> String {
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    match data["lost"].as_u64() {
        Some(1) => "the server dropped 1 decision that was not read in time".to_owned(),
        Some(count) => format!("the server dropped {count} decisions that were not read in time"),
        None => "the server dropped decisions that were not read in time".to_owned(),
    }
}
