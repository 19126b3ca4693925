//! Days and fleets, run through in a moment.

use gybe_core::digest::Digest;

use super::*;
use crate::config::pull::{BUDGET_PERIOD_S_DEFAULT, Clock};
use crate::device::this_boot::ThisBoot;
use crate::run::kept::{Outcome, Waiting};
use crate::run::powered::Moment;
use crate::state::{DigestText, ReleaseName};
use crate::window::Windows;

const HOUR: u64 = 3600;

pub(super) fn pull() -> Pull {
    Pull {
        interval_s: 3600,
        delay_s: 600,
        windows: Windows::default(),
        download: Download::Any,
        reboot: RebootPolicy::Now,
        clock: Clock::Synchronised,
        budget_bytes: None,
        budget_period_s: BUDGET_PERIOD_S_DEFAULT,
        channel: None,
        seed: None,
    }
}

pub(super) fn release() -> ReleaseName {
    ReleaseName { digest: DigestText(Digest::of(b"two")), version: "2.0.0".to_owned() }
}

/// One device, from when it was switched on.
pub(super) struct Device {
    pull: Pull,
    kept: Kept,
    pub(super) uptime_s: u64,
    phase: Phase,
    look: Look,
    is_inhibited: bool,
    rhythm: Rhythm,
    pub(super) spread: u64,
}

impl Device {
    pub(super) fn new(pull: Pull) -> Self {
        Self {
            pull,
            kept: Kept::default(),
            uptime_s: 0,
            phase: Phase::Settled,
            look: Look::Open { for_s: 60 },
            is_inhibited: false,
            rhythm: Rhythm::Interval,
            spread: 0,
        }
    }

    fn now(&self) -> Now {
        let boot = ThisBoot { id: None, uptime_s: self.uptime_s, time: None };
        let powered = self.kept.powered.in_boot(&boot);
        let moment = Moment { powered_s: powered.total_s(), time: None };
        Now { boot, powered, moment }
    }

    pub(super) fn decide(&self) -> Action {
        decide(&Facts {
            now: &self.now(),
            rhythm: self.rhythm,
            pull: &self.pull,
            kept: &self.kept,
            look: self.look,
            phase: self.phase,
            is_inhibited: self.is_inhibited,
            spread: self.spread,
        })
    }

    pub(super) fn ends(&mut self, outcome: &Outcome) {
        let now = self.now();
        self.kept = std::mem::take(&mut self.kept).after(outcome, &now).0;
    }

    /// The seconds at which it looks in the next `until_s`, if every look ends like this.
    fn looks(&mut self, until_s: u64, outcome: &Outcome) -> Vec<u64> {
        let mut looks = Vec::new();
        while self.uptime_s < until_s {
            match self.decide() {
                Action::Wait { for_s, .. } => self.uptime_s += for_s,
                Action::Look { .. } => {
                    looks.push(self.uptime_s);
                    self.ends(outcome);
                }
                Action::Reboot => unreachable!("nothing is armed"),
            }
        }
        looks
    }
}

pub(super) fn nothing() -> Outcome {
    Outcome::Nothing(String::new())
}

fn trouble(class: Class) -> Outcome {
    Outcome::Trouble(class, String::new())
}

#[test]
fn it_looks_once_an_interval_and_less_often_after_trouble() {
    let day = 24 * HOUR;
    assert_eq!(Device::new(pull()).looks(day, &nothing()).len(), 24);
    let missing = Device::new(pull()).looks(4 * day, &trouble(Class::NotFound));
    assert_eq!(missing, [0, HOUR, 3 * HOUR, 7 * HOUR, 15 * HOUR, 31 * HOUR, 55 * HOUR, 79 * HOUR]);
    let offline = Device::new(pull()).looks(day, &trouble(Class::Offline));
    assert_eq!(offline[..6], [0, 300, 900, 2100, 4500, 8100]);
    assert!(offline.len() < 30, "{offline:?}");
}

#[test]
fn a_reboot_resets_no_pause() {
    let mut device = Device::new(pull());
    device.looks(8 * HOUR, &trouble(Class::Unauthorised));
    let before = device.kept.clone();
    // It was stored with the last look, at seven hours; three boots of ten minutes follow.
    let mut looks = 0;
    for _ in 0..3 {
        device.uptime_s = 0;
        looks += device.looks(600, &trouble(Class::Unauthorised)).len();
    }
    assert_eq!(looks, 0, "it looked after a reboot, although {before:?}");
}

#[test]
fn a_person_and_a_timer_do_not_wait_for_the_interval_and_a_timer_respects_pauses() {
    let mut device = Device::new(pull());
    device.ends(&nothing());
    let look = Action::Look { arm: Arm::Now };
    assert_eq!(device.decide(), Action::Wait { for_s: HOUR, why: Why::Interval });
    device.rhythm = Rhythm::Timer;
    assert_eq!(device.decide(), look);
    device.ends(&trouble(Class::NotFound));
    let why = Why::Pause(Class::NotFound);
    assert_eq!(device.decide(), Action::Wait { for_s: HOUR, why });
    device.rhythm = Rhythm::Told;
    assert_eq!(device.decide(), look);
}

