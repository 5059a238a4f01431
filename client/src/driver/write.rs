//! What a connection writes: its own answers first, then what it is told to.

use std::task::{Context, Poll};

use super::{BUDGET, Driver, Finish};
use crate::{codec::Frame, error::End, socket::Outgoing};

/// Whether this side has ended its direction of the stream.
#[derive(PartialEq)]
pub(super) enum HalfClose {
    No,
    /// When all that was given to the wire is written.
    Due,
    Done,
}

impl Driver {
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        if self.write_failure.is_some() || self.half_close == HalfClose::Done {
            return Poll::Pending;
        }
        match self.poll_write_all(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Finish::Leave),
            Poll::Ready(Err(end)) => {
                self.write_failure = Some(end);
                // What the server sent before is to be read first.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives all that is queued to the wire and flushes once. Ready when it is time to leave.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.half_close == HalfClose::Due {
            return self.poll_flush(cx);
        }
        for _ in 0..BUDGET {
            if self.wire.poll_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
            if !self.urgent.is_empty() {
                let frame = self.urgent.remove(0);
                self.give(frame)?;
                continue;
            }
            let command = match self.commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => *command,
                Poll::Ready(None) if self.link.queue().is_discarding() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) | Poll::Pending => return self.poll_flush(cx),
            };
            match command {
                Outgoing::Frame(frame) => self.give(frame)?,
                Outgoing::Frames(frames) => self.urgent = frames,
                Outgoing::HalfClose => {
                    self.half_close = HalfClose::Due;
                    self.commands.close();
                    return self.poll_flush(cx);
                }
                Outgoing::Flush(done) => self.flush_waiters.push(done),
                Outgoing::Close(goodbye) => {
                    if goodbye && self.link.sid().is_some() {
                        self.give(Frame::text("41"))?;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
        cx.waker().wake_by_ref();
        self.poll_flush(cx)
    }

    fn give(&mut self, frame: Frame) -> Result<(), End> {
        self.dirty = true;
        self.wire.start_send(frame)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.dirty {
            if self.wire.poll_flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            self.dirty = false;
        }
        if self.half_close == HalfClose::Due {
            self.half_close = HalfClose::Done;
            self.wire.half_close();
        }
        for waiter in self.flush_waiters.drain(..) {
            // Whoever does not wait any more need not be told.
            let _ = waiter.send(());
        }
        Poll::Pending
    }
}
