//! The boot environments of a played device, in files.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gybe_core::boot::{BootEnv, BootState, EnvFile, Loaded};
use gybe_uboot::{FILE_LEN, FwEnv, second_file_name};

use super::EnvPower;

/// Whether the next write is cut, shared by all files of an environment.
#[derive(Clone, Debug)]
pub(super) struct CutWrites(Rc<Cell<Cut>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    Next,
    Happened,
}

impl CutWrites {
    pub(super) fn new(power: EnvPower) -> Self {
        let cut = if power == EnvPower::CutOnce { Cut::Next } else { Cut::Never };
        Self(Rc::new(Cell::new(cut)))
    }

    pub(super) fn happened(&self) -> bool {
        self.0.get() == Cut::Happened
    }
}

/// A file, or a part of one, as the loader sees it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    offset: u64,
    cut: CutWrites,
}

impl EnvFile for Place {
    type Error = io::Error;

    fn read(&mut self, content: &mut [u8]) -> io::Result<usize> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut len = 0;
        while let Some(rest) = content.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                read => len += read,
            }
        }
        Ok(len)
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        if self.cut.0.get() != Cut::Never {
            self.cut.0.set(Cut::Happened);
            let half = content.get(..content.len() / 2).unwrap_or_default();
            file.write_all_at(half, self.offset)?;
            return Err(io::Error::other("the power went off"));
        }
        file.write_all_at(content, self.offset)?;
        file.sync_all()
    }
}

type UBoot = gybe_uboot::Environment<Place, Vec<u8>>;

/// The environment that a configuration names.
#[derive(Debug)]
pub(super) enum AnyEnvironment {
    Grub(gybe_grub::Environment<Place>),
    UBoot(UBoot),
}

impl AnyEnvironment {
    pub(super) fn grub(live: &Path, cut: &CutWrites) -> Self {
        let mut safe = live.as_os_str().to_owned();
        safe.push(gybe_grub::SAFE_SUFFIX);
        let place = |path| Place { path, offset: 0, cut: cut.clone() };
        Self::Grub(gybe_grub::Environment::new(place(live.into()), place(safe.into())))
    }

    pub(super) fn redundant(
        fw_env: &FwEnv<'_>,
        below: impl Fn(&str) -> PathBuf,
        cut: &CutWrites,
    ) -> Self {
        let areas = [fw_env.first, fw_env.second].map(|area| Place {
            path: below(area.device),
            offset: area.offset,
            cut: cut.clone(),
        });
        Self::UBoot(UBoot::redundant(
            areas,
            [vec![0; fw_env.first.len], vec![0; fw_env.second.len]],
        ))
    }

    pub(super) fn files(first: &Path, cut: &CutWrites) -> Self {
        let name = first.file_name().unwrap_or_default().to_string_lossy();
        let (stem, two, extension) = second_file_name(&name);
        let second = first.with_file_name(format!("{stem}{two}{extension}"));
        let files =
            [first.to_path_buf(), second].map(|path| Place { path, offset: 0, cut: cut.clone() });
        Self::UBoot(UBoot::files(files, [vec![0; FILE_LEN], vec![0; FILE_LEN]]))
    }
}

/// Why an environment could not be used, in its own words.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnyError {
    #[error("{0}")]
    Grub(gybe_grub::EnvironmentError<io::Error>),
    #[error("{0}")]
    UBoot(gybe_uboot::EnvironmentError<io::Error>),
}

impl BootEnv for AnyEnvironment {
    type Error = AnyError;

    fn load(&mut self) -> Result<Loaded, AnyError> {
        match self {
            Self::Grub(environment) => environment.load().map_err(AnyError::Grub),
            Self::UBoot(environment) => environment.load().map_err(AnyError::UBoot),
        }
    }

    fn store(&mut self, state: &BootState) -> Result<(), AnyError> {
        match self {
            Self::Grub(environment) => environment.store(state).map_err(AnyError::Grub),
            Self::UBoot(environment) => environment.store(state).map_err(AnyError::UBoot),
        }
    }
}
