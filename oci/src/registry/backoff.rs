//! When to try again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::access::Limits;

/// The wait after so many failures in a row: twice as long each time, and a random half of it off, so
/// that a fleet that lost its registry does not come back as one.
pub(super) fn wait(limits: &Limits, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let whole = limits.wait_first.saturating_mul(doubled).min(limits.wait_max);
    // The standard library's own source of randomness: it is not asked to be unpredictable here.
    let random = RandomState::new().hash_one(failures) % 1024;
    let half = whole / 2;
    half.saturating_add(half.saturating_mul(u32::try_from(random).unwrap_or(0)) / 1024)
}

/// How long a registry asks to wait: in seconds, or until a time. The time is compared with the
/// registry's own clock, since a device may have none.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = unix_time(headers.get(DATE)?.to_str().ok()?.trim())?;
    Some(Duration::from_secs(unix_time(text)?.saturating_sub(now)))
}

/// Seconds since 1970 of a time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`, RFC 9110, 5.6.7.
/// The two older forms have not been sent for decades.
fn unix_time(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.find(name)?).ok()? / 3 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let [hour, minute, second] = [clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?];
    let in_range = (1..=31).contains(&day) && (1970..=9999).contains(&year) && name.len() == 3;
    if words.next() != Some("GMT") || !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days before the month, counted from a March so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(719_468)?.checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_differ() {
        let limits = Limits {
            wait_first: Duration::from_secs(1),
            wait_max: Duration::from_secs(10),
            ..Limits::default()
        };
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)] {
            let whole = Duration::from_secs(whole);
            let waits: Vec<_> = (0..50).map(|_| wait(&limits, failures)).collect();
            assert!(waits.iter().all(|it| (whole / 2..=whole).contains(it)), "{waits:?}");
            assert!(waits.iter().any(|it| Some(it) != waits.first()), "all are {:?}", waits[0]);
        }
    }

    #[test]
    fn a_registry_asks_in_seconds_or_by_its_own_clock() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            (Some("17"), None, Some(17)),
            (Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(date), Some(30)),
            (Some("Sun, 06 Nov 1994 08:49:07 GMT"), Some(date), Some(0)),
            (Some("Mon, 07 Nov 1994 08:49:37 GMT"), Some(date), Some(86_400)),
            (Some("Sun, 06 Nov 1994 08:50:07 GMT"), None, None),
            (Some("soon"), Some(date), None),
            (None, Some(date), None),
        ];
        for (after, date, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, after), (DATE, date)] {
                value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
            }
            assert_eq!(retry_after(&headers).map(|it| it.as_secs()), expected, "{after:?}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Thu, 26 Nov 2026 22:00:00 GMT", Some(1_795_730_400)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("", None),
        ] {
            assert_eq!(unix_time(text), seconds, "{text}");
        }
    }
}
