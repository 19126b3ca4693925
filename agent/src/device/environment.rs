//! The boot environment that the configuration names, on real files.

mod file;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use gybe_core::boot::{BootEnv, BootState, Loaded};
use gybe_uboot::{Area, FILE_LEN, FwEnv, FwEnvError};
use tracing::debug;

pub use file::{EnvironmentFile, EnvironmentFileError};

use crate::config::{Bootloader, DocumentError, document};
use crate::root::Root;

/// What `fw_setenv` of libubootenv 0.3 locks while it writes.
const FW_ENV_LOCK: &str = "/var/lock/fw_printenv.lock";

/// The boot environment that the configuration names.
#[derive(Debug)]
pub struct AnyEnvironment {
    back_end: BackEnd,
    copies: [EnvironmentFile; 2],
    /// What programs of others lock while they write this environment.
    lock: Option<PathBuf>,
}

/// One of the boot environments we know.
#[derive(Debug)]
enum BackEnd {
    /// GRUB's live and safe files.
    Grub(gybe_grub::Environment<EnvironmentFile>),
    /// U-Boot's redundant environment, or two files.
    Uboot(gybe_uboot::Environment<EnvironmentFile, Vec<u8>>),
}

impl AnyEnvironment {
    /// The environment of `bootloader` below `root`. Nothing is read or made yet.
    ///
    /// # Errors
    /// When `fw_env.config` cannot be read or makes no sense.
    pub fn open(root: &Root, bootloader: &Bootloader) -> Result<Self, EnvironmentError> {
        let whole = |path: PathBuf| EnvironmentFile::new(root, path, 0);
        match bootloader {
            Bootloader::Grub { environment } => {
                let mut safe = OsString::from(environment);
                safe.push(gybe_grub::SAFE_SUFFIX);
                let copies = [environment.clone(), safe.into()].map(whole);
                let [live, safe] = copies.clone();
                let back_end = BackEnd::Grub(gybe_grub::Environment::new(live, safe));
                Ok(Self { back_end, copies, lock: None })
            }
            Bootloader::UbootFile { file } => {
                let copies = [file.clone(), second_file(file)].map(whole);
                let buffers = [vec![0; FILE_LEN], vec![0; FILE_LEN]];
                let uboot = gybe_uboot::Environment::files(copies.clone(), buffers);
                Ok(Self { back_end: BackEnd::Uboot(uboot), copies, lock: None })
            }
            Bootloader::UbootRedundant { fw_env } => {
                let path = root.path(fw_env);
                let Some(text) = document::read_small(&path)? else {
                    return Err(EnvironmentError::NoFwEnv { path });
                };
                let areas = FwEnv::parse(&text);
                let areas = areas.map_err(|cause| EnvironmentError::FwEnv { path, cause })?;
                let buffers = [&areas.first, &areas.second].map(|area| vec![0; area.len]);
                let open =
                    |area: Area<'_>| EnvironmentFile::new(root, area.device.into(), area.offset);
                let copies = [areas.first, areas.second].map(open);
                let uboot = gybe_uboot::Environment::redundant(copies.clone(), buffers);
                let lock = Some(root.path(FW_ENV_LOCK));
                Ok(Self { back_end: BackEnd::Uboot(uboot), copies, lock })
            }
        }
    }

    /// Whether there is no such environment at all: not a damaged one, but none.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.copies.iter().all(EnvironmentFile::is_absent)
    }

    /// Whether every copy could be written. Nothing is changed.
    ///
    /// # Errors
    /// Why one could not.
    pub fn check_writable(&self) -> Result<(), EnvironmentFileError> {
        self.copies.iter().try_for_each(EnvironmentFile::check_writable)
    }

    /// Makes it a factory one.
    ///
    /// # Errors
    /// When it cannot be written, or is U-Boot's own: that holds how the device boots.
    pub fn format(&mut self) -> Result<(), EnvironmentError> {
        match &mut self.back_end {
            BackEnd::Grub(grub) => Ok(grub.format()?),
            BackEnd::Uboot(uboot) => Ok(uboot.format()?),
        }
    }
}

impl BootEnv for AnyEnvironment {
    type Error = EnvironmentError;

    fn load(&mut self) -> Result<Loaded, EnvironmentError> {
        match &mut self.back_end {
            BackEnd::Grub(grub) => Ok(grub.load()?),
            BackEnd::Uboot(uboot) => Ok(uboot.load()?),
        }
    }

    fn store(&mut self, state: &BootState) -> Result<(), EnvironmentError> {
        // Held to the end: the store reads the variables of others and writes them again.
        let _lock = self.lock.as_deref().and_then(lock);
        match &mut self.back_end {
            BackEnd::Grub(grub) => Ok(grub.store(state)?),
            BackEnd::Uboot(uboot) => Ok(uboot.store(state)?),
        }
    }
}

/// Waits for the lock, and holds it. Where there is no place for one, nobody else takes it either.
fn lock(path: &Path) -> Option<File> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    match opened.and_then(|file| file.lock().map(|()| file)) {
        Ok(file) => Some(file),
        Err(cause) => {
            debug!(path = %path.display(), %cause, "environment written without a lock");
            None
        }
    }
}

/// The file that lies beside `first`.
fn second_file(first: &Path) -> PathBuf {
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    let (stem, number, extension) = gybe_uboot::second_file_name(&name);
    first.with_file_name([stem, number, extension].concat())
}

/// Why the boot environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// `fw_env.config` cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// There is no `fw_env.config`.
    #[error("boot environment: {} does not exist", path.display())]
    NoFwEnv {
        /// Where it should be.
        path: PathBuf,
    },
    /// `fw_env.config` makes no sense.
    #[error("boot environment: {}: {cause}", path.display())]
    FwEnv {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        cause: FwEnvError,
    },
    /// What GRUB's files say.
    #[error(transparent)]
    Grub(#[from] gybe_grub::EnvironmentError<EnvironmentFileError>),
    /// What U-Boot's copies say.
    #[error(transparent)]
    Uboot(#[from] gybe_uboot::EnvironmentError<EnvironmentFileError>),
}

#[cfg(test)]
mod tests;
