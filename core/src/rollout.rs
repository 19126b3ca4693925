//! Who takes a release, and when: a staged rollout that needs no server.
//!
//! Whoever signs a release may say with the signature how much of the fleet is to take it, from when
//! on, whether it is paused, and for which channel it is. Signing again says something else about the
//! same release: the statement that was issued last is in force. A device finds out by itself whether
//! it is among those that are meant, from a seed of its own, so that nobody has to know the fleet.
//!
//! ```text
//! 0 ─────────────▲──────────────────────── 2^64      SHA-256(seed, release): where this device stands
//! │◀─ percent ──▶│                                   more percent: more devices, and never others
//! ```
//!
//! There is no clock here: the time is an argument, and absent where none can be believed. Then what
//! was to start has started, because a device that waits for a clock it does not have waits for ever.

use crate::digest::{Digest, Hasher};

/// The annotation that orders statements about one release: the highest counts.
pub const ISSUED: &str = "dev.gybe.issued";
/// The annotation that says how much of the fleet takes the release, in per cent.
pub const PERCENT: &str = "dev.gybe.rollout";
/// The annotation that says from when on, in seconds since 1970.
pub const START: &str = "dev.gybe.rollout-start";
/// The annotation that stops everybody who has not begun.
pub const PAUSED: &str = "dev.gybe.paused";
/// The annotation that names the channel.
pub const CHANNEL: &str = "dev.gybe.channel";

/// All of a fleet.
pub const PERCENT_MAX: u8 = 100;
/// Longest name of a channel, in bytes.
pub const CHANNEL_LEN_MAX: usize = 64;

/// What separates the position of a device from other uses of its seed.
const DOMAIN: &[u8] = b"gybe-rollout-v1\0";

/// What one signature says about the rollout of what it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Which of several is in force: the one with the highest number. 0 where it does not say.
    pub issued: u64,
    /// How much of the fleet takes the release, 0 to [`PERCENT_MAX`]. All of it where it does not say.
    pub percent: u8,
    /// From when on, in seconds since 1970.
    pub start: Option<u64>,
    /// Whether nobody begins any more.
    pub paused: bool,
    /// For which channel it is.
    pub channel: Option<&'a str>,
}

/// A signature that says nothing about a rollout.
impl Default for Statement<'_> {
    fn default() -> Self {
        Self { issued: 0, percent: PERCENT_MAX, start: None, paused: false, channel: None }
    }
}

/// Why a statement cannot be understood. It was signed by someone who is trusted, so nobody takes the
/// release until it says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} is {value:?}, which is not {expected}")]
pub struct StatementError<'a> {
    /// The annotation.
    pub key: &'static str,
    /// Its value.
    pub value: &'a str,
    /// What it should be.
    pub expected: &'static str,
}

impl<'a> Statement<'a> {
    /// Reads the annotations of one signature. Those that are not about a rollout are passed over.
    ///
    /// # Errors
    /// [`StatementError`] names the first that makes no sense.
    pub fn parse(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, StatementError<'a>> {
        let mut statement = Self::default();
        for (key, value) in annotations {
            match key {
                ISSUED => statement.issued = number(ISSUED, value)?,
                START => statement.start = Some(number(START, value)?),
                PERCENT => {
                    let percent = u8::try_from(number(PERCENT, value)?).ok();
                    let percent = percent.filter(|&percent| percent <= PERCENT_MAX);
                    let expected = "a share from 0 to 100";
                    statement.percent =
                        percent.ok_or(StatementError { key: PERCENT, value, expected })?;
                }
                PAUSED => {
                    statement.paused = match value {
                        "true" => true,
                        "false" => false,
                        _ => {
                            let expected = "true or false";
                            return Err(StatementError { key: PAUSED, value, expected });
                        }
                    };
                }
                CHANNEL if value.is_empty() || value.len() > CHANNEL_LEN_MAX => {
                    let expected = "a name of 1 to 64 bytes";
                    return Err(StatementError { key: CHANNEL, value, expected });
                }
                CHANNEL => statement.channel = Some(value),
                _ => {}
            }
        }
        Ok(statement)
    }

