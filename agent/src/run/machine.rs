//! What to do next: facts in, one action out.
//!
//! ```text
//!             ┌───────────────── wait ◀───────────────────────────┐
//!             ▼   due?                                            │
//!  started ▶ idle ─────▶ look ─┬▶ nothing new ─────────────────────┤
//!             ▲                ├▶ trouble: a longer pause each time ┤
//!             │                ├▶ proven, waits for the window ─────┤
//!             │                └▶ armed ─▶ (window, inhibitors) ─▶ reboot
//!  while what runs is on trial: nothing at all
//! ```
//!
//! Nothing here does anything, or knows what time it is: both come from outside, so that years can be
//! run through in a test.

use super::kept::{Kept, WaitingFor};
use super::powered::Now;
use super::trouble::Class;
use crate::config::pull::{Download, Pull, RebootPolicy};
use crate::window::Look;

/// The longest that is slept before everything is looked at again: somebody may have changed the
/// configuration, the clock, or the boot environment.
pub const WAIT_S_MAX: u64 = 3600;
/// How long is waited for what has no time of its own: a trial that ends, an inhibitor that goes.
pub const MOMENT_S: u64 = 60;

/// Everything that is decided on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The time, by every clock.
    pub now: &'a Now,
    /// Who asks.
    pub rhythm: Rhythm,
    /// What is configured.
    pub pull: &'a Pull,
    /// What is remembered.
    pub kept: &'a Kept,
    /// Whether a maintenance window is open.
    pub look: Look,
    /// In which phase of an update the device is.
    pub phase: Phase,
    /// Whether somebody does not want it to reboot.
    pub is_inhibited: bool,
    /// The device's own number, by which a fleet is spread.
    pub spread: u64,
}

/// Who asks what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Ourselves: a look is due when the interval is over.
    Interval,
    /// A timer: a look is due, unless there was trouble.
    Timer,
    /// A person: a look is due.
    Told,
}

/// In which phase of an update a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What runs is kept, and nothing is armed.
    Settled,
    /// What runs is on trial.
    Trial,
    /// A release was armed by a look in this boot.
    Armed,
    /// A release was armed by somebody else, who reboots.
    ArmedElsewhere,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask again, at the latest after so many seconds.
    Wait {
        /// How many.
        for_s: u64,
        /// What is waited for.
        why: Why,
    },
    /// Look at the tracked reference, and take what is new.
    Look {
        /// Whether to arm it.
        arm: Arm,
    },
    /// Reboot into what is armed.
    Reboot,
}

/// Whether a look arms what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// It does.
    Now,
    /// It waits for a window.
    InWindow,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The trial's end.
    Trial,
    /// The next look.
    Interval,
    /// The end of a pause after trouble.
    Pause(Class),
    /// A window, to fetch in or to reboot in.
    Window,
    /// Whoever does not want a reboot now.
    Inhibitor,
}

/// Decides.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Action {
    let wait = |for_s: u64, why| Action::Wait { for_s: for_s.clamp(1, WAIT_S_MAX), why };
    match (facts.phase, facts.pull.reboot) {
        (Phase::Trial, _) => return wait(MOMENT_S, Why::Trial),
        (Phase::Armed, RebootPolicy::Window) if !facts.look.is_open() => {
            return wait(opens_in_s(facts.look), Why::Window);
        }
        (Phase::Armed, RebootPolicy::Now | RebootPolicy::Window) => {
            return if facts.is_inhibited {
                wait(MOMENT_S, Why::Inhibitor)
            } else {
                Action::Reboot
            };
        }
        // Whoever was told reboots; meanwhile there may be something newer.
        (Phase::Armed, RebootPolicy::Told) | (Phase::Settled | Phase::ArmedElsewhere, _) => {}
    }
    let arm = match facts.pull.reboot {
        RebootPolicy::Window if !facts.look.is_open() => Arm::InWindow,
        _ => Arm::Now,
    };
    let (due_in_s, why) = due_in(facts);
    let waits_for_window =
        facts.kept.waiting.as_ref().is_some_and(|waiting| waiting.reason == WaitingFor::Window);
    if due_in_s == 0 || (waits_for_window && arm == Arm::Now && facts.kept.trouble.is_none()) {
        if facts.pull.download == Download::Window && !facts.look.is_open() {
            return wait(opens_in_s(facts.look), Why::Window);
        }
        return Action::Look { arm };
    }
    if waits_for_window && facts.kept.trouble.is_none() {
        return wait(due_in_s.min(opens_in_s(facts.look)), Why::Window);
    }
    wait(due_in_s, why)
}

/// In how many seconds the next look is due, and what is waited for until then.
fn due_in(facts: &Facts<'_>) -> (u64, Why) {
    let Facts { now, pull, kept, spread, .. } = *facts;
    if facts.rhythm == Rhythm::Told {
        return (0, Why::Interval);
    }
    let ago_s = kept.last_look.map(|last| last.until(now.moment));
    if let (Some(trouble), Some(ago_s)) = (&kept.trouble, ago_s) {
        let mut pause_s = trouble.class.pause_s(trouble.count, pull.interval_s.into(), spread);
        if trouble.class == Class::Budget {
            // A new period is what was waited for.
            pause_s = pause_s.min(kept.period_left_s(pull.budget_period_s, now.moment));
        }
        return (pause_s.saturating_sub(ago_s), Why::Pause(trouble.class));
    }
    if facts.rhythm == Rhythm::Timer {
        return (0, Why::Interval);
    }
    // A fleet that is switched on at once, or whose power comes back, is spread by the delay. It is
    // the same every time, so that the looks stay spread, and each device keeps its own rhythm.
    let delay_s = spread.checked_rem(u64::from(pull.delay_s)).unwrap_or(0);
    let delayed_s = delay_s.saturating_sub(now.boot.uptime_s);
    let interval_s = u64::from(pull.interval_s);
    let rest_s = ago_s.map_or(0, |ago_s| interval_s.saturating_sub(ago_s));
    (rest_s.max(delayed_s), Why::Interval)
}

/// In how many seconds a window opens; where nobody knows, it is asked again.
const fn opens_in_s(look: Look) -> u64 {
    match look {
        Look::Open { .. } => 0,
        Look::Closed { opens_in_s } => opens_in_s as u64,
        Look::NoClock => MOMENT_S,
    }
}

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod tests;
