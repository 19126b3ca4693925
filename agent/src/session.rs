//! One command at work: everything about the device that it needs to know.

use gybe_core::boot::{BootEnv as _, BootState, Health, Loaded};
use gybe_core::install::{Proven, prove_installed};
use gybe_core::release::Release;
use gybe_core::slot::{PerSlot, Slot};
use gybe_core::trust::Policy;
use gybe_oci::Sources;
use tracing::{info, warn};

use crate::admission::downgraded;
use crate::config::Config;
use crate::cores::Cores;
use crate::device::aligned::Aligned;
use crate::device::environment::{AnyEnvironment, EnvironmentError};
use crate::device::partition::RunningPartition;
use crate::device::reboot::reboot;
use crate::device::slots::Slots;
use crate::error::Error;
use crate::evidence::{self, Evidence};
use crate::install::{self, READ_BACK_BLOCKS};
use crate::release::{Held, HeldError, SignedBy};
use crate::root::Root;
use crate::state::{self, Seen, State, StateError, StateFile, reconcile};
use crate::trust::Trust;
use crate::two_areas::FileError;

/// The device as it is at the start of a command.
#[derive(Debug)]
pub struct Session {
    /// Where its files lie.
    pub root: Root,
    /// Its configuration.
    pub config: Config,
    /// Who is trusted.
    pub trust: Trust,
    /// The same for what comes in, as far as the configuration leaves it.
    pub incoming: Trust,
    /// Which slot runs, and where both lie.
    pub slots: Slots,
    /// The boot environment, to be written to.
    pub environment: AnyEnvironment,
    /// What the boot environment says.
    pub boot: BootState,
    /// In which condition the boot environment is.
    pub health: Health,
    /// What the slots say that they hold.
    pub held: PerSlot<Result<Held, HeldError>>,
    /// What happened in trials.
    pub evidence: Evidence,
    /// The highest sequence of a downgrade that was made.
    pub downgraded: u64,
}

impl Session {
    /// Looks at the device below `root`, and writes nothing.
    ///
    /// # Errors
    /// When anything that every command needs cannot be known.
    pub fn open(root: &Root) -> Result<Self, Error> {
        let config = Config::load(root)?;
        let trust = Trust::load(root)?;
        let slots = Slots::find(root, &config)?;
        let mut environment = AnyEnvironment::open(root, &config.bootloader)?;
        let Loaded { state, health } = load(&mut environment, slots.running_slot())?;
        if health != Health::Whole {
            warn!(%health, "boot environment");
        }
        let boot = state.unwrap_or_else(|| BootState::factory(slots.running_slot()));
        let held = held(&slots);
        let (root, evidence) = (root.clone(), evidence::read_if_possible(root));
        let (incoming, downgraded) = (trust.restricted(&config.restrict), 0);
        let mut session = Self {
            root,
            config,
            trust,
            incoming,
            slots,
            environment,
            boot,
            health,
            held,
            evidence,
            downgraded,
        };
        let remembered = state::read_if_possible(&session.root).downgraded;
        session.downgraded = remembered.max(session.downgraded_to_good());
        Ok(session)
    }

    /// Looks at the device to change something: as [`Session::open`], and nobody else changes it
    /// until the [`Memory`] is dropped. What has happened since the last command is remembered.
    ///
    /// # Errors
    /// As [`Session::open`], or when another command is at work. A state that cannot be kept is no
    /// reason not to commit or to fall back: it is a cache.
    pub fn begin(root: &Root) -> Result<(Self, Memory), Error> {
        // A folder that is no device is not made one by keeping a state in it.
        Config::load(root)?;
        // Before anything is read: what is read must still be true when it is acted on.
        let mut memory = Memory::open(root)?;
        let session = Self::open(root)?;
        memory.update(|state| *state = session.reconcile(state.clone()));
        Ok((session, memory))
    }

