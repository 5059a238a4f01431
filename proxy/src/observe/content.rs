//! Bodies as whoever sent them meant them.

use std::io::Read as _;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

use crate::scan::{Content, MAX_KEPT};

/// The text of a body. Nothing where it was too large, is compressed in another way than usual, or is not
/// UTF-8.
pub(crate) fn text(content: &Content) -> Option<String> {
    let bytes = content.bytes.as_ref()?;
    let bytes = match content.encoding.as_deref() {
        None | Some("identity") => bytes.to_vec(),
        Some("gzip" | "x-gzip") => inflated(GzDecoder::new(&bytes[..]))?,
        // By the standard with a header, by many without.
        Some("deflate") => inflated(ZlibDecoder::new(&bytes[..]))
            .or_else(|| inflated(DeflateDecoder::new(&bytes[..])))?,
        Some(_) => return None,
    };
    String::from_utf8(bytes).ok()
}

fn inflated(decoder: impl std::io::Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_KEPT as u64;
    let length = decoder.take(limit).read_to_end(&mut bytes).ok()?;
    ((length as u64) < limit).then_some(bytes)
}
