//! What the device is, in words and as JSON.

mod history;
mod pull;

pub use history::FellBack;
pub use pull::{Budget, PullStatus};

use std::fmt;
use std::io::Read as _;

use gybe_core::boot::{BootState, Loaded, SlotState};
use gybe_core::slot::{PerSlot, Slot};
use gybe_core::trailer::Progress;
use gybe_core::trust::Device;
use serde::Serialize;

use crate::config::{Bootloader, Config};
use crate::device::environment::{AnyEnvironment, EnvironmentError};
use crate::device::slots::{Running, Slots};
use crate::error::Error;
use crate::evidence::{self, Evidence, Trial};
use crate::health;
use crate::initramfs::{AMBIGUOUS, ETC_CONFLICTS, STATE_LOST};
use crate::release::{Held, HeldError, SignedBy, architecture};
use crate::root::Root;
use crate::session;
use crate::state::{
    self, Armed, DigestText, FailedRelease, ReleaseName, Seen, SlotText, State, reconcile,
};
use crate::trust::Trust;

/// Version of the JSON form. A field may be added; nothing else changes without another number.
pub const VERSION: u8 = 1;

/// What `gybe status` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u8,
    /// What the device is.
    pub compatible: String,
    /// The slot that runs.
    pub running: Option<SlotText>,
    /// Whether the loader started it as a trial.
    pub trial: bool,
    /// The version of the loader's script, as it says itself.
    pub loader: Option<u32>,
    /// The slot that the loader loads next, if nothing happens before.
    pub next_boot: Option<SlotText>,
    /// Slot A.
    pub a: SlotStatus,
    /// Slot B.
    pub b: SlotStatus,
    /// The boot environment.
    pub environment: EnvironmentStatus,
    /// Where releases come from.
    pub reference: Option<String>,
    /// The last time the device fell back.
    pub last_fallback: Option<FellBack>,
    /// A release that was interrupted, and waits to be armed again.
    pub interrupted: Option<Armed>,
    /// Releases that failed on this device, newest first.
    pub failed: Vec<FailedRelease>,
    /// What happened in trials, newest first.
    pub trials: Vec<Trial>,
    /// What the last check of this boot came to.
    pub health: Option<health::Report>,
    /// What someone should look at, in words.
    pub problems: Vec<String>,
    /// How releases are taken without anybody asking.
    pub pull: PullStatus,
}

/// What there is to say about one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    /// In one word.
    pub state: StateWord,
    /// How many tries are left, on trial.
    pub tries_left: Option<u8>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What it holds.
    pub release: Option<ReleaseName>,
    /// Who signed what it holds, of those who count here.
    pub signers: Vec<SignedBy>,
    /// The root hash of the root file system that it holds.
    pub root_hash: Option<DigestText>,
    /// The sequence of what it holds.
    pub sequence: Option<u64>,
    /// The rollback index of what it holds.
    pub rollback_index: Option<u64>,
    /// Whether an install of the release was begun and did not end.
    pub interrupted: bool,
    /// Why it is not known what it holds.
    pub problem: Option<String>,
}

/// A slot's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateWord {
    /// It is known to work.
    Good,
    /// It is tried.
    Trial,
    /// It was written and read back, and waits to be armed.
    Proven,
    /// There is nothing in it that may be booted.
    Unbootable,
    /// It was tried, and failed.
    Failed,
    /// The boot environment cannot be read.
    Unknown,
}

/// What there is to say about the boot environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentStatus {
    /// Whose it is: `grub` or `uboot`.
    pub kind: &'static str,
    /// Its condition, in words.
    pub health: String,
    /// Whether every copy of it is as it should be.
    pub whole: bool,
}

impl Status {
    /// Looks at the device below `root`, and writes nothing.
    ///
    /// # Errors
    /// When it is not even known what the device is. A boot environment that cannot be read is
    /// part of the answer.
    pub fn look(root: &Root) -> Result<Self, Error> {
        let config = Config::load(root)?;
        let slots = Slots::find(root, &config)?;
        let loaded = AnyEnvironment::open(root, &config.bootloader)
            .and_then(|mut environment| session::load(&mut environment, slots.running_slot()));
        let held = session::held(&slots);
        let kept = Kept {
            state: state::read_if_possible(root),
            evidence: evidence::read_if_possible(root),
            health: health::Report::last(root),
            problems: problems(root),
            pull: PullStatus::look(root),
        };
        let mut status = Self::new(&config, slots.running, &loaded, &held, kept);
        match Trust::load(root) {
            Ok(trust) => status.name_signers(&config, &trust, &held),
            Err(cause) => status.problems.push(cause.to_string()),
        }
        Ok(status)
    }

