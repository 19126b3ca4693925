//! The weekday and the time of day where the device stands.
//!
//! The C library's own `localtime_r` is asked: it reads `/etc/localtime` (or `TZ`) with everything in
//! it, is linked anyway, and costs nothing. A crate would bring a second reader of the same files, and
//! with most of them a copy of the time zones, which age in an image that is not updated.

use nix::libc::{time_t, tm};

/// The seconds of a day.
pub const DAY_S: u32 = 86_400;

/// A time of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Days since Monday, 0 to 6.
    pub weekday: u8,
    /// Seconds since midnight by the clock on the wall, less than [`DAY_S`].
    pub second: u32,
}

impl LocalTime {
    /// The local time at `time`, in seconds since 1970.
    #[must_use]
    pub fn at(time: u64) -> Option<Self> {
        let broken = local(time_t::try_from(time).ok()?)?;
        let part = |number: i32| u32::try_from(number).ok();
        // A leap second is the second before it.
        let second = part(broken.tm_sec)?.min(59);
        let of_day = part(broken.tm_hour)? * 3600 + part(broken.tm_min)? * 60 + second;
        // There Sunday is the first.
        let weekday = u8::try_from((part(broken.tm_wday)? + 6) % 7).ok()?;
        (of_day < DAY_S).then_some(Self { weekday, second: of_day })
    }
}

#[expect(unsafe_code, reason = "neither std nor nix has a call for local time")]
fn local(time: time_t) -> Option<tm> {
    unsafe extern "C" {
        // time.h; the crate libc does not declare it for Linux.
        safe fn tzset();
    }
    // Reads the time zone anew if its file was changed. It and `localtime_r` look at `TZ`, which this
    // program never changes.
    tzset();
    // SAFETY: every field of `tm` is an integer or a pointer that is only read, for which all zeros
    // are a value.
    let mut broken: tm = unsafe { std::mem::zeroed() };
    // SAFETY: the call reads one `time_t` and writes one `tm`. Both are ours and outlive it.
    let found = unsafe { nix::libc::localtime_r(&raw const time, &raw mut broken) };
    (!found.is_null()).then_some(broken)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn it_is_what_date_says() {
        for time in [0_u64, 1_764_180_000, 1_774_747_800, 1_774_749_600, 4_102_444_800] {
            let mut date = Command::new("date");
            let said =
                date.arg(format!("--date=@{time}")).arg("+%u %H %M %S").output().unwrap().stdout;
            let said = String::from_utf8(said).unwrap();
            let parts: Vec<u32> =
                said.split_whitespace().map(|part| part.parse().unwrap()).collect();
            let found = LocalTime::at(time).unwrap();
            let second = parts[1] * 3600 + parts[2] * 60 + parts[3];
            assert_eq!((u32::from(found.weekday) + 1, found.second), (parts[0], second), "{time}");
        }
    }

    #[test]
    fn it_is_what_date_says_elsewhere_in_winter_and_in_summer() {
        // The time zone of a process is read once, so this program is started again with another one.
        for zone in ["CET-1CEST,M3.5.0,M10.5.0/3", "NST3:30NDT,M3.2.0,M11.1.0", "LINT-14", "GMT+12"]
        {
            let mut again = Command::new(std::env::current_exe().unwrap());
            again.args(["--exact", "device::local_time::tests::it_is_what_date_says"]);
            let said = again.env("TZ", zone).output().unwrap();
            let text = String::from_utf8_lossy(&said.stdout);
            assert!(said.status.success() && text.contains("1 passed"), "{zone}: {text}");
        }
    }
}
