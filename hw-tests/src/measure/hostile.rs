//! How much memory an install takes when the registry is made to use it up. The servers are those of
//! the test, the agent is the release build.

use super::lab::{self, Lab};
use crate::say;

/// What asks it.
pub(super) const TEST: &str = "cargo test --package gybe-hw-tests --test hostile_registry hostile_registries_end -- --nocapture";

/// The most memory of an install, in KiB, by what the registry does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hostile(pub(super) Vec<(String, u64)>);

pub(super) fn run(lab: &Lab) -> Result<Hostile, String> {
    say::heading("hostile registries");
    Hostile::read(&lab::test(TEST, Some(&lab.programs))?)
}

impl Hostile {
    /// Reads what the test prints.
    fn read(said: &str) -> Result<Self, String> {
        let peak = |line: &str| {
            let (name, rest) = line.split_once(": ")?;
            let (kib, _) = rest.split_once(" KiB, ended with ")?;
            Some((name.to_owned(), kib.parse().ok()?))
        };
        let peaks: Vec<_> = said.lines().filter_map(peak).collect();
        if peaks.is_empty() {
            Err(format!("{TEST} says nothing of memory"))
        } else {
            Ok(Self(peaks))
        }
    }

    /// The highest of all.
    pub(super) fn peak_kib(&self) -> Option<u64> {
        self.0.iter().map(|(_, kib)| *kib).max()
    }
}

#[cfg(test)]
mod tests {
    use super::Hostile;

    #[test]
    fn the_test_of_hostile_registries_is_read() {
        let said = "running 1 test\nLists: 9876 KiB, ended with 0: \n\
            Pages: 10240 KiB, ended with 1: gybe: no: it goes on\nhint: none\ntest x ... ok\n";
        let read = Hostile::read(said).unwrap();
        assert_eq!(read.0, [("Lists".to_owned(), 9876), ("Pages".to_owned(), 10_240)]);
        assert_eq!(read.peak_kib(), Some(10_240));
        assert!(Hostile::read("running 0 tests\n").is_err());
    }
}
