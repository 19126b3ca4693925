//! Maintenance windows: the times of the week at which a device may be disturbed.
//!
//! `Mon-Fri 22:00-04:30`, `Sat,Sun 00:00-24:00`, `02:00-04:00` (every day). A window belongs to the day
//! on which it begins, and may reach into the next. Times are those of the clock on the wall: where that
//! is put forward over a whole window there is none that day, where it is put back there are two.

use std::fmt;
use std::str::FromStr;

use crate::device::local_time::{DAY_S, LocalTime};

/// The most windows that are read.
pub const WINDOWS_MAX: usize = 16;
const WEEK_S: u32 = 7 * DAY_S;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// One window, on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins: bit 0 is Monday.
    days: u8,
    /// When it begins, in seconds since midnight.
    begin: u32,
    /// How long it is open, in seconds: more than nothing, and at most a day.
    len: u32,
}

/// Whether a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is.
    Open {
        /// For so many seconds.
        for_s: u32,
    },
    /// It is not.
    Closed {
        /// In so many seconds the next one opens.
        opens_in_s: u32,
    },
    /// Nobody knows what time it is.
    NoClock,
}

impl Look {
    /// Whether a window is open.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// The windows of a device. Without any it may be disturbed at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// These windows.
    #[must_use]
    pub const fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one is open at `local`, where that is known. Where it is not, windows are closed: to be
    /// disturbed at noon is what they are there to prevent.
    #[must_use]
    pub fn look(&self, local: Option<LocalTime>) -> Look {
        if self.is_empty() {
            return Look::Open { for_s: WEEK_S };
        }
        let Some(local) = local else { return Look::NoClock };
        let now = u32::from(local.weekday).saturating_mul(DAY_S).saturating_add(local.second);
        let (mut open_s, mut opens_in_s) = (0, WEEK_S);
        for (begin, len) in self.0.iter().flat_map(Window::begins) {
            // How long ago it began, the last time that it did.
            let ago = now.saturating_add(WEEK_S).saturating_sub(begin) % WEEK_S;
            match len.checked_sub(ago) {
                Some(left @ 1..) => open_s = open_s.max(left),
                _ => opens_in_s = opens_in_s.min(WEEK_S.saturating_sub(ago)),
            }
        }
        if open_s > 0 { Look::Open { for_s: open_s } } else { Look::Closed { opens_in_s } }
    }
}

impl Window {
    /// When it begins, in seconds since the week did, with its length.
    fn begins(&self) -> impl Iterator<Item = (u32, u32)> {
        let (days, begin, len) = (self.days, self.begin, self.len);
        let begins = move |day: u32| (day.saturating_mul(DAY_S).saturating_add(begin), len);
        (0..7).filter(move |day| days >> day & 1 == 1).map(begins)
    }
}

/// Why a text is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a window such as Mon-Fri 22:00-04:30")]
pub struct WindowError;

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let mut words = text.split_ascii_whitespace();
        let (first, second) = (words.next().ok_or(WindowError)?, words.next());
        if words.next().is_some() {
            return Err(WindowError);
        }
        let (days, times) = match second {
            Some(times) => (days(first)?, times),
            None => (0b111_1111, first),
        };
        let (begin, end) = times.split_once('-').ok_or(WindowError)?;
        let (begin, end) = (time(begin)?, time(end)?);
        if begin == DAY_S || begin == end {
            return Err(WindowError);
        }
        let next_day = if end < begin { DAY_S } else { 0 };
        Ok(Self { days, begin, len: end.saturating_add(next_day).saturating_sub(begin) })
    }
}

/// `Mon`, `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn days(text: &str) -> Result<u8, WindowError> {
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        for offset in 0..=count {
            days |= 1 << ((first + offset) % 7);
        }
    }
    Ok(days)
}

fn day(name: &str) -> Result<u8, WindowError> {
    let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    found.and_then(|day| u8::try_from(day).ok()).ok_or(WindowError)
}

/// `HH:MM`, up to `24:00`, in seconds since midnight.
fn time(text: &str) -> Result<u32, WindowError> {
    let (hour, minute) = text.split_once(':').ok_or(WindowError)?;
    let number = |text: &str, max: u32| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|&number: &u32| is_plain && number <= max);
        number.ok_or(WindowError)
    };
    let second = number(hour, 24)? * 3600 + number(minute, 59)? * 60;
    if second > DAY_S { Err(WindowError) } else { Ok(second) }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { .. } => f.write_str("the maintenance window is open"),
            Self::Closed { opens_in_s } => {
                write!(f, "the maintenance window opens in {opens_in_s} s")
            }
            Self::NoClock => f.write_str(
                "the clock is not synchronised, so it is not known when the maintenance window opens",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: u8 = 0;
    const FRIDAY: u8 = 4;
    const SATURDAY: u8 = 5;
    const SUNDAY: u8 = 6;

    fn windows(texts: &[&str]) -> Windows {
        Windows::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    const fn at(weekday: u8, hour: u32, minute: u32) -> Option<LocalTime> {
        Some(LocalTime { weekday, second: hour * 3600 + minute * 60 })
    }

    #[test]
    fn windows_open_and_close_in_every_place_of_the_week() {
        let night = windows(&["Mon-Fri 22:00-04:30"]);
        let weekend = windows(&["Sat,Sun 00:00-24:00"]);
        let daily = windows(&["02:00-04:00", "03:00-05:00"]);
        let hour = 3600;
        for (windows, local, expected) in [
            (&night, at(MONDAY, 22, 0), Look::Open { for_s: 6 * hour + 1800 }),
            (&night, at(MONDAY, 4, 29), Look::Closed { opens_in_s: 17 * hour + 1860 }),
            (&night, at(SATURDAY, 4, 29), Look::Open { for_s: 60 }),
            (&night, at(SATURDAY, 4, 30), Look::Closed { opens_in_s: 65 * hour + 1800 }),
            (&weekend, at(FRIDAY, 23, 59), Look::Closed { opens_in_s: 60 }),
            (&weekend, at(SUNDAY, 23, 59), Look::Open { for_s: 60 }),
            (&weekend, at(MONDAY, 0, 0), Look::Closed { opens_in_s: 5 * 24 * hour }),
            (&daily, at(SUNDAY, 3, 30), Look::Open { for_s: hour + 1800 }),
            (&daily, at(SUNDAY, 5, 0), Look::Closed { opens_in_s: 21 * hour }),
        ] {
            assert_eq!(windows.look(local), expected, "{windows:?} {local:?}");
        }
    }

    #[test]
    fn without_windows_it_is_always_open_and_without_a_clock_never() {
        assert!(Windows::default().look(None).is_open());
        assert_eq!(windows(&["02:00-04:00"]).look(None), Look::NoClock);
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Mon",
            "Mon-Fri",
            "22-23",
            "02:00",
            "2:00-04:00",
            "02:00-02:00",
            "24:00-02:00",
            "02:00-24:01",
            "Mun 02:00-04:00",
            "Mon- 02:00-04:00",
            "Mon 02:00-04:00 x",
            "02:60-04:00",
        ] {
            assert_eq!(text.parse::<Window>(), Err(WindowError), "{text:?}");
        }
        let around = windows(&["fri-mon 01:00-02:00"]);
        let same = windows(&["Fri,Sat,Sun,Mon 01:00-02:00"]);
        assert_eq!(around, same);
    }
}
