//! HTTP long-polling payloads: packets separated by the record separator, binary as base64.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{DecodeError, Frame, Problem, Text};

/// Between two packets of one payload.
const SEPARATOR: char = '\u{1e}';

/// Splits a payload into its packets. Text packets share the payload's memory only in so far as
/// each is copied once.
///
/// # Errors
/// An empty payload or packet, and base64 that is none.
pub fn decode(payload: &str) -> Result<Vec<Frame>, DecodeError> {
    let mut at = 0;
    let mut frames = Vec::new();
    for part in payload.split(SEPARATOR) {
        let frame = match part.strip_prefix('b') {
            _ if part.is_empty() => return Err(DecodeError::new(at, Problem::Empty)),
            Some(data) => BASE64_STANDARD
                .decode(data)
                .map(|bytes| Frame::Binary(bytes.into()))
                .map_err(|_| DecodeError::new(at + 1, Problem::Base64))?,
            None => Frame::Text(Text::from(part)),
        };
        frames.push(frame);
        at += part.len() + SEPARATOR.len_utf8();
    }
    Ok(frames)
}

/// Joins packets into one payload.
pub fn encode<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> String {
    let mut payload = String::new();
    for (index, frame) in frames.into_iter().enumerate() {
        if index > 0 {
            payload.push(SEPARATOR);
        }
        match frame {
            Frame::Text(text) => payload.push_str(text),
            Frame::Binary(bytes) => {
                payload.push('b');
                BASE64_STANDARD.encode_string(bytes, &mut payload);
            }
        }
    }
    payload
}

/// How many bytes `frame` takes in a payload, a separator included.
pub fn encoded_len(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.len() + 1,
        Frame::Binary(bytes) => bytes.len().div_ceil(3) * 4 + 2,
    }
}
