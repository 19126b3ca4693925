//! The state file: two areas of fixed length, written in turn.
//!
//! ```text
//! │ area 0, 32 KiB │ area 1, 32 KiB │
//! area: "gybe-state 1 SEQUENCE SHA-256-OF-JSON LENGTH\n" JSON, filled up with spaces
//! ```
//!
//! The whole area with the higher sequence is in force. A store writes the other one in place, so a
//! power cut leaves the state before or after, and a full file system cannot stop it: all the room
//! is taken when the file is made. The lock on the file is what keeps two programs from updating
//! one device at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gybe_core::digest::Digest;
use tracing::warn;

use super::{REFERENCE_LEN_MAX, State};
use crate::root::Root;

/// Where the state lies.
pub const FILE: &str = "/var/lib/gybe/state";
/// Length of one area, the most a state can take.
pub const AREA_LEN: usize = 32 * 1024;

const AREAS: usize = 2;
const HEADER: &str = "gybe-state 1";

/// The state, held by one program.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    path: PathBuf,
    state: State,
    /// The sequence in force, and the area it is in.
    sequence: u64,
    area: usize,
}

impl StateFile {
    /// Opens the state below `root` for an update, making it if it is not there.
    ///
    /// # Errors
    /// [`StateError::Held`] when another program updates the device, else what the system says.
    pub fn open(root: &Root) -> Result<Self, StateError> {
        let path = root.path(FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => create(&path)?,
            Err(cause) => return Err(StateError::Open { path, cause }),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Held { path }),
            Err(TryLockError::Error(cause)) => return Err(StateError::Open { path, cause }),
        }
        let Found { state, sequence, area, .. } = find(&file, &path)?;
        Ok(Self { file, path, state, sequence, area })
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Remembers `state` instead. It is durable when this returns.
    ///
    /// # Errors
    /// When the state is too long, or what the system says; what was remembered before then holds.
    pub fn store(&mut self, state: State) -> Result<(), StateError> {
        if state == self.state {
            return Ok(());
        }
        if let Some(len) = state.reference.as_ref().map(String::len)
            && len > REFERENCE_LEN_MAX
        {
            return Err(StateError::Reference { len });
        }
        let sequence = self.sequence.saturating_add(1);
        let area = (self.area.saturating_add(1)) % AREAS;
        let content = encode(&state, sequence)?;
        let write_error = |cause| StateError::Write { path: self.path.clone(), cause };
        self.file.write_all_at(&content, offset(area)).map_err(write_error)?;
        self.file.sync_data().map_err(write_error)?;
        (self.state, self.sequence, self.area) = (state, sequence, area);
        Ok(())
    }
}

/// Reads the state below `root` without touching it. What is missing or damaged is empty.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(root: &Root) -> Result<State, StateError> {
    let path = root.path(FILE);
    match File::open(&path) {
        Ok(file) => Ok(find(&file, &path)?.state),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(cause) => Err(StateError::Open { path, cause }),
    }
}

/// Reads the state below `root` as [`read`] does. One that cannot be read is an empty one: what it
/// holds helps to decide, and nothing is decided by its absence.
#[must_use]
pub fn read_if_possible(root: &Root) -> State {
    read(root).unwrap_or_else(|cause| {
        warn!(%cause, "so what failed before is not known");
        State::default()
    })
}

/// Makes the file with all the room it will ever need, whole or not at all.
fn create(path: &Path) -> Result<File, StateError> {
    let write_error = |cause| StateError::Write { path: path.to_owned(), cause };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(write_error)?;
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let mut file = options.open(&new).map_err(write_error)?;
    file.write_all(&encode(&State::default(), 1)?).map_err(write_error)?;
    file.write_all(&[b' '; AREA_LEN]).map_err(write_error)?;
    file.sync_all().map_err(write_error)?;
    fs::rename(&new, path).map_err(write_error)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write_error)?;
    Ok(file)
}

struct Found {
    state: State,
    sequence: u64,
    area: usize,
}

fn find(file: &File, path: &Path) -> Result<Found, StateError> {
    let read_error = |cause| StateError::Read { path: path.to_owned(), cause };
    let mut found: Option<Found> = None;
    for area in 0..AREAS {
        let mut content = vec![0; AREA_LEN];
        match file.read_exact_at(&mut content, offset(area)) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(cause) => return Err(read_error(cause)),
        }
        if let Some((state, sequence)) = decode(&content)
            && found.as_ref().is_none_or(|found| found.sequence < sequence)
        {
            found = Some(Found { state, sequence, area });
        }
    }
    Ok(found.unwrap_or_else(|| {
        warn!(file = %path.display(), "state is damaged, so what failed before is forgotten");
        Found { state: State::default(), sequence: 0, area: 1 }
    }))
}

fn encode(state: &State, sequence: u64) -> Result<Vec<u8>, StateError> {
    let json = serde_json::to_vec(state).map_err(|cause| StateError::Encode { cause })?;
    let digest = Digest::of(&json);
    let mut content = format!("{HEADER} {sequence} {} {}\n", digest.hex(), json.len()).into_bytes();
    content.extend_from_slice(&json);
    content.push(b'\n');
    if content.len() > AREA_LEN {
        return Err(StateError::Length { len: content.len() });
    }
    content.resize(AREA_LEN, b' ');
    Ok(content)
}

fn decode(content: &[u8]) -> Option<(State, u64)> {
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let header = std::str::from_utf8(content.get(..end)?).ok()?.strip_prefix(HEADER)?;
    let mut words = header.split_ascii_whitespace();
    let sequence = words.next()?.parse().ok()?;
    let digest = Digest::from_hex(words.next()?).ok()?;
    let len: usize = words.next()?.parse().ok()?;
    let json = content.get(end.checked_add(1)?..)?.get(..len)?;
    if Digest::of(json) != digest {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, sequence))
}

const fn offset(area: usize) -> u64 {
    if area == 0 { 0 } else { AREA_LEN as u64 }
}

/// Why the state cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
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
    /// The reference is too long.
    #[error("reference is {len} bytes, limit {REFERENCE_LEN_MAX}")]
    Reference {
        /// Its length.
        len: usize,
    },
    /// The state is too long.
    #[error("state is {len} bytes, limit {AREA_LEN}")]
    Length {
        /// Its length.
        len: usize,
    },
    /// The state has no JSON form.
    #[error("state: {cause}")]
    Encode {
        /// Why.
        cause: serde_json::Error,
    },
}

#[cfg(test)]
mod tests;