#[test]
fn nothing_happens_while_what_runs_is_on_trial() {
    let mut device = Device::new(pull());
    device.phase = Phase::Trial;
    for rhythm in [Rhythm::Interval, Rhythm::Timer, Rhythm::Told] {
        device.rhythm = rhythm;
        assert_eq!(device.decide(), Action::Wait { for_s: MOMENT_S, why: Why::Trial });
    }
}

#[test]
fn a_reboot_waits_for_inhibitors_and_for_the_window() {
    let mut device = Device::new(pull());
    device.ends(&Outcome::Armed(release()));
    device.phase = Phase::Armed;
    assert_eq!(device.decide(), Action::Reboot);
    device.is_inhibited = true;
    assert_eq!(device.decide(), Action::Wait { for_s: MOMENT_S, why: Why::Inhibitor });
    device.pull.reboot = RebootPolicy::Window;
    device.look = Look::Closed { opens_in_s: 1234 };
    assert_eq!(device.decide(), Action::Wait { for_s: 1234, why: Why::Window });
    device.look = Look::NoClock;
    assert_eq!(device.decide(), Action::Wait { for_s: MOMENT_S, why: Why::Window });
    (device.look, device.is_inhibited) = (Look::Open { for_s: 60 }, false);
    assert_eq!(device.decide(), Action::Reboot);
    device.pull.reboot = RebootPolicy::Told;
    assert_eq!(device.decide(), Action::Wait { for_s: HOUR, why: Why::Interval });
    // What somebody armed by hand is theirs to reboot into.
    (device.pull.reboot, device.phase) = (RebootPolicy::Now, Phase::ArmedElsewhere);
    assert_eq!(device.decide(), Action::Wait { for_s: HOUR, why: Why::Interval });
}

#[test]
fn what_is_proven_is_armed_when_the_window_opens() {
    let mut device = Device::new(Pull { reboot: RebootPolicy::Window, ..pull() });
    device.look = Look::Closed { opens_in_s: 1800 };
    assert_eq!(device.decide(), Action::Look { arm: Arm::InWindow });
    let (release, reason) = (release(), WaitingFor::Window);
    device.ends(&Outcome::Waits(Waiting { release, reason, why: String::new() }));
    assert_eq!(device.decide(), Action::Wait { for_s: 1800, why: Why::Window });
    device.look = Look::Open { for_s: 60 };
    assert_eq!(device.decide(), Action::Look { arm: Arm::Now });
    // If that goes wrong the window is no reason to hammer.
    device.ends(&trouble(Class::Offline));
    let why = Why::Pause(Class::Offline);
    assert_eq!(device.decide(), Action::Wait { for_s: 300, why });
}

#[test]
fn fetching_waits_for_the_window_where_that_is_asked_for() {
    let mut device = Device::new(Pull { download: Download::Window, ..pull() });
    device.look = Look::Closed { opens_in_s: 50 };
    assert_eq!(device.decide(), Action::Wait { for_s: 50, why: Why::Window });
    device.look = Look::Open { for_s: 60 };
    assert_eq!(device.decide(), Action::Look { arm: Arm::Now });
}

#[test]
fn a_spent_budget_is_waited_out_and_no_longer() {
    let mut device = Device::new(Pull { budget_period_s: 7200, ..pull() });
    device.kept.spend(1000, 7200, device.now().moment);
    device.uptime_s = 5000;
    device.ends(&trouble(Class::Budget));
    device.ends(&trouble(Class::Budget));
    let why = Why::Pause(Class::Budget);
    assert_eq!(device.decide(), Action::Wait { for_s: 2200, why });
}

#[test]
fn a_thousand_devices_that_are_switched_on_at_once_stay_spread() {
    let mut minutes = [0_u32; 70];
    for number in 0..1000_u64 {
        let digest = Digest::of(&number.to_be_bytes());
        let spread = u64::from_be_bytes(*digest.as_bytes().first_chunk().unwrap());
        let mut device = Device::new(pull());
        device.spread = spread;
        let looks = device.looks(70 * 60, &nothing());
        // Each device has its own rhythm, and keeps it.
        let delay = spread % 600;
        assert_eq!(looks, [delay, delay + HOUR], "device {number}");
        for look in looks {
            minutes[usize::try_from(look / 60).unwrap()] += 1;
        }
    }
    // Ten minutes have a hundred devices each: four standard deviations of that are 38.
    for (minute, count) in minutes.into_iter().enumerate() {
        let expected = if minute % 60 < 10 { 100 } else { 0 };
        assert!(
            count.abs_diff(expected) <= if expected == 0 { 0 } else { 38 },
            "{minute}: {count}"
        );
    }
}