    /// Says who signed what the slots hold.
    fn name_signers(
        &mut self,
        config: &Config,
        trust: &Trust,
        held: &PerSlot<Result<Held, HeldError>>,
    ) {
        let compatible = &config.compatible;
        let device = Device { compatible, architecture: architecture(), floor: 0 };
        let Ok(policy) = trust.policy(device) else { return };
        for (status, slot) in [(&mut self.a, Slot::A), (&mut self.b, Slot::B)] {
            if let Ok(held) = held.of(slot) {
                status.signers = SignedBy::all(&held.package, &policy);
            }
        }
    }

    fn new(
        config: &Config,
        running: Option<Running>,
        loaded: &Result<Loaded, EnvironmentError>,
        held: &PerSlot<Result<Held, HeldError>>,
        kept: Kept,
    ) -> Self {
        let Kept { state: remembered, evidence, health, problems, pull } = kept;
        let running_slot = running.map(|running| running.slot);
        let boot = loaded
            .as_ref()
            .ok()
            .map(|loaded| loaded.state.unwrap_or_else(|| BootState::factory(running_slot)));
        let remembered = match &boot {
            Some(boot) => {
                let name = |slot| held.of(slot).as_ref().ok().map(|held: &Held| held.name.clone());
                let releases = &PerSlot { a: name(Slot::A), b: name(Slot::B) };
                reconcile(
                    remembered,
                    &Seen { boot, running: running_slot, releases, evidence: &evidence },
                )
            }
            None => remembered,
        };
        Self {
            version: VERSION,
            compatible: config.compatible.clone(),
            running: running_slot.map(Into::into),
            trial: running.is_some_and(|running| running.trial),
            loader: running.and_then(|running| running.loader),
            next_boot: boot.map(|boot| boot.boot().stored.slot.into()),
            a: SlotStatus::new(boot.map(|boot| boot.slot_state(Slot::A)), &held.a),
            b: SlotStatus::new(boot.map(|boot| boot.slot_state(Slot::B)), &held.b),
            environment: EnvironmentStatus::new(&config.bootloader, loaded),
            reference: remembered.reference.or_else(|| config.reference.clone()),
            last_fallback: remembered
                .last_fallback
                .map(|fallback| FellBack::new(fallback, &evidence.trials)),
            interrupted: remembered.interrupted,
            failed: remembered.failed,
            trials: evidence.trials,
            health,
            problems,
            pull,
        }
    }

    const fn slot(&self, slot: Slot) -> &SlotStatus {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }
}

/// What is kept below `/var/lib/gybe` and `/run/gybe`.
struct Kept {
    state: State,
    evidence: Evidence,
    health: Option<health::Report>,
    problems: Vec<String>,
    pull: PullStatus,
}

/// What the initramfs found wrong, in its words.
const PROBLEMS: [(&str, &str); 3] = [
    (STATE_LOST, "the state partition is lost, nothing is kept over a reboot"),
    (AMBIGUOUS, "several disks could be this device's, nothing is installed"),
    (ETC_CONFLICTS, "what was changed in /etc gave way to the image"),
];
/// The most that is read of what the initramfs wrote.
const PROBLEM_LEN_MAX: u64 = 1024;

fn problems(root: &Root) -> Vec<String> {
    let read = |(path, what): &(&str, &str)| {
        let mut text = Vec::new();
        let file = std::fs::File::open(root.path(path)).ok()?;
        file.take(PROBLEM_LEN_MAX).read_to_end(&mut text).ok()?;
        let words: Vec<_> =
            String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect();
        Some(format!("{what}: {}", words.join(" ")))
    };
    PROBLEMS.iter().filter_map(read).collect()
}

