//! A sorted table from keys to places, of bounded size.

use gybe_core::digest::Digest;

/// The most places that are held at once: 2 MiB of them.
pub(super) const PLACES_MAX: usize = 1 << 17;

/// A place in a slot: a number that says where to look, and a position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    packed: u64,
}

impl Spot {
    const POSITION_BITS: u32 = 48;

    pub(super) const fn new(medium: u16, position: u64) -> Self {
        Self { packed: ((medium as u64) << Self::POSITION_BITS) | position }
    }

    pub(super) fn medium(self) -> usize {
        usize::try_from(self.packed >> Self::POSITION_BITS).unwrap_or(usize::MAX)
    }

    pub(super) const fn position(self) -> u64 {
        self.packed & ((1 << Self::POSITION_BITS) - 1)
    }
}

/// One of several passes over a recipe, each of which handles the keys of its share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) number: u64,
    pub(super) of: u64,
}

impl Pass {
    /// How many passes `count` keys need.
    pub(super) fn needed(count: usize) -> u64 {
        // Keys are hashes and spread evenly, but never quite.
        (count as u64 * 5 / 4).div_ceil(PLACES_MAX as u64).max(1)
    }

    /// Whether a key belongs to this pass.
    pub(super) const fn has(self, key: u64) -> bool {
        (((key >> 48) * self.of) >> 16) == self.number
    }
}

/// Places by key.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    places: Vec<(u64, Spot)>,
}

impl Lookup {
    /// Adds a place, unless the table is full: what is not found is fetched.
    pub(super) fn push(&mut self, key: u64, spot: Spot) {
        if self.places.len() < PLACES_MAX {
            self.places.push((key, spot));
        }
    }

    /// Makes the table ready to be asked.
    pub(super) fn sort(&mut self) {
        self.places.sort_unstable();
    }

    /// The places of a key.
    pub(super) fn find(&self, key: u64) -> impl Iterator<Item = Spot> {
        let start = self.places.partition_point(|(found, _)| *found < key);
        let places = self.places.get(start..).unwrap_or_default();
        places.iter().take_while(move |(found, _)| *found == key).map(|(_, spot)| *spot)
    }
}

/// A digest as the key of a table.
pub(super) fn digest_key(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_key_is_found() {
        let mut lookup = Lookup::default();
        for (key, medium, position) in [(7, 1, 9), (3, 0, 1), (7, 0, 4), (u64::MAX, 3, 1 << 40)] {
            lookup.push(key, Spot::new(medium, position));
        }
        lookup.sort();
        let found: Vec<_> = lookup.find(7).map(|spot| (spot.medium(), spot.position())).collect();
        assert_eq!(found, [(0, 4), (1, 9)]);
        assert_eq!(lookup.find(u64::MAX).next().unwrap().position(), 1 << 40);
        assert_eq!(lookup.find(5).next(), None);
    }

    #[test]
    fn each_key_belongs_to_one_pass() {
        assert_eq!((Pass::needed(0), Pass::needed(PLACES_MAX)), (1, 2));
        for of in [1, 2, 5] {
            for key in [0, 1 << 48, 0x7fff << 48, u64::MAX] {
                let passes = (0..of).filter(|number| Pass { number: *number, of }.has(key));
                assert_eq!(passes.count(), 1, "{key:x} of {of}");
            }
        }
    }
}
