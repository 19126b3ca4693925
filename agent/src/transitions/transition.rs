//! One transition: what happened to which release, why, and what it cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::install::Tally;
use crate::state::{DigestText, ReleaseName};

/// The most that is kept of a text, in bytes.
const TEXT_LEN_MAX: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A release is written and proven, and waits to be armed.
    Proven,
    /// The next boot tries it.
    Armed,
    /// It was tried, and is kept.
    Updated,
    /// It was tried, and is not.
    FellBack,
    /// An operator went back to the other slot.
    RolledBack,
    /// It could not be written, or not be armed.
    InstallFailed,
    /// The tracked reference gives no release.
    Trouble,
}

impl Kind {
    /// In one word, as in the JSON form.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Armed => "armed",
            Self::Updated => "updated",
            Self::FellBack => "fell-back",
            Self::RolledBack => "rolled-back",
            Self::InstallFailed => "install-failed",
            Self::Trouble => "trouble",
        }
    }
}

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its number on this device, from 1. The same number is the same transition.
    pub sequence: u64,
    /// What happened.
    pub transition: Kind,
    /// What ran, or was tried.
    pub from: Option<ReleaseName>,
    /// What is to run, or runs now.
    pub to: Option<ReleaseName>,
    /// The class of why, in one word.
    pub reason: Option<String>,
    /// More exactly.
    pub why: Option<String>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// What is known of the attempts.
    pub evidence: Option<Summary>,
    /// When, in seconds since 1970, where the clock was synchronised.
    pub time: Option<u64>,
    /// In which boot.
    pub boot: Option<String>,
    /// How old that was, in seconds.
    pub uptime_s: u64,
}

/// What bringing a release cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// In how many requests.
    pub requests: u64,
    /// Of those bytes, how many were of no use.
    pub wasted_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Bytes of the release.
    pub total_bytes: u64,
}

impl From<&Tally> for Cost {
    fn from(tally: &Tally) -> Self {
        Self {
            fetched_bytes: tally.fetched_bytes,
            requests: tally.requests,
            wasted_bytes: tally.wasted_bytes,
            written_bytes: tally.written_bytes,
            total_bytes: tally.total_bytes,
        }
    }
}

/// The evidence of a trial in short; `gybe status` has all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many boots tried it.
    pub attempts: usize,
    /// The check that failed.
    pub check: Option<String>,
    /// What was wrong.
    pub fault: Option<String>,
}

impl Transition {
    /// That `kind` happened; everything else is added.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            sequence: 0,
            transition: kind,
            from: None,
            to: None,
            reason: None,
            why: None,
            cost: None,
            evidence: None,
            time: None,
            boot: None,
            uptime_s: 0,
        }
    }

    /// The same, with the class of why, and why.
    #[must_use]
    pub fn because(mut self, reason: &str, why: &str) -> Self {
        self.reason = Some(line(reason));
        self.why = Some(line(why)).filter(|why| !why.is_empty());
        self
    }

    /// Every fact, as a variable whose name begins with `prefix`.
    #[must_use]
    pub fn fields(&self, prefix: &str) -> Vec<(String, String)> {
        let mut fields = vec![
            ("EVENT", self.transition.word().to_owned()),
            ("SEQUENCE", self.sequence.to_string()),
        ];
        for (release, version, digest) in
            [(&self.from, "FROM_VERSION", "FROM_DIGEST"), (&self.to, "TO_VERSION", "TO_DIGEST")]
        {
            if let Some(release) = release {
                fields.push((version, release.version.clone()));
                fields.push((digest, release.digest.to_string()));
            }
        }
        let text = |key, text: &Option<String>| text.clone().map(|text| (key, text));
        fields.extend(text("REASON", &self.reason));
        fields.extend(text("WHY", &self.why));
        if let Some(cost) = &self.cost {
            fields.push(("FETCHED_BYTES", cost.fetched_bytes.to_string()));
            fields.push(("WRITTEN_BYTES", cost.written_bytes.to_string()));
        }
        if let Some(summary) = &self.evidence {
            fields.push(("ATTEMPTS", summary.attempts.to_string()));
            fields.extend(text("CHECK", &summary.check));
            fields.extend(text("FAULT", &summary.fault));
        }
        fields.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.transition.word())?;
        if let Some(from) = &self.from {
            write!(f, " from {}", from.version)?;
        }
        if let Some(to) = &self.to {
            write!(f, " to {}", to.version)?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// As much of `text` as is kept, on one line.
fn line(text: &str) -> String {
    let mut line = String::new();
    for char in text.chars().map(|char| if char.is_control() { ' ' } else { char }) {
        if line.len().saturating_add(char.len_utf8()) > TEXT_LEN_MAX {
            break;
        }
        line.push(char);
    }
    line
}

/// The evidence of `release`'s trial in short.
pub(super) fn summary(evidence: &Evidence, release: DigestText) -> Option<Summary> {
    let is_its = |name: &ReleaseName| name.digest == release;
    let trial = evidence.trials.iter().find(|trial| trial.release.as_ref().is_some_and(is_its))?;
    let telling = trial.attempts.iter().rev().find(|attempt| attempt.fault.is_some());
    Some(Summary {
        attempts: trial.attempts.len(),
        check: telling.and_then(|attempt| attempt.check.as_deref().map(line)),
        fault: telling.and_then(|attempt| Some(attempt.fault?.word().to_owned())),
    })
}
