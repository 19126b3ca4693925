//! The section `[restrict]`: where a device trusts less than its image does.
//!
//! It holds for what comes in, and not for what is on the device: a mistake here keeps updates out, but
//! takes no release away that was installed before it.

use super::document::{DocumentError, Section};

/// The most signatures that can be asked for.
const THRESHOLD_MAX: u8 = 8;
const KEYS: [&str; 3] = ["threshold", "rollback_index", "distrust"];

/// What is asked beyond what the image asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrict {
    /// How many must sign at least.
    pub threshold: Option<u8>,
    /// The lowest rollback index that is accepted, beside the floor.
    pub rollback_index: Option<u64>,
    /// The names of keys and identities that do not count.
    pub distrust: Vec<String>,
}

impl Restrict {
    /// Reads the section, if it is there.
    pub(super) fn read(top: &Section<'_>) -> Result<Self, DocumentError> {
        let Some(section) = top.section("restrict")? else { return Ok(Self::default()) };
        section.allow(&KEYS)?;
        Ok(Self {
            threshold: section.number("threshold", 1, THRESHOLD_MAX)?,
            rollback_index: section.number("rollback_index", 0, u64::MAX)?,
            distrust: texts(&section, "distrust")?,
        })
    }

    /// Both together: neither file takes back what the other restricts.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.distrust.extend(other.distrust);
        Self {
            threshold: self.threshold.max(other.threshold),
            rollback_index: self.rollback_index.max(other.rollback_index),
            distrust: self.distrust,
        }
    }
}

fn texts(section: &Section<'_>, key: &str) -> Result<Vec<String>, DocumentError> {
    let texts = section.texts(key)?.unwrap_or_default();
    Ok(texts.into_iter().map(|text| text.value).collect())
}
