//! Claims about the terms of a release.

use std::string::ToString as _;
use std::vec::Vec;

use super::*;

const RELEASE: &[u8] = b"release";
const RUNNING: &[u8] = b"running";

fn situation() -> Situation {
    Situation { running: Some((Digest::of(RUNNING), 7)), now: Some(1000), downgraded: 4 }
}

fn said(signer: &str, terms: Terms) -> Said<'_> {
    Said { signer, terms }
}

fn met(situation: Situation, said: &[Said<'_>]) -> Result<Option<u64>, std::string::String> {
    let met = situation.meets(said, Digest::of(RELEASE), 2);
    met.map(|met| met.map(|it| it.sequence)).map_err(|unmet| unmet.to_string())
}

#[test]
fn the_latest_word_of_a_signer_counts() {
    let needs = |index, issued| Terms { not_before_index: index, issued, ..Terms::default() };
    assert_eq!(met(situation(), &[said("a", needs(9, 1)), said("a", needs(7, 2))]), Ok(None));
    assert!(met(situation(), &[said("a", needs(9, 3)), said("a", needs(7, 2))]).is_err());
    // What was said at once counts together, and nobody's word is replaced by another's.
    assert!(met(situation(), &[said("a", needs(9, 2)), said("a", needs(7, 2))]).is_err());
    assert!(met(situation(), &[said("a", needs(9, 1)), said("b", needs(7, 2))]).is_err());
}

#[test]
fn a_missing_stepping_stone_is_named() {
    let needs = |index| [said("a", Terms { not_before_index: index, ..Terms::default() })];
    assert_eq!(met(situation(), &needs(7)), Ok(None));
    assert_eq!(
        met(situation(), &needs(8)).unwrap_err(),
        "rollback index of what runs is 7, the release needs 8: a release between is missing"
    );
    assert_eq!(met(Situation { running: None, ..situation() }, &needs(8)), Ok(None));
}

#[test]
fn only_a_clock_that_is_trusted_makes_a_release_expire() {
    let expires = |at| [said("a", Terms { expires: Some(at), ..Terms::default() })];
    assert_eq!(met(situation(), &expires(1001)), Ok(None));
    assert_eq!(
        met(situation(), &expires(1000)).unwrap_err(),
        "release expired at 1000, it is 1000 (in Unix seconds)"
    );
    assert_eq!(met(Situation { now: None, ..situation() }, &expires(1)), Ok(None));
}

#[test]
fn a_downgrade_needs_as_many_signers_as_the_release_and_works_once() {
    let down = |from: &[u8], to: &[u8], sequence| Terms {
        downgrade: Some(Downgrade { from: Digest::of(from), to: Digest::of(to), sequence }),
        ..Terms::default()
    };
    let good = down(RUNNING, RELEASE, 5);
    let both = |terms| [said("a", terms), said("b", terms)];
    assert_eq!(met(situation(), &both(good)), Ok(Some(5)));
    for (what, not) in [
        ("one signer", [said("a", good), said("b", Terms::default())].to_vec()),
        ("one signer twice", [said("a", good), said("a", good)].to_vec()),
        ("two different ones", [said("a", good), said("b", down(RUNNING, RELEASE, 6))].to_vec()),
        ("from another", both(down(b"other", RELEASE, 5)).to_vec()),
        ("to another", both(down(RUNNING, b"other", 5)).to_vec()),
        ("made before", both(down(RUNNING, RELEASE, 4)).to_vec()),
        (
            "taken back",
            both(good)
                .into_iter()
                .chain([said("b", Terms { issued: 1, ..Terms::default() })])
                .collect::<Vec<_>>(),
        ),
    ] {
        assert_eq!(met(situation(), &not), Ok(None), "{what}");
    }
    assert_eq!(met(Situation { running: None, ..situation() }, &both(good)), Ok(None));
}

#[test]
fn terms_that_cannot_be_read_are_named() {
    let digest = Digest::of(RELEASE).to_string();
    let read = |pairs: &[(&str, &str)]| {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Terms::read(find).map(drop).map_err(|cause| cause.to_string())
    };
    let all = [(DOWNGRADE_FROM, &*digest), (DOWNGRADE_TO, &*digest), (DOWNGRADE_SEQUENCE, "1")];
    assert_eq!(read(&all), Ok(()));
    for (pairs, why) in [
        (&[(ISSUED, "-1")][..], "annotation dev.gybe.issued is not an integer"),
        (&[(EXPIRES, "")], "annotation dev.gybe.expires is not an integer"),
        (&[(NOT_BEFORE_INDEX, "07")], "annotation dev.gybe.not-before-index is not an integer"),
        (&[(DOWNGRADE_TO, "sha256:00")], "dev.gybe.downgrade-to is not a SHA-256 digest"),
        (&all[..2], "a downgrade needs dev.gybe.downgrade-from, "),
        (&all[1..], "a downgrade needs dev.gybe.downgrade-from, "),
    ] {
        let found = read(pairs).unwrap_err();
        assert!(found.contains(why), "{found}\n has no\n{why}");
    }
}