    /// The highest sequence of a downgrade that led to what a Good slot holds. On trial it is not made
    /// yet: when that falls back, it may be made again.
    fn downgraded_to_good(&self) -> u64 {
        let Ok(policy) = self.policy_at_rest() else { return 0 };
        let slots = Slot::ALL.into_iter().filter(|&slot| self.boot.is_good(slot));
        let held = slots.filter_map(|slot| self.held.of(slot).as_ref().ok());
        held.map(|held| downgraded(held, &self.trust, &policy)).max().unwrap_or(0)
    }

    /// What is asked of a release that is here already: anything but that it is new enough.
    ///
    /// # Errors
    /// When the threshold makes no sense.
    pub fn policy_at_rest(&self) -> Result<Policy<'_>, Error> {
        Ok(self.trust.policy(self.device(0))?)
    }

    /// The lowest rollback index that is accepted: the lowest among the Good slots, so that falling
    /// back never leads below it. A slot that cannot prove what it holds says nothing.
    ///
    /// # Errors
    /// When the threshold makes no sense.
    pub fn floor(&self) -> Result<u64, Error> {
        let policy = self.policy_at_rest()?;
        let indices = Slot::ALL.into_iter().filter(|&slot| self.boot.is_good(slot));
        let indices = indices.filter_map(|slot| {
            let held = self.held.of(slot).as_ref().ok()?;
            Some(held.package.open(&policy).ok()?.manifest().rollback_index)
        });
        Ok(indices.min().unwrap_or(0))
    }

    /// Who signed what `slot` holds, of those who count here.
    #[must_use]
    pub fn signers_of(&self, slot: Slot) -> Vec<SignedBy> {
        let (Ok(held), Ok(policy)) = (self.held.of(slot), self.policy_at_rest()) else {
            return Vec::new();
        };
        SignedBy::all(&held.package, &policy)
    }

    /// Where releases come from. `max_bytes` is what a command may receive at most, if less than
    /// the configuration says.
    #[must_use]
    pub fn sources(&self, max_bytes: Option<u64>) -> Sources {
        Sources::new(self.config.registry.access(&self.root, max_bytes))
    }

    /// What the slot that runs says that it holds.
    #[must_use]
    pub fn held_running(&self) -> Option<&Held> {
        let slot = self.slots.running_slot()?;
        self.held.of(slot).as_ref().ok()
    }

    /// Opens the partition of the target named `target` in `slot` for reading.
    ///
    /// # Errors
    /// When there is no such partition, or it cannot be read.
    pub fn open_for_reading(&self, slot: Slot, target: &str) -> Result<RunningPartition, Error> {
        let paths = self.slots.paths.of(slot);
        let path = paths.target(target).ok_or_else(|| unknown_target(target))?;
        Ok(RunningPartition::open(path)?)
    }

    /// Proves what a slot holds already, by reading all of it from the medium.
    ///
    /// # Errors
    /// When a partition cannot be read, or does not hold what was signed.
    pub fn prove(&self, slot: Slot, release: &Release<'_>) -> Result<Proven, Error> {
        let targets = &release.config().targets;
        if let Some(name) = self.slots.paths.of(slot).left_alone(targets) {
            return Err(install::InstallError::MissingTarget { name }.into());
        }
        let mut media = Vec::new();
        for target in targets {
            let mut medium = self.open_for_reading(slot, target.name)?;
            medium.drop_caches()?;
            media.push(medium);
        }
        let mut buffer = Aligned::new(READ_BACK_BLOCKS);
        let hashers = &mut Cores::of_this_machine();
        Ok(prove_installed(release, slot, &mut media, buffer.blocks(), hashers)?)
    }

    /// Proves what `slot` says that it holds, by its trailer and the keys that count.
    ///
    /// # Errors
    /// When it says nothing that is believed, or as [`Session::prove`].
    pub fn prove_held(&self, slot: Slot) -> Result<Proven, Error> {
        let unknown = |cause: &HeldError| Error::Held { slot, why: cause.to_string() };
        let held = self.held.of(slot).as_ref().map_err(unknown)?;
        let policy = self.policy_at_rest()?;
        let refused = |cause| Error::Refused { source_name: format!("slot {slot}"), cause };
        let release = held.package.open(&policy).map_err(refused)?;
        self.prove(slot, &release)
    }

    /// `state`, in line with what the device shows.
    #[must_use]
    pub fn reconcile(&self, state: State) -> State {
        let release = |slot| self.held.of(slot).as_ref().ok().map(|held: &Held| held.name.clone());
        let releases = PerSlot { a: release(Slot::A), b: release(Slot::B) };
        let running = self.slots.running_slot();
        let (boot, evidence) = (&self.boot, &self.evidence);
        let mut state = reconcile(state, &Seen { boot, running, releases: &releases, evidence });
        state.downgraded = state.downgraded.max(self.downgraded).max(self.downgraded_to_good());
        state
    }

    /// Makes the boot environment of a device that is provisioned, if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prepare_environment(&mut self) -> Result<(), Error> {
        if self.slots.running.is_none() && self.environment.is_absent() {
            self.environment.format()?;
            info!("boot environment made");
        }
        Ok(())
    }

    /// Stores `boot`, if it is another than before: a healthy device is not written to.
    ///
    /// # Errors
    /// When the boot environment cannot be written.
    pub fn store(&mut self, boot: BootState) -> Result<(), Error> {
        if boot != self.boot {
            self.environment.store(&boot)?;
            self.boot = boot;
            info!(order = %boot.order, "boot environment stored");
        }
        Ok(())
    }

    /// Reboots; below a folder nothing does.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn reboot(&self) -> Result<(), Error> {
        reboot(&self.root).map(drop).map_err(|cause| Error::Reboot { cause })
    }
}

