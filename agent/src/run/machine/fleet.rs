//! A thousand devices over a week: a rollout that grows, is paused, and goes on.

use gybe_core::digest::Digest;
use gybe_core::rollout::{Decision, Member, Position, Statement, decide};

use super::Action;
use super::tests::{Device, nothing, pull, release};
use crate::run::kept::Outcome;

const FLEET: u64 = 1000;
const DAY_S: u64 = 86_400;

/// What is signed, from that day on.
fn signed(day: u64) -> Statement<'static> {
    let (percent, paused) = match day {
        0 => (1, false),
        1 => (10, false),
        2 => (50, false),
        3 => (50, true),
        4 => (50, false),
        _ => (100, false),
    };
    Statement { issued: day, percent, paused, ..Statement::default() }
}

/// When a device takes the release, in seconds since the first statement, and how often it looked.
fn taken(number: u64) -> (Option<u64>, usize) {
    let seed = Digest::of(&number.to_be_bytes());
    let mut device = Device::new(pull());
    device.spread = u64::from_be_bytes(*seed.as_bytes().first_chunk().unwrap());
    // They were switched on through the day.
    device.uptime_s = device.spread % 3600;
    let member = Member {
        channel: None,
        position: Position::new(seed.hex().to_string().as_bytes(), release().digest.0),
    };
    let (mut taken, mut looks) = (None, 0);
    while device.uptime_s < 6 * DAY_S {
        match device.decide() {
            Action::Wait { for_s, .. } => device.uptime_s += for_s,
            Action::Reboot => unreachable!("nobody is told to"),
            Action::Look { .. } => {
                looks += 1;
                let statement = signed(device.uptime_s / DAY_S);
                let go = decide(&statement, &member, None) == Decision::Go;
                if go && taken.is_none() {
                    taken = Some(device.uptime_s);
                    device.ends(&Outcome::Armed(release()));
                } else {
                    device.ends(&nothing());
                }
            }
        }
    }
    (taken, looks)
}

#[test]
fn a_fleet_follows_what_is_signed_from_day_to_day() {
    let fleet: Vec<_> = (0..FLEET).map(taken).collect();
    let by = |time_s| fleet.iter().filter(|(taken, _)| taken.is_some_and(|it| it < time_s)).count();
    let at_the_end_of_day: Vec<_> = (1..=6).map(|day| by(day * DAY_S)).collect();
    let [first, second, third, paused, resumed, last] = at_the_end_of_day[..] else {
        unreachable!("six days")
    };
    // Within four standard deviations of 10, 100 and 500 devices.
    assert!(first.abs_diff(10) <= 13, "{at_the_end_of_day:?}");
    assert!(second.abs_diff(100) <= 38, "{at_the_end_of_day:?}");
    assert!(third.abs_diff(500) <= 63, "{at_the_end_of_day:?}");
    // The pause stops everybody, and the resume brings nobody who was not meant before.
    assert_eq!((paused, resumed), (third, third), "{at_the_end_of_day:?}");
    assert_eq!(last, fleet.len(), "{at_the_end_of_day:?}");
    // Whoever is let in comes within an interval and the delay, spread over it and not at once.
    let within = by(5 * DAY_S + 3600 + 600);
    assert_eq!(within, fleet.len(), "somebody came later");
    let half = by(5 * DAY_S + 1800) - resumed;
    let let_in = last - resumed;
    assert!((let_in / 4..=let_in * 3 / 4).contains(&half), "{half} of {let_in} in half an hour");
    // And nobody looked more than once an hour for that.
    assert!(fleet.iter().all(|&(_, looks)| looks <= 6 * 24 + 1));
}
