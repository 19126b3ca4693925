//! A small file that outlives power cuts: two areas of fixed length, written in turn.
//!
//! ```text
//! │ area 0 │ area 1 │
//! area: "NAME SEQUENCE SHA-256-OF-JSON LENGTH\n" JSON, filled up with spaces
//! ```
//!
//! The whole area with the higher sequence is in force. A store writes the other one in place, so a
//! power cut leaves the content before or after, and a full file system cannot stop it: all the room
//! is taken when the file is made. The lock on the file keeps two programs from writing it at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gybe_core::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::root::Root;

const AREAS: usize = 2;

/// What can be kept in such a file.
pub trait Content: Clone + Default + PartialEq + Serialize + DeserializeOwned {
    /// Where the file lies.
    const FILE: &'static str;
    /// What every area begins with: a name and a version.
    const NAME: &'static str;
    /// What it is, in messages.
    const WHAT: &'static str;
    /// Length of one area, the most that the content can take.
    const AREA_LEN: usize;
    /// Who may read it: the mode of a file that is made.
    const MODE: u32;
}

/// Such a file, held by one program.
#[derive(Debug)]
pub struct TwoAreas<T> {
    file: File,
    path: PathBuf,
    content: T,
    /// The sequence in force, and the area it is in.
    sequence: u64,
    area: usize,
}

/// What to do when another program holds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Say so.
    Try,
    /// Wait for it.
    Wait,
}

impl<T: Content> TwoAreas<T> {
    /// Opens the file below `root` to change it, making it if it is not there.
    ///
    /// # Errors
    /// [`FileError::Held`] when another program holds it and `lock` is [`Lock::Try`], else what the
    /// system says.
    pub fn open(root: &Root, lock: Lock) -> Result<Self, FileError> {
        let path = root.path(T::FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => create::<T>(&path)?,
            Err(cause) => return Err(FileError::Open { path, cause }),
        };
        let locked = match lock {
            Lock::Try => file.try_lock(),
            Lock::Wait => file.lock().map_err(TryLockError::Error),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::Held { path }),
            Err(TryLockError::Error(cause)) => return Err(FileError::Open { path, cause }),
        }
        let Found { content, sequence, area } = find(&file, &path)?;
        Ok(Self { file, path, content, sequence, area })
    }

    /// What is kept.
    #[must_use]
    pub const fn content(&self) -> &T {
        &self.content
    }

    /// Keeps `content` instead. It is durable when this returns.
    ///
    /// # Errors
    /// When it is too long, or what the system says; what was kept before then holds.
    pub fn store(&mut self, content: T) -> Result<(), FileError> {
        if content == self.content {
            return Ok(());
        }
        let sequence = self.sequence.saturating_add(1);
        let area = (self.area.saturating_add(1)) % AREAS;
        let bytes = encode(&content, sequence)?;
        let write_error = |cause| FileError::Write { path: self.path.clone(), cause };
        self.file.write_all_at(&bytes, offset::<T>(area)).map_err(write_error)?;
        self.file.sync_data().map_err(write_error)?;
        (self.content, self.sequence, self.area) = (content, sequence, area);
        Ok(())
    }
}

/// Reads what is kept below `root` without touching it. What is missing or damaged is empty.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read<T: Content>(root: &Root) -> Result<T, FileError> {
    let path = root.path(T::FILE);
    match File::open(&path) {
        Ok(file) => Ok(find(&file, &path)?.content),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(cause) => Err(FileError::Open { path, cause }),
    }
}

/// Makes the file with all the room it will ever need, whole or not at all.
fn create<T: Content>(path: &Path) -> Result<File, FileError> {
    let write_error = |cause| FileError::Write { path: path.to_owned(), cause };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(write_error)?;
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(T::MODE);
    let mut file = options.open(&new).map_err(write_error)?;
    file.write_all(&encode(&T::default(), 1)?).map_err(write_error)?;
    file.write_all(&vec![b' '; T::AREA_LEN]).map_err(write_error)?;
    file.sync_all().map_err(write_error)?;
    fs::rename(&new, path).map_err(write_error)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write_error)?;
    Ok(file)
}

struct Found<T> {
    content: T,
    sequence: u64,
    area: usize,
}

fn find<T: Content>(file: &File, path: &Path) -> Result<Found<T>, FileError> {
    let read_error = |cause| FileError::Read { path: path.to_owned(), cause };
    let mut found: Option<Found<T>> = None;
    for area in 0..AREAS {
        let mut bytes = vec![0; T::AREA_LEN];
        match file.read_exact_at(&mut bytes, offset::<T>(area)) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(cause) => return Err(read_error(cause)),
        }
        if let Some((content, sequence)) = decode(&bytes)
            && found.as_ref().is_none_or(|found| found.sequence < sequence)
        {
            found = Some(Found { content, sequence, area });
        }
    }
    Ok(found.unwrap_or_else(|| {
        warn!(file = %path.display(), "{} is damaged, so it is forgotten", T::WHAT);
        Found { content: T::default(), sequence: 0, area: 1 }
    }))
}

fn encode<T: Content>(content: &T, sequence: u64) -> Result<Vec<u8>, FileError> {
    let json =
        serde_json::to_vec(content).map_err(|cause| FileError::Encode { what: T::WHAT, cause })?;
    let digest = Digest::of(&json);
    let (name, len) = (T::NAME, json.len());
    let mut bytes = format!("{name} {sequence} {} {len}\n", digest.hex()).into_bytes();
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    if bytes.len() > T::AREA_LEN {
        let (len, limit) = (bytes.len(), T::AREA_LEN);
        return Err(FileError::Length { what: T::WHAT, len, limit });
    }
    bytes.resize(T::AREA_LEN, b' ');
    Ok(bytes)
}

fn decode<T: Content>(bytes: &[u8]) -> Option<(T, u64)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let header = std::str::from_utf8(bytes.get(..end)?).ok()?.strip_prefix(T::NAME)?;
    let mut words = header.split_ascii_whitespace();
    let sequence = words.next()?.parse().ok()?;
    let digest = Digest::from_hex(words.next()?).ok()?;
    let len: usize = words.next()?.parse().ok()?;
    let json = bytes.get(end.checked_add(1)?..)?.get(..len)?;
    if Digest::of(json) != digest {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, sequence))
}

const fn offset<T: Content>(area: usize) -> u64 {
    if area == 0 { 0 } else { T::AREA_LEN as u64 }
}

/// Why such a file cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Another program holds it.
    #[error("another gybe is at work on this device: {} is locked", path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The content is too long.
    #[error("{what} is {len} bytes, limit {limit}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The most it can take.
        limit: usize,
    },
    /// The content has no JSON form.
    #[error("{what}: {cause}")]
    Encode {
        /// What it is.
        what: &'static str,
        /// Why.
        cause: serde_json::Error,
    },
}

#[cfg(test)]
mod tests;
