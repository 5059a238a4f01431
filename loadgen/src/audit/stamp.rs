//! The stamp that every emitted event carries within its opaque content: which run, which account,
//! which event. It is looked for in the raw text of what arrives, since parsing would cost more
//! than all the rest.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// How a stamp begins. It has only characters of the base64 alphabet and a length of a multiple of
/// four, so that a stamp is valid base64 that decodes and encodes to itself.
const PREFIX: &str = "TouchS1x";
/// The length of a stamp in bytes.
pub(crate) const LENGTH: usize = 32;

/// A stamp: where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which run it is of.
    pub(crate) run: u32,
    /// Which account it was emitted in.
    pub(crate) account: u32,
    /// Its number among the account's events.
    pub(crate) number: u32,
}

impl Stamp {
    /// Writes it, and behind it so much that `size` bytes are written in all, if the stamp is not
    /// longer. The filling is of the base64 alphabet too, and a multiple of four long.
    pub(crate) fn write(self, to: &mut String, size: u32) {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(
            to,
            "{PREFIX}{:08x}{:08x}{:08x}",
            self.run, self.account, self.number
        );
        let fill = (size as usize).saturating_sub(LENGTH).next_multiple_of(4);
        to.extend(std::iter::repeat_n('A', fill));
    }

    /// The stamps in a text. There are several where an event tells more than what has changed.
    pub(crate) fn all(text: &str) -> impl Iterator<Item = Self> + '_ {
        static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));
        FINDER.find_iter(text.as_bytes()).filter_map(|at| {
            let digits = text.as_bytes().get(at + PREFIX.len()..at + LENGTH)?;
            Some(Self {
                run: hex(&digits[..8])?,
                account: hex(&digits[8..16])?,
                number: hex(&digits[16..])?,
            })
        })
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(number << 4 | value)
    })
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    const STAMP: Stamp = Stamp {
        run: 0xdead_beef,
        account: 7,
        number: u32::MAX,
    };

    #[test]
    fn a_stamp_survives_base64() {
        for size in [0, 32, 33, 120, 1201] {
            let mut text = String::new();
            STAMP.write(&mut text, size);
            assert!(
                text.len() >= size as usize && text.len() < size as usize + 40,
                "{}",
                text.len()
            );
            let decoded = BASE64_STANDARD.decode(&text).unwrap();
            assert_eq!(BASE64_STANDARD.encode(decoded), text);
            let twice = format!("{{\"c\":\"{text}\",\"d\":\"{text}\"}}");
            assert!(Stamp::all(&twice).eq([STAMP; 2]), "{twice}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "TouchS1x",
            "TouchS1x00000000",
            "TouchS1xg0000000deadbeef00000000",
        ] {
            assert_eq!(Stamp::all(text).next(), None, "{text}");
        }
    }
}
