//! The section `[health]`: how long checks may take, what they need, and which watchdog is fed.

use std::path::PathBuf;

use super::document::{DocumentError, Section};

/// How long the checks of a first attempt may take, unless `health.deadline_s` says otherwise. The
/// second attempt has twice as long, and so on, as MicroShift's own checks wait 600, 1200 and 1800 s
/// in each of up to three stages.
pub const DEADLINE_S_DEFAULT: u32 = 1800;
/// The shortest that makes sense.
pub const DEADLINE_S_MIN: u32 = 1;
/// A day.
pub const DEADLINE_S_MAX: u32 = 86_400;
/// The watchdog that is fed if it is there and nobody else has it.
pub const WATCHDOG_DEFAULT: &str = "/dev/watchdog0";
/// How long a watchdog waits, unless `health.watchdog_timeout_s` says otherwise.
pub const WATCHDOG_TIMEOUT_S_DEFAULT: u32 = 60;
/// The shortest that can be fed in time.
pub const WATCHDOG_TIMEOUT_S_MIN: u32 = 5;
/// The longest: ten minutes.
pub const WATCHDOG_TIMEOUT_S_MAX: u32 = 600;

const KEYS: [&str; 4] = ["deadline_s", "no_checks", "watchdog", "watchdog_timeout_s"];

/// How health is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Seconds that the checks of a trial's first attempt may take; the attempt of number n has n
    /// times as many.
    pub deadline_s: u32,
    /// What a system without any `required.d` is.
    pub no_checks: NoChecks,
    /// The watchdog to feed on trial.
    pub watchdog: Watchdog,
    /// After how many seconds without food it bites.
    pub watchdog_timeout_s: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            deadline_s: DEADLINE_S_DEFAULT,
            no_checks: NoChecks::Unhealthy,
            watchdog: Watchdog::IfThere,
            watchdog_timeout_s: WATCHDOG_TIMEOUT_S_DEFAULT,
        }
    }
}

/// What a system without any folder of required checks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChecks {
    /// It may have lost them, so it is not kept.
    Unhealthy,
    /// It was meant to have none.
    Healthy,
}

/// Which watchdog is fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// The usual one, if it is there.
    IfThere,
    /// This one.
    At(PathBuf),
    /// None.
    None,
}

/// What one file says of it.
#[derive(Default)]
pub(super) struct Layer {
    deadline_s: Option<u32>,
    no_checks: Option<NoChecks>,
    watchdog: Option<Watchdog>,
    watchdog_timeout_s: Option<u32>,
}

impl Layer {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, DocumentError> {
        section.allow(&KEYS)?;
        let no_checks = match section.text("no_checks")? {
            None => None,
            Some(text) if text.value == "unhealthy" => Some(NoChecks::Unhealthy),
            Some(text) if text.value == "healthy" => Some(NoChecks::Healthy),
            Some(text) => {
                let problem = "is not unhealthy or healthy";
                return Err(section.value_error("no_checks", text.line, problem));
            }
        };
        let watchdog = match section.text("watchdog")? {
            None => None,
            Some(text) if text.value == "none" => Some(Watchdog::None),
            Some(_) => section.absolute_path("watchdog")?.map(Watchdog::At),
        };
        let (min, max) = (WATCHDOG_TIMEOUT_S_MIN, WATCHDOG_TIMEOUT_S_MAX);
        Ok(Self {
            deadline_s: section.number("deadline_s", DEADLINE_S_MIN, DEADLINE_S_MAX)?,
            no_checks,
            watchdog,
            watchdog_timeout_s: section.number("watchdog_timeout_s", min, max)?,
        })
    }

    /// This layer, and what it does not say from `base`.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            deadline_s: self.deadline_s.or(base.deadline_s),
            no_checks: self.no_checks.or(base.no_checks),
            watchdog: self.watchdog.or(base.watchdog),
            watchdog_timeout_s: self.watchdog_timeout_s.or(base.watchdog_timeout_s),
        }
    }

    pub(super) fn finish(self) -> Health {
        let default = Health::default();
        Health {
            deadline_s: self.deadline_s.unwrap_or(default.deadline_s),
            no_checks: self.no_checks.unwrap_or(default.no_checks),
            watchdog: self.watchdog.unwrap_or(default.watchdog),
            watchdog_timeout_s: self.watchdog_timeout_s.unwrap_or(default.watchdog_timeout_s),
        }
    }
}
