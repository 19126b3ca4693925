//! What can be wrong with a look at the tracked reference, and how long it is left alone then.

use std::io::ErrorKind;

use gybe_oci::{Problem, RegistryError};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::install::InstallError;
use crate::release::{OfferError, Refusal};
use crate::state::StateError;
use crate::two_areas::FileError;

/// After so long the first time, twice as long the second, for what mends itself.
const PASSING_S: u64 = 300;
/// The longest pause for what mends itself: a link is back sooner than a signature.
const PASSING_S_MAX: u64 = 3600;
/// The longest pause for what somebody must mend.
const LASTING_S_MAX: u64 = 86_400;
/// How long a hook's no lasts.
const HELD_S: u64 = 900;
/// How often a pause is doubled at most.
const DOUBLED_MAX: u32 = 20;

/// A class of trouble. Each is told once, until a look succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The source cannot be reached, or the link broke.
    Offline,
    /// There is nothing of that name.
    NotFound,
    /// The source wants other credentials.
    Unauthorised,
    /// Too few trusted keys signed what is there.
    Unsigned,
    /// It is signed, and not for this device.
    Refused,
    /// It would cost more bytes than are left.
    Budget,
    /// A hook said that now is not the time.
    Held,
    /// It could not be installed.
    Install,
    /// Something about the device.
    Device,
}

impl Class {
    /// In one word, as in the JSON form.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::NotFound => "not-found",
            Self::Unauthorised => "unauthorised",
            Self::Unsigned => "unsigned",
            Self::Refused => "refused",
            Self::Budget => "budget",
            Self::Held => "held",
            Self::Install => "install",
            Self::Device => "device",
        }
    }

    /// How long the source is left alone after the `count`th time in a row, where it is looked at every
    /// `interval_s` seconds else. `spread` is the device's own number, by which a fleet that had the
    /// same trouble at the same time does not come back at the same time.
    #[must_use]
    pub fn pause_s(self, count: u32, interval_s: u64, spread: u64) -> u64 {
        let (first, max) = match self {
            Self::Held => return HELD_S,
            Self::Offline | Self::Install | Self::Device => (PASSING_S, PASSING_S_MAX),
            Self::NotFound | Self::Unauthorised | Self::Unsigned | Self::Refused | Self::Budget => {
                (interval_s, LASTING_S_MAX.max(interval_s))
            }
        };
        let doubled = count.saturating_sub(1).min(DOUBLED_MAX);
        let pause = first.saturating_mul(1 << doubled).min(max);
        pause.saturating_add(spread.checked_rem(pause / 4).unwrap_or(0))
    }

    /// The class of what ended a look; `None` where another command is at work, which is no trouble.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::State(StateError::File(FileError::Held { .. })) => return None,
            Error::Refused { cause: Refusal::Unsigned { .. }, .. } => Self::Unsigned,
            Error::Refused { .. } | Error::Loader { .. } | Error::EtcConflicts { .. } => {
                Self::Refused
            }
            Error::NoReference => Self::NotFound,
            Error::Install(InstallError::Budget { .. }) => Self::Budget,
            _ if error.registry().is_some() => Self::of_registry(error.registry()?),
            Error::Offer(cause) => Self::of_offer(cause),
            Error::Install(_) | Error::Arm(_) | Error::Prove(_) => Self::Install,
            _ => Self::Device,
        })
    }

    fn of_offer(cause: &OfferError) -> Self {
        match cause {
            OfferError::Reference(_) => Self::NotFound,
            OfferError::Blob { .. } => Self::Offline,
            OfferError::OtherBytes { .. }
            | OfferError::NotARelease { .. }
            | OfferError::ManifestLength { .. } => Self::Refused,
            OfferError::Layout(cause) => Self::of_layout(&cause.problem),
            OfferError::Registry(cause) => Self::of_registry(cause),
        }
    }

    fn of_registry(cause: &RegistryError) -> Self {
        use RegistryError as Cause;
        match cause {
            Cause::NotFound { .. } => Self::NotFound,
            Cause::Resolve { problem, .. } => Self::of_layout(problem),
            Cause::Unauthorized { .. } | Cause::Challenge { .. } | Cause::Realm { .. } => {
                Self::Unauthorised
            }
            Cause::Budget { .. } => Self::Budget,
            Cause::Connect { .. }
            // With a clock that is not set yet no certificate is believed.
            | Cause::Certificate { .. }
            | Cause::Broke { .. }
            | Cause::Stalled { .. }
            | Cause::Slow { .. }
            | Cause::Overall { .. }
            | Cause::Busy { .. }
            | Cause::WaitTooLong { .. }
            | Cause::Expired { .. }
            | Cause::Status { status: 408 | 425 | 429 | 500.., .. } => Self::Offline,
            Cause::Configuration(_)
            | Cause::Credentials(_)
            | Cause::Certificates { .. }
            | Cause::Setup { .. }
            | Cause::Blocked { .. } => Self::Device,
            Cause::Status { .. }
            | Cause::Redirect { .. }
            | Cause::TooLong { .. }
            | Cause::Wrong { .. }
            | Cause::Digest { .. } => Self::Refused,
        }
    }

    fn of_layout(problem: &Problem) -> Self {
        match problem {
            Problem::Open { cause } if cause.kind() == ErrorKind::PermissionDenied => {
                Self::Unauthorised
            }
            Problem::Open { .. }
            | Problem::NoFile { .. }
            | Problem::NoBlob { .. }
            | Problem::NoTag { .. }
            | Problem::NoImage => Self::NotFound,
            Problem::Read { .. } | Problem::Locked => Self::Offline,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    #[test]
    fn pauses_grow_to_a_cap_and_never_beyond() {
        let pauses = |class: Class| [1, 2, 3, 4, 5, 9, u32::MAX].map(|n| class.pause_s(n, HOUR, 0));
        assert_eq!(pauses(Class::Offline), [300, 600, 1200, 2400, 3600, 3600, 3600]);
        let day = 24 * HOUR;
        assert_eq!(
            pauses(Class::NotFound),
            [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, day, day]
        );
        assert_eq!(pauses(Class::Held), [900; 7]);
        // Who looks once a week is not made to look every day.
        assert_eq!(Class::Unsigned.pause_s(3, 7 * day, 0), 7 * day);
    }

    #[test]
    fn a_fleet_does_not_come_back_at_once() {
        let mut seen: Vec<_> =
            (0..1000).map(|device| Class::Offline.pause_s(5, HOUR, device * 7919)).collect();
        assert!(seen.iter().all(|pause| (HOUR..HOUR + HOUR / 4).contains(pause)));
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 500, "only {} different pauses", seen.len());
    }
}
