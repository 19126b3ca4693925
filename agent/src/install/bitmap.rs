//! One bit a chunk: a million chunks take 128 KiB.

/// A set of chunk numbers.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    count: u64,
}

impl Bitmap {
    /// Adds a number.
    pub(super) fn insert(&mut self, number: usize) {
        let at = number / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        let Some(word) = self.words.get_mut(at) else { return };
        let bit = 1 << (number % 64);
        self.count += u64::from(*word & bit == 0);
        *word |= bit;
    }

    /// Removes a number; says whether it was there.
    pub(super) fn remove(&mut self, number: usize) -> bool {
        let Some(word) = self.words.get_mut(number / 64) else { return false };
        let bit = 1 << (number % 64);
        let was = *word & bit != 0;
        self.count -= u64::from(was);
        *word &= !bit;
        was
    }

    /// Whether a number is in the set.
    pub(super) fn contains(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many numbers are in the set.
    pub(super) const fn len(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_the_set_until_they_are_removed() {
        let mut set = Bitmap::default();
        for number in [0, 63, 64, 1000, 64] {
            set.insert(number);
        }
        assert_eq!(set.len(), 4);
        assert!(set.contains(1000) && !set.contains(999) && !set.contains(100_000));
        assert!(set.remove(64) && !set.remove(64) && !set.remove(100_000));
        assert_eq!(set.len(), 3);
    }
}
