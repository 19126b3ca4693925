//! How long ago something was, on a machine whose clock may be wrong and whose power may be off.
//!
//! Two clocks are asked. One counts the seconds for which the machine had power, over all its boots,
//! and needs nobody: it never runs too fast, and stands still while the machine is off. The other is
//! the clock on the wall, where that is synchronised. The longer of both is how long ago it was.

use serde::{Deserialize, Serialize};

use crate::device::clock;
use crate::device::this_boot::ThisBoot;
use crate::root::Root;

/// The time for which the machine had power. A power cut loses what was not stored since, which is at
/// most the time between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Powered {
    /// The boot in which this was noted.
    pub boot: Option<String>,
    /// How old that boot was, in seconds.
    pub uptime_s: u64,
    /// For how many seconds there was power in all boots before.
    pub before_s: u64,
}

impl Powered {
    /// What to note in `boot`.
    #[must_use]
    pub fn in_boot(&self, boot: &ThisBoot) -> Self {
        let is_same = self.boot == boot.id && self.uptime_s <= boot.uptime_s;
        let before_s =
            if is_same { self.before_s } else { self.before_s.saturating_add(self.uptime_s) };
        Self { boot: boot.id.clone(), uptime_s: boot.uptime_s, before_s }
    }

    /// For how many seconds there was power.
    #[must_use]
    pub const fn total_s(&self) -> u64 {
        self.before_s.saturating_add(self.uptime_s)
    }
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Moment {
    /// For how many seconds the machine had had power.
    pub powered_s: u64,
    /// Seconds since 1970, by a clock that was synchronised.
    pub time: Option<u64>,
}

impl Moment {
    /// How many seconds there are from this moment to `now`.
    #[must_use]
    pub fn until(self, now: Self) -> u64 {
        let powered = now.powered_s.saturating_sub(self.powered_s);
        let wall = now.time.zip(self.time).map_or(0, |(now, then)| now.saturating_sub(then));
        powered.max(wall)
    }
}

/// Now, by every clock there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// This boot.
    pub boot: ThisBoot,
    /// What to note of the time with power.
    pub powered: Powered,
    /// This moment.
    pub moment: Moment,
}

impl Now {
    /// Asks the clocks of the machine below `root`, of which `powered` was noted last.
    #[must_use]
    pub fn read(root: &Root, powered: &Powered) -> Self {
        let boot = ThisBoot::read(root);
        let powered = powered.in_boot(&boot);
        let moment = Moment { powered_s: powered.total_s(), time: clock::synchronised(root) };
        Self { boot, powered, moment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, uptime_s: u64) -> ThisBoot {
        ThisBoot { id: Some(id.to_owned()), uptime_s, time: None }
    }

    #[test]
    fn time_with_power_goes_on_over_reboots_and_only_forward() {
        let mut powered = Powered::default();
        for (id, uptime_s, expected) in
            [("a", 10, 10), ("a", 100, 100), ("b", 5, 105), ("b", 200, 300), ("c", 250, 550)]
        {
            powered = powered.in_boot(&boot(id, uptime_s));
            assert_eq!(powered.total_s(), expected, "{id} {uptime_s}");
        }
    }

    #[test]
    fn a_night_without_power_counts_where_the_clock_is_known() {
        let evening = Moment { powered_s: 100, time: Some(1_000_000) };
        let morning = Moment { powered_s: 160, time: Some(1_040_000) };
        assert_eq!(evening.until(morning), 40_000);
        let unknown = Moment { time: None, ..morning };
        assert_eq!(evening.until(unknown), 60);
        // A clock that was put back takes nothing away.
        let back = Moment { powered_s: 160, time: Some(500) };
        assert_eq!(evening.until(back), 60);
    }
}