/// Reads the boot environment. Where no slot runs, a device is provisioned, and an environment that
/// is not there yet is a factory one; where one runs, it is lost, and that is an error.
///
/// # Errors
/// When it cannot be read.
pub fn load(
    environment: &mut AnyEnvironment,
    running: Option<Slot>,
) -> Result<Loaded, EnvironmentError> {
    if running.is_none() && environment.is_absent() {
        return Ok(Loaded { state: None, health: Health::Whole });
    }
    environment.load()
}

/// What the slots say that they hold.
#[must_use]
pub fn held(slots: &Slots) -> PerSlot<Result<Held, HeldError>> {
    let read = |slot| Held::read(slots.paths.of(slot));
    PerSlot { a: read(Slot::A), b: read(Slot::B) }
}

fn unknown_target(name: &str) -> Error {
    Error::NoPartition { target: name.to_owned() }
}

/// What is remembered, as long as one command is at work.
#[derive(Debug)]
pub struct Memory {
    file: Option<StateFile>,
    state: State,
}

impl Memory {
    fn open(root: &Root) -> Result<Self, Error> {
        let file = match StateFile::open(root) {
            Ok(file) => Some(file),
            Err(cause @ StateError::File(FileError::Held { .. })) => {
                return Err(Error::State(cause));
            }
            Err(cause) => {
                warn!(%cause, "what happens now will not be remembered");
                None
            }
        };
        let state = file.as_ref().map(|file| file.state().clone()).unwrap_or_default();
        Ok(Self { file, state })
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Changes what is remembered. What cannot be stored is forgotten at the end of the command.
    pub fn update(&mut self, change: impl FnOnce(&mut State)) {
        change(&mut self.state);
        if let Some(file) = &mut self.file
            && let Err(cause) = file.store(self.state.clone())
        {
            warn!(%cause, "this will not be remembered");
        }
    }

    /// Changes what is remembered, where forgetting it would be a lie.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn insist(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        change(&mut self.state);
        match &mut self.file {
            Some(file) => Ok(file.store(self.state.clone())?),
            None => Err(Error::NoMemory),
        }
    }
}
