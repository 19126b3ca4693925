//! One copy of a boot environment: a file, or an area of a device.
//!
//! It is written in place and made durable before the call returns. Nothing is truncated or
//! renamed: a boot loader finds the blocks where they were, without replaying a journal.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use gybe_core::boot::EnvFile;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};
use tracing::warn;

use crate::root::Root;

/// A copy that is opened anew for each access: it is small and seldom needed, and its file system
/// may be writable only while it is written.
#[derive(Clone, Debug)]
pub struct EnvironmentFile {
    path: PathBuf,
    offset: u64,
    may_remount: bool,
}

impl EnvironmentFile {
    /// The copy at `path`, as the device sees it, that begins at `offset`.
    #[must_use]
    pub fn new(root: &Root, path: PathBuf, offset: u64) -> Self {
        Self { path: root.path(path), offset, may_remount: root.is_host() }
    }

    /// Whether there is nothing at its place.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        // What cannot be looked at is not known to be absent.
        self.path.try_exists().is_ok_and(|exists| !exists)
    }

    /// Whether it could be written: it is opened for that, its file system made writable for the moment
    /// if need be, and nothing is changed.
    ///
    /// # Errors
    /// Why not.
    pub fn check_writable(&self) -> Result<(), EnvironmentFileError> {
        let opened = self.writable();
        opened.map(drop).map_err(self.error("write"))
    }

    /// Opens it for writing. Of the two the file must be dropped first: a file system with a file that is
    /// open for writing stays writable.
    fn writable(&self) -> io::Result<(File, Option<Writable>)> {
        match self.open_for_writing() {
            Ok(file) => Ok((file, None)),
            Err(cause) if cause.kind() == io::ErrorKind::ReadOnlyFilesystem && self.may_remount => {
                let writable = Writable::remount(&self.path)?;
                Ok((self.open_for_writing()?, Some(writable)))
            }
            Err(cause) => Err(cause),
        }
    }

    fn error(&self, doing: &'static str) -> impl Fn(io::Error) -> EnvironmentFileError {
        let path = self.path.clone();
        move |cause| EnvironmentFileError { doing, path: path.clone(), cause: Arc::new(cause) }
    }

    fn open_for_writing(&self) -> io::Result<File> {
        // Making a missing copy is right for a file, and for nothing else.
        let create = self.offset == 0 && !self.path.starts_with("/dev");
        OpenOptions::new().read(true).write(true).create(create).truncate(false).open(&self.path)
    }

    fn write_open(&self, file: &File, content: &[u8]) -> io::Result<()> {
        let is_new = file.metadata()?.len() == 0;
        file.write_all_at(content, self.offset)?;
        file.sync_all()?;
        if let (true, Some(folder)) = (is_new, self.path.parent()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl EnvFile for EnvironmentFile {
    type Error = EnvironmentFileError;

    fn read(&mut self, content: &mut [u8]) -> Result<usize, EnvironmentFileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(cause) => return Err(self.error("read")(cause)),
        };
        let mut len = 0_usize;
        while let Some(rest) = content.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let at = u64::try_from(len).ok().and_then(|len| self.offset.checked_add(len));
            let at = at.ok_or_else(|| self.error("read")(io::ErrorKind::InvalidInput.into()))?;
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => len = len.saturating_add(count),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.error("read")(cause)),
            }
        }
        Ok(len)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), EnvironmentFileError> {
        let written = self.writable().and_then(|(file, writable)| {
            let written = self.write_open(&file, content);
            // The file must be closed before its file system can be read-only again.
            drop(file);
            drop(writable);
            written
        });
        written.map_err(self.error("write"))
    }
}

/// A file system that is writable as long as this lives.
struct Writable {
    point: PathBuf,
    flags: MsFlags,
}

impl Writable {
    /// Makes the file system that holds `path` writable.
    fn remount(path: &Path) -> io::Result<Self> {
        let folder = fs::canonicalize(path.parent().unwrap_or(Path::new("/")))?;
        let point = mount_point(&folder)?;
        let had = statvfs(&point)?.flags();
        let kept = [
            (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
            (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
            (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
            (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        ];
        let kept = kept.into_iter().filter(|(had_flag, _)| had.contains(*had_flag));
        let flags = kept.fold(MsFlags::MS_REMOUNT, |flags, (_, flag)| flags | flag);
        remount(&point, flags)?;
        Ok(Self { point, flags })
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        // What was written is durable already, so going on is right; but a file system that stays
        // writable is one more thing a power cut can hurt.
        if let Err(cause) = remount(&self.point, self.flags | MsFlags::MS_RDONLY) {
            warn!(point = %self.point.display(), %cause, "cannot be made read-only again");
        }
    }
}

fn remount(point: &Path, flags: MsFlags) -> Result<(), Errno> {
    mount(None::<&str>, point, None::<&str>, flags, None::<&str>)
}

/// The uppermost folder that is on the same file system as `folder`.
fn mount_point(folder: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let device = fs::metadata(folder)?.dev();
    let mut point = folder;
    while let Some(parent) = point.parent() {
        if fs::metadata(parent)?.dev() != device {
            break;
        }
        point = parent;
    }
    Ok(point.to_owned())
}

/// Why a copy cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {doing} {}: {cause}", path.display())]
pub struct EnvironmentFileError {
    doing: &'static str,
    path: PathBuf,
    /// Shared, because the stores hand errors on by copy.
    cause: Arc<io::Error>,
}

impl PartialEq for EnvironmentFileError {
    fn eq(&self, other: &Self) -> bool {
        (self.doing, &self.path, self.cause.kind())
            == (other.doing, &other.path, other.cause.kind())
    }
}
