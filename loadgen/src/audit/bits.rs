//! A set of an account's connections, small where the account is.

/// Numbers below a bound that is fixed when the set is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bits {
    /// Nearly every account has at most 64 connections.
    Small(u64),
    Large(Box<[u64]>),
}

impl Bits {
    /// The empty set of numbers below `bound`.
    pub(super) fn none(bound: u32) -> Self {
        if bound <= 64 {
            Self::Small(0)
        } else {
            Self::Large(vec![0; bound.div_ceil(64) as usize].into())
        }
    }

    fn words(&self) -> &[u64] {
        match self {
            Self::Small(word) => std::slice::from_ref(word),
            Self::Large(words) => words,
        }
    }

    fn word_of(&mut self, number: u32) -> &mut u64 {
        match self {
            Self::Small(word) => word,
            Self::Large(words) => &mut words[(number / 64) as usize],
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.words()[(number / 64) as usize] & 1 << (number % 64) != 0
    }

    /// Adds a number; false where it was there already.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let bit = 1 << (number % 64);
        let word = self.word_of(number);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a number out; false where it was not there.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        let bit = 1 << (number % 64);
        let word = self.word_of(number);
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.words()
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// The numbers, in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(self.words()).flat_map(|(index, word)| {
            (0..64)
                .filter(move |bit| word & 1 << bit != 0)
                .map(move |bit| index * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_sets_behave_alike() {
        for bound in [1, 63, 64, 65, 1000] {
            let mut set = Bits::none(bound);
            let numbers = [0, bound / 2, bound - 1];
            for number in numbers {
                set.insert(number);
                assert!(!set.insert(number));
                assert!(set.contains(number));
            }
            let mut expected = numbers.to_vec();
            expected.dedup();
            assert!(set.iter().eq(expected.iter().copied()), "{bound}");
            assert_eq!(set.count(), expected.len() as u64);
            assert!(set.remove(bound - 1) && !set.remove(bound - 1));
            assert!(!set.contains(bound - 1));
        }
    }
}
