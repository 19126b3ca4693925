//! Partitions, and plain files that stand for them, read and written by whole blocks.
//!
//! There are two types, because the difference must not be forgotten: [`Partition`] is opened
//! exclusively and can be written, [`RunningPartition`] has no way to write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use gybe_core::block::{BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks, WriteBlocks};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc::{O_DIRECT, O_EXCL};

use super::direct::Direct;
use super::identity::Identity;
use super::mounts::Mounts;
use super::write_back::WriteBack;

/// A target of the inactive slot, held open for nobody else.
///
/// Files are never grown: what does not fit is an error.
#[derive(Debug)]
pub struct Partition(Medium, WriteBack);

impl Partition {
    /// Opens what lies at `path` for writing, unless it is mounted, held by somebody, or one of
    /// the media in `running`.
    ///
    /// # Errors
    /// [`PartitionError`] names the path and who is in the way.
    pub fn open(
        path: &Path,
        mounts: &Mounts,
        running: &[Identity],
    ) -> Result<Self, PartitionError> {
        let open_error = |cause| PartitionError::Open { path: path.to_owned(), cause };
        let identity = Identity::at(&path.to_owned()).map_err(open_error)?;
        if running.contains(&identity) {
            return Err(PartitionError::Running { path: path.to_owned() });
        }
        if let Some(point) = mounts.point_of(identity) {
            return Err(PartitionError::Mounted { path: path.to_owned(), point: point.to_owned() });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if let Identity::Device(_) = identity {
            // Without O_CREAT this means on a block device: nobody else, and not mounted.
            options.custom_flags(O_EXCL);
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::ResourceBusy => {
                return Err(PartitionError::Busy { path: path.to_owned() });
            }
            Err(cause) => return Err(open_error(cause)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PartitionError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::Error(cause)) => return Err(open_error(cause)),
        }
        Ok(Self(Medium::new(file, path)?, WriteBack::default()))
    }

    /// Which medium this is.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.0.identity
    }
}

impl ReadBlocks for Partition {
    type Error = PartitionError;

    fn block_count(&self) -> u64 {
        self.0.block_count
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), PartitionError> {
        self.0.read(index, blocks)
    }
}

impl WriteBlocks for Partition {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), PartitionError> {
        let offset = self.0.offset(index, blocks.len())?;
        let bytes = blocks.as_flattened();
        let written = self.0.file.write_all_at(bytes, offset);
        written.map_err(|cause| PartitionError::Write {
            place: self.0.place(index, blocks.len()),
            cause,
        })?;
        let noted = self.1.wrote(&self.0.file, offset, bytes.len() as u64);
        noted.map_err(|cause| PartitionError::Flush { path: self.0.path.clone(), cause })
    }

    fn flush(&mut self) -> Result<(), PartitionError> {
        let flushed = self.1.wait().and_then(|()| self.0.file.sync_data());
        flushed.map_err(|cause| PartitionError::Flush { path: self.0.path.clone(), cause })
    }

    fn drop_caches(&mut self) -> Result<(), PartitionError> {
        // What is not yet on the medium cannot be dropped.
        self.flush()?;
        self.0.drop_caches()
    }
}

/// A target of the running slot. It can only be read.
#[derive(Debug)]
pub struct RunningPartition(Medium);

impl RunningPartition {
    /// Opens what lies at `path` for reading.
    ///
    /// # Errors
    /// [`PartitionError`] names the path.
    pub fn open(path: &Path) -> Result<Self, PartitionError> {
        let open_error = |cause| PartitionError::Open { path: path.to_owned(), cause };
        Medium::new(File::open(path).map_err(open_error)?, path).map(Self)
    }

    /// Which medium this is.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.0.identity
    }

    /// Makes the following reads come from the medium, so that bit rot is seen.
    ///
    /// # Errors
    /// Whatever the medium says.
    pub fn drop_caches(&mut self) -> Result<(), PartitionError> {
        self.0.drop_caches()
    }
}

impl ReadBlocks for RunningPartition {
    type Error = PartitionError;

    fn block_count(&self) -> u64 {
        self.0.block_count
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), PartitionError> {
        self.0.read(index, blocks)
    }
}

