//! What happened in trials: every attempt, how far it came, and what it said at its end.
//!
//! It is kept so that someone can see why a release fell back, and so that a release that failed by
//! its own fault is told from one that met a power cut. Nothing here is needed to boot, to commit or
//! to fall back: what cannot be stored is missed, and stands in the way of nothing.

mod crash;
mod file;
mod kernel_log;
mod note;
mod tail;

use gybe_core::digest::Digest;
use gybe_core::slot::Slot;
use serde::{Deserialize, Serialize};

pub use crash::{Crash, crashes, watchdog_reset};
pub use file::{AREA_LEN, FILE, change, read_if_possible};
pub use kernel_log::kernel_log;
pub use note::{Note, begin_trial, look_back, note_boot};
pub use tail::Tail;

use crate::device::this_boot::ThisBoot;
use crate::state::{DigestText, ReleaseName, SlotText};

/// How many trials are kept, newest first.
pub const TRIALS_MAX: usize = 4;
/// How many attempts of a trial are kept: seven tries, armed three times, and some to spare.
pub const ATTEMPTS_MAX: usize = 24;
/// The most that is kept of what a check says, in bytes.
pub const OUTPUT_LEN_MAX: usize = 4 * 1024;
/// The most that is kept of what the kernel says, in bytes.
pub const KERNEL_LEN_MAX: usize = 8 * 1024;
/// How many crashes that were there before are told from new ones.
pub const CRASHES_MAX: usize = 32;

/// What is kept of the trials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The trials, newest first.
    pub trials: Vec<Trial>,
}

/// One release on trial, from when it was armed by someone until its fate is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The slot on trial.
    pub slot: SlotText,
    /// What was tried, where that is known.
    pub release: Option<ReleaseName>,
    /// The root hash of what was tried, where that is known.
    pub root_hash: Option<DigestText>,
    /// What ran before.
    pub from: Option<ReleaseName>,
    /// The kernel's crashes that were known before, so that an old one is nobody's fault.
    pub known_crashes: Vec<String>,
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One boot of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The kernel's id of the boot.
    pub boot: Option<String>,
    /// Seconds from the start of the kernel to the last note.
    pub uptime_s: u64,
    /// When that was, in seconds since 1970: a hint, because clocks may be wrong.
    pub time: Option<u64>,
    /// How far it came.
    pub reached: Reached,
    /// The check that ran last, or that failed.
    pub check: Option<String>,
    /// What was wrong with the release. `None` may be a power cut.
    pub fault: Option<Fault>,
    /// The end of what the check said.
    pub output: Option<String>,
    /// The end of what the kernel said.
    pub kernel: Option<String>,
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reached {
    /// The kernel was started, and nothing of ours was heard.
    Kernel,
    /// The initramfs.
    Initramfs,
    /// The root file system, with `gybe health` at work.
    Started,
    /// The check that is named.
    Checking,
    /// Every check passed.
    Healthy,
    /// The end: the release was committed.
    Committed,
}

/// What was wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// A required check failed.
    Health,
    /// The checks did not end in time.
    Deadline,
    /// A block was not what was signed.
    Verity,
    /// The kernel panicked.
    Panic,
    /// The watchdog reset the machine.
    Watchdog,
}

impl Fault {
    /// The word that stands for it wherever reasons are written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Deadline => "deadline",
            Self::Verity => "verity",
            Self::Panic => "panic",
            Self::Watchdog => "watchdog",
        }
    }
}

impl Evidence {
    /// The newest trial of `release`.
    #[must_use]
    pub fn trial_of(&self, release: Digest) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.is_of(release))
    }

    /// The last thing that was found wrong with `release` in its newest trial.
    #[must_use]
    pub fn fault_of(&self, release: Digest) -> Option<Fault> {
        self.trial_of(release)?.attempts.iter().rev().find_map(|attempt| attempt.fault)
    }

    /// The trial that goes on in `slot`, with whatever has the root hash. One that was not announced is
    /// begun.
    fn going_on(&mut self, slot: Slot, root_hash: Option<Digest>, boot: &ThisBoot) -> &mut Trial {
        let root_hash = root_hash.map(DigestText);
        let same = |trial: &Trial| {
            let differs = trial.root_hash.is_some() && root_hash.is_some();
            Slot::from(trial.slot) == slot && !(differs && trial.root_hash != root_hash)
        };
        if !self.trials.first().is_some_and(|trial| same(trial) && !trial.is_over_before(boot)) {
            self.begin(Trial::new(slot, None, root_hash));
        }
        self.trials.first_mut().unwrap_or_else(|| unreachable!("a trial was just begun"))
    }

    fn begin(&mut self, trial: Trial) {
        self.trials.insert(0, trial);
        self.trials.truncate(TRIALS_MAX);
    }

    /// Gives up what matters least, so that the rest has room: the oldest texts, then the oldest
    /// attempts. Says whether there was anything to give up.
    fn shrink(&mut self) -> bool {
        for trial in self.trials.iter_mut().rev() {
            for attempt in &mut trial.attempts {
                if attempt.kernel.take().is_some() || attempt.output.take().is_some() {
                    return true;
                }
            }
        }
        let oldest = self.trials.iter_mut().rev().find(|trial| !trial.attempts.is_empty());
        if let Some(oldest) = oldest {
            oldest.attempts.remove(0);
            return true;
        }
        self.trials.pop().is_some()
    }
}

impl Trial {
    /// A trial of which nothing happened yet.
    #[must_use]
    pub fn new(slot: Slot, release: Option<ReleaseName>, root_hash: Option<DigestText>) -> Self {
        let (known_crashes, attempts) = (Vec::new(), Vec::new());
        Self { slot: slot.into(), release, root_hash, from: None, known_crashes, attempts }
    }

    fn is_of(&self, release: Digest) -> bool {
        self.release.as_ref().is_some_and(|name| name.digest.0 == release)
    }

    /// Whether it was over when `boot` began.
    fn is_over_before(&self, boot: &ThisBoot) -> bool {
        let ended = |last: &Attempt| last.reached == Reached::Committed && !last.is_of(boot);
        self.attempts.last().is_some_and(ended)
    }

    /// The attempt that `boot` is. A boot without an id is always another one.
    fn attempt(&mut self, boot: &ThisBoot) -> &mut Attempt {
        if !self.attempts.last().is_some_and(|attempt| attempt.is_of(boot)) {
            self.attempts.push(Attempt::new(boot));
            let spare = self.attempts.len().saturating_sub(ATTEMPTS_MAX);
            self.attempts.drain(..spare);
        }
        self.attempts.last_mut().unwrap_or_else(|| unreachable!("an attempt was just begun"))
    }
}

impl Attempt {
    /// Whether it is `boot`. One without an id is never known to be.
    pub(crate) fn is_of(&self, boot: &ThisBoot) -> bool {
        self.boot.is_some() && self.boot == boot.id
    }

    fn new(boot: &ThisBoot) -> Self {
        Self {
            boot: boot.id.clone(),
            uptime_s: boot.uptime_s,
            time: boot.time,
            reached: Reached::Kernel,
            check: None,
            fault: None,
            output: None,
            kernel: None,
        }
    }
}

#[cfg(test)]
mod tests;