impl SlotStatus {
    /// Puts together what the boot environment and the slot itself say.
    #[must_use]
    pub fn new(state: Option<SlotState>, held: &Result<Held, HeldError>) -> Self {
        let tries_left = match state {
            Some(SlotState::Trial { tries_left }) => Some(tries_left),
            _ => None,
        };
        let reason = match state {
            Some(SlotState::Failed { reason }) => Some(reason.word().to_owned()),
            _ => None,
        };
        let proven = held.as_ref().is_ok_and(Held::is_proven);
        let word = match state {
            None => StateWord::Unknown,
            Some(SlotState::Good) => StateWord::Good,
            Some(SlotState::Trial { .. }) => StateWord::Trial,
            Some(SlotState::Failed { .. }) => StateWord::Failed,
            Some(SlotState::Unbootable) if proven => StateWord::Proven,
            Some(SlotState::Unbootable) => StateWord::Unbootable,
        };
        let (held, problem) = match held {
            Ok(held) => (Some(held), None),
            Err(cause) => (None, Some(cause.to_string())),
        };
        Self {
            state: word,
            tries_left,
            reason,
            release: held.map(|held| held.name.clone()),
            signers: Vec::new(),
            root_hash: held.map(|held| DigestText(held.root_hash)),
            sequence: held.map(|held| held.sequence),
            rollback_index: held.map(|held| held.rollback_index),
            interrupted: held.is_some_and(|held| held.progress == Progress::Draft),
            problem,
        }
    }
}

impl EnvironmentStatus {
    fn new(bootloader: &Bootloader, loaded: &Result<Loaded, EnvironmentError>) -> Self {
        let kind = match bootloader {
            Bootloader::Grub { .. } => "grub",
            Bootloader::UbootRedundant { .. } | Bootloader::UbootFile { .. } => "uboot",
        };
        match loaded {
            Ok(Loaded { state: None, .. }) => {
                Self { kind, health: "as from the factory".to_owned(), whole: true }
            }
            Ok(Loaded { health, .. }) => {
                let whole = *health == gybe_core::boot::Health::Whole;
                Self { kind, health: health.to_string(), whole }
            }
            Err(cause) => Self { kind, health: cause.to_string(), whole: false },
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "device       {}", self.compatible)?;
        for slot in Slot::ALL {
            let here = if self.running == Some(slot.into()) { "running" } else { "" };
            let held = self.slot(slot);
            write!(f, "slot {slot}       {here:<8} {held}")?;
            writeln!(f)?;
        }
        match self.next_boot {
            Some(next) => {
                let next = Slot::from(next);
                let trial = self.slot(next).state == StateWord::Trial;
                writeln!(f, "next boot    slot {next}{}", if trial { ", on trial" } else { "" })?;
            }
            None => writeln!(f, "next boot    unknown")?,
        }
        writeln!(f, "environment  {}, {}", self.environment.kind, self.environment.health)?;
        write!(f, "tracked      {}", self.reference.as_deref().unwrap_or("nothing"))?;
        for slot in Slot::ALL {
            for signer in &self.slot(slot).signers {
                write!(f, "\nsigned       slot {slot} by {signer}")?;
            }
        }
        write!(f, "{}", self.pull)?;
        history::write_health(self, f)?;
        history::write(self, f)
    }
}

impl fmt::Display for SlotStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match (self.state, self.tries_left, &self.reason) {
            (StateWord::Good, ..) => "good".to_owned(),
            (StateWord::Trial, Some(1), _) => "on trial, 1 try left".to_owned(),
            (StateWord::Trial, tries, _) => {
                format!("on trial, {} tries left", tries.unwrap_or_default())
            }
            (StateWord::Proven, ..) => "proven, not armed".to_owned(),
            (StateWord::Failed, _, reason) => {
                format!("failed: {}", reason.as_deref().unwrap_or_default())
            }
            (StateWord::Unbootable, ..) if self.interrupted => "install interrupted".to_owned(),
            (StateWord::Unbootable, ..) => "unbootable".to_owned(),
            (StateWord::Unknown, ..) => "unknown".to_owned(),
        };
        write!(f, "{words:<22}")?;
        match (&self.release, &self.problem) {
            (Some(release), _) => {
                let digest = release.digest.to_string();
                let short = digest.get(..SHORT_DIGEST_LEN).unwrap_or(&digest);
                write!(f, " {} {short}", release.version)
            }
            (None, Some(problem)) => write!(f, " {problem}"),
            (None, None) => Ok(()),
        }
    }
}

/// As much of a digest as tells one release from another: `sha256:` and twelve digits.
const SHORT_DIGEST_LEN: usize = 19;
