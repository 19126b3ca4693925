//! Under which terms a release may be installed: what the annotations of its signatures ask.
//!
//! A manifest says what a release is. When and where it may be installed is decided later, by signing
//! again: `docs/formats/signatures.md` lists the annotations, and [`crate::rollout`] reads those that say
//! which devices come first. Most of them restrict, and then one signer
//! is enough. An emergency downgrade widens, so it needs as many signers as the release itself.
//!
//! Each signer is heard once: with the statement that has the highest `issued`. Whoever keeps that one
//! back can bring an older one of the same signer into force, which cannot be told from one that was
//! never made; so whoever restricts a release later must not rely on it where a source is hostile.

#[cfg(test)]
mod tests;

use crate::digest::Digest;

/// Annotation: orders what one signer says about a release; the highest counts.
pub const ISSUED: &str = "dev.gybe.issued";
/// Annotation: the lowest rollback index that what runs may have.
pub const NOT_BEFORE_INDEX: &str = "dev.gybe.not-before-index";
/// Annotation: when the release may no longer be installed, in Unix seconds.
pub const EXPIRES: &str = "dev.gybe.expires";
/// Annotation: the release that a downgrade leads away from.
pub const DOWNGRADE_FROM: &str = "dev.gybe.downgrade-from";
/// Annotation: the release that a downgrade leads to.
pub const DOWNGRADE_TO: &str = "dev.gybe.downgrade-to";
/// Annotation: the number that lets a downgrade be made once.
pub const DOWNGRADE_SEQUENCE: &str = "dev.gybe.downgrade-sequence";

/// What one signature asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Orders what one signer says; 0 without the annotation.
    pub issued: u64,
    /// The lowest rollback index that what runs may have.
    pub not_before_index: u64,
    /// When the release may no longer be installed, in Unix seconds.
    pub expires: Option<u64>,
    /// A downgrade that is allowed.
    pub downgrade: Option<Downgrade>,
}

/// A way back to an older release, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downgrade {
    /// The release that must be running.
    pub from: Digest,
    /// The release that it leads to.
    pub to: Digest,
    /// Must be above that of the last downgrade of the device.
    pub sequence: u64,
}

impl Terms {
    /// Reads terms with `find`, which gives the value of an annotation by its name.
    ///
    /// # Errors
    /// [`TermsError`] names the annotation. What it restricts is not known, so nothing is installed.
    pub fn read<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Result<Self, TermsError> {
        let number = |name| find(name).map(|text| number(name, text)).transpose();
        let digest = |name| {
            let digest = |text: &str| text.parse().map_err(|_| TermsError::Digest { name });
            find(name).map(digest).transpose()
        };
        let downgrade =
            match (digest(DOWNGRADE_FROM)?, digest(DOWNGRADE_TO)?, number(DOWNGRADE_SEQUENCE)?) {
                (Some(from), Some(to), Some(sequence)) => Some(Downgrade { from, to, sequence }),
                (None, None, None) => None,
                _ => return Err(TermsError::Downgrade),
            };
        Ok(Self {
            issued: number(ISSUED)?.unwrap_or(0),
            not_before_index: number(NOT_BEFORE_INDEX)?.unwrap_or(0),
            expires: number(EXPIRES)?,
            downgrade,
        })
    }
}

fn number(name: &'static str, text: &str) -> Result<u64, TermsError> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = if canonical { text.parse().ok() } else { None };
    number.ok_or(TermsError::NotU64 { name })
}

/// What terms are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// What runs: its digest and its rollback index. Nothing does where a device is provisioned.
    pub running: Option<(Digest, u64)>,
    /// The time in Unix seconds, where the clock can be trusted.
    pub now: Option<u64>,
    /// The sequence of the last downgrade that was made.
    pub downgraded: u64,
}

/// What one signer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Their name.
    pub signer: &'a str,
    /// What they ask.
    pub terms: Terms,
}

impl Situation {
    /// Whether what was `said` lets `release` be installed, and with which downgrade. A downgrade
    /// counts if `threshold` signers allow the same one.
    ///
    /// # Errors
    /// [`Unmet`] says which of the terms is not met.
    pub fn meets(
        &self,
        said: &[Said<'_>],
        release: Digest,
        threshold: usize,
    ) -> Result<Option<Downgrade>, Unmet> {
        let mut downgrade = None;
        for one in said.iter().filter(|one| is_heard(said, one)) {
            let terms = one.terms;
            if let Some((_, running)) = self.running
                && running < terms.not_before_index
            {
                return Err(Unmet::NotBeforeIndex { running, needed: terms.not_before_index });
            }
            if let (Some(expires), Some(now)) = (terms.expires, self.now)
                && expires <= now
            {
                return Err(Unmet::Expired { expires, now });
            }
            if let Some(wanted) = terms.downgrade
                && self.allows(wanted, release)
                && allowing(said, wanted) >= threshold
            {
                downgrade = Some(wanted);
            }
        }
        Ok(downgrade)
    }

    fn allows(&self, downgrade: Downgrade, release: Digest) -> bool {
        self.running.is_some_and(|(running, _)| running == downgrade.from)
            && downgrade.to == release
            && downgrade.sequence > self.downgraded
    }
}

/// The highest sequence of a downgrade to `release` that `threshold` signers allow; 0 without one.
#[must_use]
pub fn downgrades_to(said: &[Said<'_>], release: Digest, threshold: usize) -> u64 {
    let allowed = said.iter().filter_map(|one| one.terms.downgrade);
    let allowed = allowed.filter(|it| it.to == release && allowing(said, *it) >= threshold);
    allowed.map(|it| it.sequence).max().unwrap_or(0)
}

/// Whether its signer said nothing later.
fn is_heard(said: &[Said<'_>], one: &Said<'_>) -> bool {
    let later =
        |other: &Said<'_>| other.signer == one.signer && other.terms.issued > one.terms.issued;
    !said.iter().any(later)
}

/// How many different signers allow a downgrade.
fn allowing(said: &[Said<'_>], downgrade: Downgrade) -> usize {
    let allows = |one: &Said<'_>| one.terms.downgrade == Some(downgrade) && is_heard(said, one);
    let is_first = |index: usize, one: &Said<'_>| {
        !said.iter().take(index).any(|other| other.signer == one.signer && allows(other))
    };
    said.iter().enumerate().filter(|(index, one)| allows(one) && is_first(*index, one)).count()
}

/// Why it is not known what a signature asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// An annotation is not a decimal number without leading zeros.
    #[error("annotation {name} is not an integer from 0 to 18446744073709551615")]
    NotU64 {
        /// The annotation.
        name: &'static str,
    },
    /// An annotation is not a digest.
    #[error("annotation {name} is not a SHA-256 digest")]
    Digest {
        /// The annotation.
        name: &'static str,
    },
    /// A downgrade is not described completely.
    #[error("a downgrade needs {DOWNGRADE_FROM}, {DOWNGRADE_TO} and {DOWNGRADE_SEQUENCE}")]
    Downgrade,
}

/// Which term is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// What runs is too old to be followed by this release.
    #[error(
        "rollback index of what runs is {running}, the release needs {needed}: a release between is \
         missing"
    )]
    NotBeforeIndex {
        /// The rollback index of what runs.
        running: u64,
        /// The lowest that it may be.
        needed: u64,
    },
    /// The release may no longer be installed.
    #[error("release expired at {expires}, it is {now} (in Unix seconds)")]
    Expired {
        /// When it did.
        expires: u64,
        /// When it is now.
        now: u64,
    },
}
