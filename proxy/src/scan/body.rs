//! Bodies of HTTP/1.1, and how they end.

use bytes::{Bytes, BytesMut};
use httparse::Status;

use super::head::Found;
use super::{Content, MAX_KEPT, Request, Response, Seen, Side};

/// The longest line of a chunk's size or of a trailer.
const MAX_LINE: usize = 4 << 10;

/// A message whose head is complete.
#[derive(Debug)]
pub(super) struct Body {
    seen: Seen,
    is_upgrade: bool,
    end: End,
    kept: BytesMut,
    is_cut: bool,
    /// Whether somebody may hold it until it is whole.
    pub(super) may_wait: bool,
}

/// Where the body ends.
#[derive(Debug)]
enum End {
    After(u64),
    Chunks(Chunk),
    WithConnection,
}

/// What comes next of a body in chunks.
#[derive(Debug)]
enum Chunk {
    Size(Vec<u8>),
    Data(u64),
    /// The end of the line behind the data.
    Behind(u8),
    Trailer(Vec<u8>),
    Over,
}

/// A body that is not as HTTP has it.
#[derive(Debug)]
pub(super) struct Broken;

impl Body {
    pub(super) fn new(side: Side, number: u64, answers_head: bool, found: Found) -> Self {
        let chunks = || End::Chunks(Chunk::Size(Vec::new()));
        let end = match side {
            Side::Server if answers_head || matches!(found.status, 101 | 204 | 304) => {
                End::After(0)
            }
            _ if found.is_chunked => chunks(),
            Side::Client => End::After(found.length.unwrap_or(0)),
            Side::Server => found.length.map_or(End::WithConnection, End::After),
        };
        let content = Content {
            encoding: found.encoding,
            bytes: None,
        };
        let is_upgrade = found.is_upgrade;
        let seen = match side {
            Side::Client => Seen::Request(Box::new(Request {
                number,
                method: found.method,
                target: found.target,
                token: found.token,
                content,
            })),
            Side::Server => Seen::Response(Box::new(Response {
                number,
                status: found.status,
                extensions: found.extensions,
                content,
            })),
        };
        Self {
            seen,
            is_upgrade,
            end,
            kept: BytesMut::new(),
            is_cut: false,
            may_wait: side == Side::Client,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.end, End::After(0) | End::Chunks(Chunk::Over))
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    pub(super) fn is_switch(&self) -> bool {
        matches!(&self.seen, Seen::Response(response) if response.status == 101)
    }

    /// Reads on. Gives how many of the bytes belong to this body.
    pub(super) fn feed(&mut self, input: &Bytes) -> Result<usize, Broken> {
        match &mut self.end {
            End::After(left) => {
                let length = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                self.keep(&input[..length]);
                Ok(length)
            }
            End::WithConnection => {
                self.keep(input);
                Ok(input.len())
            }
            End::Chunks(_) => self.chunks(input),
        }
    }

    fn chunks(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let mut at = 0;
        while at < input.len() {
            let End::Chunks(chunk) = &mut self.end else {
                return Err(Broken);
            };
            match chunk {
                Chunk::Size(line) => {
                    line.push(input[at]);
                    at += 1;
                    if line.ends_with(b"\n") {
                        let Ok(Status::Complete((_, size))) = httparse::parse_chunk_size(line)
                        else {
                            return Err(Broken);
                        };
                        *chunk = match size {
                            0 => Chunk::Trailer(Vec::new()),
                            size => Chunk::Data(size),
                        };
                    } else if line.len() > MAX_LINE {
                        return Err(Broken);
                    }
                }
                Chunk::Data(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX);
                    let part = &input[at..];
                    let part = &part[..length.min(part.len())];
                    *left -= part.len() as u64;
                    if *left == 0 {
                        *chunk = Chunk::Behind(2);
                    }
                    at += part.len();
                    self.keep(part);
                }
                Chunk::Behind(left) => {
                    at += 1;
                    *left -= 1;
                    if *left == 0 {
                        *chunk = Chunk::Size(Vec::new());
                    }
                }
                Chunk::Trailer(line) => {
                    line.push(input[at]);
                    at += 1;
                    if line.ends_with(b"\n") {
                        let is_last = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                        *chunk = match is_last {
                            true => Chunk::Over,
                            false => Chunk::Trailer(Vec::new()),
                        };
                    } else if line.len() > MAX_LINE {
                        return Err(Broken);
                    }
                }
                Chunk::Over => break,
            }
        }
        Ok(at)
    }

    fn keep(&mut self, part: &[u8]) {
        if self.kept.len() + part.len() > MAX_KEPT {
            self.is_cut = true;
            self.kept = BytesMut::new();
        }
        if !self.is_cut {
            self.kept.extend_from_slice(part);
        }
    }

    /// The message, whose body is over.
    pub(super) fn into_seen(self) -> Seen {
        let Self {
            mut seen,
            kept,
            is_cut,
            ..
        } = self;
        let bytes = (!is_cut).then(|| kept.freeze());
        match &mut seen {
            Seen::Request(request) => request.content.bytes = bytes,
            Seen::Response(response) => response.content.bytes = bytes,
            _ => {}
        }
        seen
    }

    /// The connection has ended. Nothing where the body is not whole by that.
    pub(super) fn end(self) -> Option<Seen> {
        matches!(self.end, End::WithConnection).then(|| self.into_seen())
    }
}