#[derive(Debug)]
struct Medium {
    file: File,
    path: PathBuf,
    identity: Identity,
    block_count: u64,
    /// A second way in, past the cache, once that was asked for and the medium has it.
    direct: Option<Direct>,
}

impl Medium {
    fn new(mut file: File, path: &Path) -> Result<Self, PartitionError> {
        let open_error = |cause| PartitionError::Open { path: path.to_owned(), cause };
        let metadata = file.metadata().map_err(open_error)?;
        let Some(identity) = Identity::of(&metadata) else {
            return Err(open_error(io::ErrorKind::InvalidInput.into()));
        };
        // The end is where seeking says it is, for devices and files alike.
        let len = file.seek(SeekFrom::End(0)).map_err(open_error)?;
        let block_count = len / BLOCK_LEN_U64;
        Ok(Self { file, path: path.to_owned(), identity, block_count, direct: None })
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), PartitionError> {
        let offset = self.offset(index, blocks.len())?;
        let count = blocks.len();
        let read = match &mut self.direct {
            Some(direct) => direct.read_exact_at(blocks.as_flattened_mut(), offset),
            None => self.file.read_exact_at(blocks.as_flattened_mut(), offset),
        };
        read.map_err(|cause| PartitionError::Read { place: self.place(index, count), cause })
    }

    fn drop_caches(&mut self) -> Result<(), PartitionError> {
        if self.direct.is_some() {
            return Ok(());
        }
        // The device is held exclusively by `file`, and a second exclusive opening by the same
        // program would be refused: this one is not, and only reads. The path is not trusted to
        // lead to the same place again.
        let opened = OpenOptions::new().read(true).custom_flags(O_DIRECT).open(&self.path);
        if let Ok(file) = opened
            && let Ok(metadata) = file.metadata()
            && Identity::of(&metadata) == Some(self.identity)
            && let Some(direct) = Direct::new(file, self.block_count)
        {
            self.direct = Some(direct);
            return Ok(());
        }
        posix_fadvise(self.file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(|cause| PartitionError::Flush { path: self.path.clone(), cause: cause.into() })
    }

    /// Where `count` blocks from `index` begin, if all of them exist.
    fn offset(&self, index: BlockIndex, count: usize) -> Result<u64, PartitionError> {
        let end = u64::try_from(count).ok().and_then(|count| index.0.checked_add(count));
        match (end, index.0.checked_mul(BLOCK_LEN_U64)) {
            (Some(end), Some(offset)) if end <= self.block_count => Ok(offset),
            _ => Err(PartitionError::Range {
                place: self.place(index, count),
                block_count: self.block_count,
            }),
        }
    }

    fn place(&self, index: BlockIndex, count: usize) -> Place {
        Place { path: self.path.clone(), index, count }
    }
}

/// Which blocks of which medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The medium.
    pub path: PathBuf,
    /// The first block.
    pub index: BlockIndex,
    /// How many blocks.
    pub count: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.index)?;
        if self.count > 1 {
            write!(f, " and {} more", self.count.saturating_sub(1))?;
        }
        write!(f, " of {}", self.path.display())
    }
}

/// What can go wrong with a partition.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// It cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// Where it should lie.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It belongs to the running slot.
    #[error("{} belongs to the running slot, which is never written", path.display())]
    Running {
        /// Where it lies.
        path: PathBuf,
    },
    /// It is mounted.
    #[error("{} is mounted at {}", path.display(), point.display())]
    Mounted {
        /// Where it lies.
        path: PathBuf,
        /// Where its files are seen.
        point: PathBuf,
    },
    /// Another program holds it.
    #[error("{} is held by another program", path.display())]
    Busy {
        /// Where it lies.
        path: PathBuf,
    },
    /// It is too small.
    #[error("no {place}: it has {block_count} blocks")]
    Range {
        /// What was asked for.
        place: Place,
        /// How many blocks it has.
        block_count: u64,
    },
    /// It cannot be read.
    #[error("cannot read {place}: {cause}")]
    Read {
        /// What was asked for.
        place: Place,
        /// What the system says.
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {place}: {cause}")]
    Write {
        /// What was to be written.
        place: Place,
        /// What the system says.
        cause: io::Error,
    },
    /// What was written may not be durable.
    #[error("cannot flush {}: {cause}", path.display())]
    Flush {
        /// Where it lies.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests;
