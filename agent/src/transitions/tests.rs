//! What is told, and what is kept of it.

use gybe_core::digest::Digest;

use super::*;
use crate::evidence::Evidence;
use crate::state::{Armed, Fallback, SlotText};

fn release(version: &str) -> ReleaseName {
    ReleaseName { digest: DigestText(Digest::of(version.as_bytes())), version: version.to_owned() }
}

fn armed(version: &str, rearmed: u8) -> Armed {
    let (slot, release, from) = (SlotText::B, release(version), Some(release("1")));
    Armed { slot, release, from, tries: 3, rearmed }
}

fn fallback(version: &str, reason: &str) -> Fallback {
    Fallback {
        from: release(version),
        to: Some(release("1")),
        slot: SlotText::B,
        reason: reason.to_owned(),
        tries: Some(3),
        rearmed: 0,
    }
}

/// What is told of one view of the device after the other, as words; each view twice.
fn told(views: &[(Option<&str>, Option<Armed>, Option<Fallback>)]) -> Vec<String> {
    let evidence = Evidence::default();
    let mut told = Told::default();
    let mut words = Vec::new();
    for (kept, armed, fell_back) in views {
        let kept = kept.map(release);
        let seen = Seen {
            kept: kept.as_ref(),
            armed: armed.as_ref(),
            fell_back: fell_back.as_ref(),
            evidence: &evidence,
        };
        for _ in 0..2 {
            let (now, transitions) = noticed(&told, &seen);
            told = now;
            words.extend(transitions.iter().map(Transition::to_string));
        }
    }
    words
}

#[test]
fn updated_is_told_after_the_commit_and_once() {
    let views = [
        (Some("1"), None, None),
        (Some("1"), Some(armed("2", 0)), None),
        // It runs on trial: what runs is not kept, and nothing is said.
        (None, Some(armed("2", 0)), None),
        (Some("2"), None, None),
    ];
    assert_eq!(told(&views), ["armed from 1 to 2", "updated from 1 to 2"]);
}

#[test]
fn a_commit_of_which_nobody_heard_is_told_by_the_next_command() {
    // Killed right after the environment was written; then an operator goes back.
    let views =
        [(Some("1"), Some(armed("2", 0)), None), (Some("2"), None, None), (Some("1"), None, None)];
    let expected = ["armed from 1 to 2", "updated from 1 to 2", "rolled-back from 2 to 1"];
    assert_eq!(told(&views), expected);
}

#[test]
fn a_fallback_is_told_with_its_reason_and_again_when_more_is_known() {
    let views = [
        (Some("1"), Some(armed("2", 0)), None),
        (Some("1"), None, Some(fallback("2", "interrupted"))),
        (Some("1"), Some(armed("2", 1)), Some(fallback("2", "interrupted"))),
        (Some("1"), None, Some(fallback("2", "health"))),
    ];
    let expected = [
        "armed from 1 to 2",
        "fell-back from 2 to 1: interrupted",
        "armed from 1 to 2",
        "fell-back from 2 to 1: health",
    ];
    assert_eq!(told(&views), expected);
}

#[test]
fn a_factory_is_no_transition() {
    assert_eq!(told(&[(Some("1"), None, None)]), [""; 0]);
}

#[test]
fn the_ring_is_bounded_and_counts_what_nobody_got() {
    let mut kept = Kept::default();
    for _ in 0..40 {
        kept.push(Transition::new(Kind::Armed), true);
    }
    assert_eq!((kept.ring.len(), kept.dropped, kept.waiting()), (RING_LEN_MAX, 8, RING_LEN_MAX));
    assert_eq!(kept.next_to_post().unwrap().sequence, 9);
    kept.posted = 40;
    kept.push(Transition::new(Kind::Armed), true);
    assert_eq!((kept.dropped, kept.waiting()), (8, 1));
}

#[test]
fn the_longest_ring_has_room() {
    let long = "\"".repeat(1000);
    let name = ReleaseName { digest: release("2").digest, version: "\"".repeat(128) };
    let mut transition = Transition::new(Kind::InstallFailed).because("install", &long);
    (transition.from, transition.to) = (Some(name.clone()), Some(name));
    let cost = u64::MAX;
    transition.cost = Some(Cost {
        fetched_bytes: cost,
        requests: cost,
        wasted_bytes: cost,
        written_bytes: cost,
        total_bytes: cost,
    });
    let check = Some("\"".repeat(256));
    transition.evidence = Some(Summary { attempts: 24, check, fault: Some("deadline".to_owned()) });
    let mut kept = Kept::default();
    for _ in 0..RING_LEN_MAX {
        kept.push(transition.clone(), true);
    }
    let len = serde_json::to_vec(&kept).unwrap().len();
    assert!(len + 4096 < AREA_LEN, "{len} bytes");
}
