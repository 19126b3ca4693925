//! Version numbers of Gybe itself: three numbers with dots.

use core::fmt;
use core::str::FromStr;

/// A version of Gybe. Later versions are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The version this was built as; 0.0.0 should Cargo give something else than three numbers.
    #[must_use]
    pub fn ours() -> Self {
        env!("CARGO_PKG_VERSION").parse().unwrap_or(Self(0, 0, 0))
    }
}

/// The text is not three numbers with dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of three numbers with dots")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = text.split('.').map(|number| match number.as_bytes() {
            [b'0'..=b'9', ..] => number.parse().map_err(|_| VersionError),
            _ => Err(VersionError),
        });
        let mut next = || numbers.next().unwrap_or(Err(VersionError));
        let version = Self(next()?, next()?, next()?);
        numbers.next().is_none().then_some(version).ok_or(VersionError)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_versions_are_greater() {
        let read = |text: &str| text.parse::<Version>();
        assert!(read("0.10.0").unwrap() > read("0.9.9").unwrap());
        assert_eq!(read("1.2.3"), Ok(Version(1, 2, 3)));
        for text in ["", "1.2", "1.2.3.4", "1.2.x", "1.-2.3", "+1.2.3", "1.2.70000"] {
            assert_eq!(read(text), Err(VersionError), "{text:?}");
        }
        assert_ne!(Version::ours(), Version(0, 0, 0));
    }
}
