//! A device whose partitions and boot environment are files below one folder, and its power button.

mod bare;
mod environment;
mod slot;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gybe_core::boot::{LOADER_ARGUMENT, LOADER_CONTRACT, SLOT_ARGUMENT, TRIAL_ARGUMENT, TRIES_MAX};
use gybe_core::slot::Slot;
use toml::{Table, Value};

use crate::player::{self, Played, Stored};
pub use bare::UnusableTrailer;
use environment::{AnyEnvironment, CutWrites};
pub use slot::Unloadable;

/// The configuration, and what may override it, below the folder.
const CONFIG: [&str; 2] = ["/usr/lib/gybe/config.toml", "/etc/gybe/config.toml"];

/// More starts than any trial can ask for.
const STARTS_MAX: u8 = 2 * TRIES_MAX;

/// A device below a folder.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    config: Vec<Table>,
}

/// What happens to the power while the loader writes its environment for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvPower {
    /// It stays on.
    Stays,
    /// It goes off when half of the write has reached the medium.
    CutOnce,
}

/// Why a device cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The configuration is not TOML.
    #[error("{}: {cause}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// The configuration lacks something.
    #[error("configuration has no usable {key}")]
    Config {
        /// What.
        key: &'static str,
    },
    /// `fw_env.config` cannot be used.
    #[error("{}: {cause}", path.display())]
    FwEnv {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: gybe_uboot::FwEnvError,
    },
    /// No slot was loaded, however often the board was reset.
    #[error("no slot was loaded in {STARTS_MAX} starts")]
    Nothing,
}

impl Machine {
    /// The device below `folder`.
    ///
    /// # Errors
    /// When its configuration cannot be read.
    pub fn open(folder: &Path) -> Result<Self, MachineError> {
        let mut machine = Self { folder: folder.to_path_buf(), config: vec![] };
        for name in CONFIG {
            let path = machine.path(name);
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && name != CONFIG[0] => {
                    continue;
                }
                text => text.map_err(|cause| MachineError::File { path: path.clone(), cause })?,
            };
            let toml = |cause| MachineError::Toml { path, cause: Box::new(cause) };
            machine.config.insert(0, text.parse().map_err(toml)?);
        }
        Ok(machine)
    }

    /// Switches the device on, and resets it until a slot is loaded. Calls `say` once for each
    /// start, and leaves the kernel's command line in `proc/cmdline`.
    ///
    /// # Errors
    /// When the configuration lacks something, or no slot can be loaded.
    pub fn boot(&self, power: EnvPower, mut say: impl FnMut(&str)) -> Result<Slot, MachineError> {
        let mut power = power;
        for _ in 0..STARTS_MAX {
            let cut = CutWrites::new(power);
            let mut environment = self.environment(&cut)?;
            let mut refused = String::new();
            let mut cmdline = String::new();
            let played = player::play(&mut environment, |slot| match self.load(slot) {
                Ok(text) => {
                    cmdline = text;
                    true
                }
                Err(error) => {
                    refused = format!("{refused}, slot {slot} cannot be loaded: {error}");
                    false
                }
            });
            if cut.happened() {
                power = EnvPower::Stays;
                say("loader: the power went off while the environment was written");
                continue;
            }
            say(&format!("loader: {}{refused}", describe(&played)));
            if let Some(slot) = played.booted {
                self.write_cmdline(slot, played.trial, &cmdline)?;
                return Ok(slot);
            }
        }
        Err(MachineError::Nothing)
    }

    fn load(&self, slot: Slot) -> Result<String, Unloadable> {
        let path = |keys| self.text(keys).map(|text| self.path(text)).map_err(Unloadable::Machine);
        let (boot, root) = match slot {
            Slot::A => (path("slot.a.boot"), path("slot.a.root")?),
            Slot::B => (path("slot.b.boot"), path("slot.b.root")?),
        };
        // Slots without a boot target belong to a loader that brings its own kernel.
        match boot {
            Ok(boot) => slot::load(&boot, &root),
            Err(_) => slot::load_bare(&root),
        }
    }

    fn environment(&self, cut: &CutWrites) -> Result<AnyEnvironment, MachineError> {
        match self.text("bootloader.kind")? {
            "grub" => {
                let live = self.path(self.text("bootloader.environment")?);
                Ok(AnyEnvironment::grub(&live, cut))
            }
            "uboot" => match self.text("bootloader.fw_env") {
                Ok(fw_env) => {
                    let path = self.path(fw_env);
                    let text = fs::read_to_string(&path)
                        .map_err(|cause| MachineError::File { path: path.clone(), cause })?;
                    let fw_env = gybe_uboot::FwEnv::parse(&text)
                        .map_err(|cause| MachineError::FwEnv { path, cause })?;
                    Ok(AnyEnvironment::redundant(&fw_env, |device| self.path(device), cut))
                }
                Err(_) => {
                    let first = self.path(self.text("bootloader.file")?);
                    Ok(AnyEnvironment::files(&first, cut))
                }
            },
            _ => Err(MachineError::Config { key: "bootloader.kind" }),
        }
    }

    fn write_cmdline(&self, slot: Slot, trial: bool, signed: &str) -> Result<(), MachineError> {
        let trial = if trial { format!(" {TRIAL_ARGUMENT}=1") } else { String::new() };
        let ours = format!("{SLOT_ARGUMENT}={slot}{trial} {LOADER_ARGUMENT}={LOADER_CONTRACT}");
        let path = self.path("/proc/cmdline");
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| fs::write(&path, format!("{signed} {ours}\n")))
            .map_err(|cause| MachineError::File { path, cause })
    }

    /// Where a path of the device lies below the folder.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The first text that a configuration file has at `key`, whose parts are separated by dots.
    fn text(&self, key: &'static str) -> Result<&str, MachineError> {
        let found = self.config.iter().find_map(|table| {
            let mut parts = key.split('.');
            let mut value: &Value = table.get(parts.next()?)?;
            for part in parts {
                value = value.get(part)?;
            }
            value.as_str()
        });
        found.ok_or(MachineError::Config { key })
    }
}

fn describe(played: &Played) -> String {
    let stored = match played.stored {
        Stored::Nothing => "nothing to write".to_owned(),
        Stored::Failed => "the environment cannot be written".to_owned(),
        Stored::State(state) => match (state.trial, state.failed) {
            (Some(trial), _) => {
                format!("a try of slot {} spent, {} left", trial.slot, trial.tries_left)
            }
            (None, Some(failed)) => format!("slot {} has failed: {}", failed.slot, failed.reason),
            (None, None) => "state written".to_owned(),
        },
    };
    match (played.booted, played.trial) {
        (Some(slot), true) => format!("{stored}, slot {slot} loaded on trial"),
        (Some(slot), false) => format!("{stored}, slot {slot} loaded"),
        (None, _) => format!("{stored}, reset"),
    }
}

#[cfg(test)]
mod tests;