    /// Which of two statements about one release is in force: the one that was issued later. Of two
    /// that were issued at once it is what both allow; for two channels that is nothing.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        if self.issued != other.issued {
            return if self.issued > other.issued { self } else { other };
        }
        let contradict = matches!((self.channel, other.channel), (Some(a), Some(b)) if a != b);
        Self {
            issued: self.issued,
            percent: self.percent.min(other.percent),
            start: self.start.max(other.start),
            paused: self.paused || other.paused || contradict,
            channel: self.channel.or(other.channel),
        }
    }
}

fn number<'a>(key: &'static str, value: &'a str) -> Result<u64, StatementError<'a>> {
    let expected = "a whole number";
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = value.parse().ok().filter(|_| is_plain);
    parsed.ok_or(StatementError { key, value, expected })
}

/// Where a device stands in the rollout of one release.
///
/// It depends on the release, so that a device is not among the first every time; and not on what is
/// said about the release, so that more per cent never take anybody out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// The last one: of a device that is not told from others, which takes what everybody takes.
    pub const LAST: Self = Self(u64::MAX);

    /// The position of the device with this seed, which nothing else may have.
    #[must_use]
    pub fn new(seed: &[u8], release: Digest) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(seed);
        hasher.update(release.as_bytes());
        let digest = hasher.finish();
        let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }

    /// The share of the fleet, in whole per cent, that stands before this device: it takes a release
    /// that more than this are to take.
    #[must_use]
    pub fn percent(self) -> u8 {
        let scaled = u128::from(self.0).saturating_mul(u128::from(PERCENT_MAX)) >> u64::BITS;
        u8::try_from(scaled).unwrap_or(PERCENT_MAX)
    }
}

/// What a device is, as far as it matters to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The channel that it follows, where it follows one.
    pub channel: Option<&'a str>,
    /// Where it stands.
    pub position: Position,
}

/// Whether a device takes a release by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Decision<'a> {
    /// It does.
    #[error("the rollout has reached this device")]
    Go,
    /// It is for other devices.
    #[error("the release is for {}, this device follows {}", Channel(*found), Channel(*wanted))]
    Channel {
        /// The release's channel.
        found: Option<&'a str>,
        /// The device's.
        wanted: Option<&'a str>,
    },
    /// Nobody begins any more.
    #[error("the rollout is paused")]
    Paused,
    /// Not before this time, in seconds since 1970.
    #[error("the rollout starts at {start}, in seconds since 1970")]
    NotStarted {
        /// When.
        start: u64,
    },
    /// Not with so small a share of the fleet.
    #[error("the rollout is at {percent} %, this device comes above {position} %")]
    NotReached {
        /// The share that is to take it.
        percent: u8,
        /// The share that comes before.
        position: u8,
    },
}

/// A channel, or none, in words.
struct Channel<'a>(Option<&'a str>);

impl core::fmt::Display for Channel<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(name) => write!(f, "the channel {name:?}"),
            None => f.write_str("no channel"),
        }
    }
}

/// Decides for `member`, at the time `now` where one can be believed.
#[must_use]
pub fn decide<'a>(
    statement: &Statement<'a>,
    member: &Member<'a>,
    now: Option<u64>,
) -> Decision<'a> {
    let (found, wanted) = (statement.channel, member.channel);
    let position = member.position.percent();
    match (statement.start, now) {
        _ if found != wanted => Decision::Channel { found, wanted },
        _ if statement.paused => Decision::Paused,
        (Some(start), Some(now)) if now < start => Decision::NotStarted { start },
        _ if position >= statement.percent => {
            Decision::NotReached { percent: statement.percent, position }
        }
        _ => Decision::Go,
    }
}

#[cfg(test)]
mod tests;
