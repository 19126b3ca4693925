//! A thousand devices, and what statements mean.

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use super::*;

const FLEET: usize = 1000;

fn seeds() -> Vec<String> {
    // As machine ids are: 32 hexadecimal digits.
    (0..FLEET).map(|number| Digest::of(&number.to_be_bytes()).hex().to_string()).collect()
}

/// The numbers of the devices that take the release.
fn takers(statement: &Statement<'_>, release: Digest, now: Option<u64>) -> BTreeSet<usize> {
    let decides = |seed: &String| {
        let position = Position::new(seed.as_bytes(), release);
        decide(statement, &Member { channel: None, position }, now) == Decision::Go
    };
    (0..).zip(&seeds()).filter(|(_, seed)| decides(seed)).map(|(number, _)| number).collect()
}

fn at(percent: u8) -> Statement<'static> {
    Statement { percent, issued: u64::from(percent), ..Statement::default() }
}

/// Four standard deviations of how many of the fleet are expected: a fair draw leaves these bounds once
/// in 16,000 draws, and what is drawn here is always the same.
fn bound(percent: u8) -> f64 {
    let share = f64::from(percent) / 100.0;
    4.0 * (1000.0 * share * (1.0 - share)).sqrt()
}

#[test]
fn a_thousand_devices_follow_the_curve_the_pause_and_the_resume() {
    let release = Digest::of(b"release 2");
    let mut before = BTreeSet::new();
    for percent in [0, 1, 5, 10, 25, 50, 75, 99, 100] {
        let now = takers(&at(percent), release, None);
        let expected = f64::from(percent) * 10.0;
        let count = u32::try_from(now.len()).unwrap();
        assert!((f64::from(count) - expected).abs() <= bound(percent), "{percent} %: {count}");
        assert!(now.is_superset(&before), "{percent} %: somebody was taken out again");
        // A pause stops everybody who has not begun, and the resume finds the same devices again.
        let paused = Statement { paused: true, ..at(percent) };
        assert_eq!(takers(&paused, release, None).len(), 0);
        assert_eq!(takers(&at(percent), release, None), now);
        before = now;
    }
    assert_eq!(before.len(), FLEET);
}

#[test]
fn who_is_among_the_first_of_one_release_is_not_of_the_next() {
    let first = takers(&at(10), Digest::of(b"release 2"), None);
    let second = takers(&at(10), Digest::of(b"release 3"), None);
    let both = first.intersection(&second).count();
    // Of about a hundred, about ten: with the same order of devices it would be all of them.
    assert!((1..=25).contains(&both), "{both} devices are among the first 10 % both times");
}

#[test]
fn positions_are_spread_evenly() {
    let release = Digest::of(b"release 2");
    let mut cells = [0_u32; 10];
    for seed in seeds() {
        let percent = Position::new(seed.as_bytes(), release).percent();
        cells[usize::from(percent) / 10] += 1;
    }
    // Chi-square with nine degrees of freedom: above 27.9 once in a thousand draws.
    let chi: f64 = cells.iter().map(|&count| (f64::from(count) - 100.0).powi(2) / 100.0).sum();
    assert!(chi < 27.9, "{chi}: {cells:?}");
    assert_eq!(Position(0).percent(), 0);
    assert_eq!(Position(u64::MAX).percent(), 99);
}

#[test]
fn a_start_is_waited_for_only_by_who_knows_the_time() {
    let release = Digest::of(b"release 2");
    let statement = Statement { start: Some(1_800_000_000), ..Statement::default() };
    assert_eq!(takers(&statement, release, Some(1_799_999_999)).len(), 0);
    assert_eq!(takers(&statement, release, Some(1_800_000_000)).len(), FLEET);
    assert_eq!(takers(&statement, release, None).len(), FLEET);
}

#[test]
fn channels_must_be_the_same() {
    let position = Position(0);
    let decide = |found, wanted| {
        let statement = Statement { channel: found, ..Statement::default() };
        decide(&statement, &Member { channel: wanted, position }, None)
    };
    assert_eq!(decide(None, None), Decision::Go);
    assert_eq!(decide(Some("beta"), Some("beta")), Decision::Go);
    for (found, wanted, words) in [
        (Some("beta"), None, "the release is for the channel \"beta\", this device follows no"),
        (None, Some("beta"), "the release is for no channel, this device follows the channel"),
        (Some("beta"), Some("stable"), "the release is for the channel \"beta\", this device"),
    ] {
        let decision = decide(found, wanted);
        assert_eq!(decision, Decision::Channel { found, wanted });
        assert!(decision.to_string().starts_with(words), "{decision}");
    }
}

#[test]
fn the_statement_that_was_issued_last_is_in_force() {
    let all = Statement { issued: 7, ..Statement::default() };
    let paused = Statement { issued: 8, paused: true, ..Statement::default() };
    let some = Statement { issued: 9, percent: 10, ..Statement::default() };
    for order in [[all, paused, some], [some, paused, all], [paused, some, all]] {
        let [first, second, third] = order;
        assert_eq!(first.or_later(second).or_later(third), some);
    }
    // Two at once: what both allow.
    let other = Statement { issued: 9, start: Some(5), ..Statement::default() };
    let both = Statement { start: Some(5), ..some };
    assert_eq!((some.or_later(other), other.or_later(some)), (both, both));
    let [a, b] = ["a", "b"].map(|name| Statement { channel: Some(name), ..Statement::default() });
    assert!(a.or_later(b).paused);
}

#[test]
fn annotations_are_read_and_nonsense_is_named() {
    let read = |pairs: &[(&'static str, &'static str)]| Statement::parse(pairs.iter().copied());
    assert_eq!(read(&[("ci", "https://example.org")]), Ok(Statement::default()));
    let pairs = [
        ("dev.gybe.issued", "1764180000"),
        ("dev.gybe.rollout", "25"),
        ("dev.gybe.rollout-start", "1764190000"),
        ("dev.gybe.paused", "true"),
        ("dev.gybe.channel", "beta"),
    ];
    let expected = Statement {
        issued: 1_764_180_000,
        percent: 25,
        start: Some(1_764_190_000),
        paused: true,
        channel: Some("beta"),
    };
    assert_eq!(read(&pairs), Ok(expected));
    for (key, value, words) in [
        (ISSUED, "+1", "annotation dev.gybe.issued is \"+1\", which is not a whole number"),
        (ISSUED, "", "which is not a whole number"),
        (ISSUED, "18446744073709551616", "which is not a whole number"),
        (PERCENT, "101", "which is not a share from 0 to 100"),
        (PERCENT, "10.5", "which is not a whole number"),
        (START, "tomorrow", "which is not a whole number"),
        (PAUSED, "yes", "which is not true or false"),
        (CHANNEL, "", "which is not a name of 1 to 64 bytes"),
    ] {
        let error = read(&[(key, value)]).unwrap_err();
        let found = format!("{error}");
        assert!(found.contains(words), "{found}");
    }
}
