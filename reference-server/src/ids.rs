//! Where random ids and tokens come from: the operating system, or a seed when a run must repeat.
//!
//! Only this module draws random numbers. Socket ids are the exception: the Engine.IO library draws
//! them, and nothing in the specification depends on their value.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A source of ids; clones draw from the same stream.
#[derive(Clone)]
pub struct Ids {
    random: Arc<Mutex<StdRng>>,
    /// How many characters more than usual ids have.
    longer_by: usize,
}

impl Ids {
    /// Ids that nobody can guess, seeded by the operating system.
    #[must_use]
    pub fn random() -> Self {
        Self::drawn_from(rand::make_rng())
    }

    /// The same ids for the same seed and the same order of requests. The tokens are guessable, so
    /// this is for tests only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::drawn_from(StdRng::seed_from_u64(seed))
    }

    fn drawn_from(random: StdRng) -> Self {
        Self {
            random: Arc::new(Mutex::new(random)),
            longer_by: 0,
        }
    }

    /// Ids of the same stream that have so many characters more than usual.
    #[must_use]
    pub fn longer_by(&self, characters: usize) -> Self {
        Self {
            longer_by: characters,
            ..self.clone()
        }
    }

    /// The id of a stored row: `c` and 24 characters, as the databases of real servers make them.
    pub(crate) fn record(&self) -> String {
        format!("c{}", self.text(24 + self.longer_by))
    }

    /// The id of an update's envelope: 12 characters.
    pub(crate) fn update(&self) -> String {
        self.text(12 + self.longer_by)
    }

    /// A bearer token: 48 characters, about 248 bits.
    pub(crate) fn token(&self) -> String {
        self.text(48)
    }

    fn text(&self, length: usize) -> String {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        (0..length)
            .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
            .collect()
    }
}

impl fmt::Debug for Ids {
    /// The state of the generator would give away tokens to come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_kinds_have_their_lengths() {
        let (one, two) = (Ids::seeded(7), Ids::seeded(7));
        assert_eq!(one.record(), two.record());
        assert_eq!(one.update(), two.update());
        assert_eq!(
            (one.record().len(), one.update().len(), one.token().len()),
            (25, 12, 48)
        );
        assert_ne!(Ids::random().token(), Ids::random().token());
        assert_eq!(format!("{one:?}"), "Ids");
    }
}
