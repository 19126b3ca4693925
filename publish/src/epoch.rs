//! The one time that goes into what we write: `SOURCE_DATE_EPOCH`, else 1970.
//!
//! Source: <https://reproducible-builds.org/specs/source-date-epoch/>.

use std::time::{SystemTime, UNIX_EPOCH};

/// The last second of the year 9999: what four digits of a year can say.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Seconds since 1970: `SOURCE_DATE_EPOCH`, else what the clock says.
///
/// # Errors
/// [`EpochError`] as [`created`].
pub fn now() -> Result<u64, EpochError> {
    if let Some(seconds) = given()? {
        return Ok(seconds);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 makes a statement that every other one replaces.
    Ok(now.map_or(0, |now| now.as_secs()))
}

/// The time to write, as RFC 3339 in UTC.
///
/// # Errors
/// [`EpochError`] if the variable is set to something else than seconds before the year 10000.
pub fn created() -> Result<String, EpochError> {
    Ok(rfc3339(given()?.unwrap_or(0)))
}

fn given() -> Result<Option<u64>, EpochError> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    match seconds {
        Some(seconds) if seconds <= SECONDS_MAX => Ok(Some(seconds)),
        _ => Err(EpochError { value: value.to_string_lossy().into_owned() }),
    }
}

/// Source of the calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`: years begin in March, eras are 400 years.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `SOURCE_DATE_EPOCH` is not a time.
#[derive(Debug, thiserror::Error)]
#[error("SOURCE_DATE_EPOCH is {value:?}, not seconds before the year 10000")]
pub struct EpochError {
    value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // date --utc --date=@SECONDS +%FT%TZ
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_167_900, "2026-11-20T09:45:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (SECONDS_MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }
}
