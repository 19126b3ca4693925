//! What was changed in `/etc` and would give way to a release, found before it is armed.
//!
//! The running system's changes are compared with the names of its own root and of the new one, which
//! are read from both slots without mounting anything. It is the rule of [`super::merge`]: where the
//! image made a folder of a file, or the reverse, and what lies there was changed here.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use gybe_core::slot::Slot;

use super::{FOLDER, UPPER};
use crate::config::SlotPaths;
use crate::device::partition::{PartitionError, RunningPartition};
use crate::erofs::{Erofs, ErofsError, Inode, Name};
use crate::replica::{self, Kind};
use crate::root::Root;

const ETC: &[u8] = b"etc";
/// The most conflicts that are named.
const CONFLICTS_MAX: usize = 16;

/// The paths that would give way if the release in `new` took over the changes of slot `running`,
/// whose partitions are `old`; at most 16.
///
/// # Errors
/// When one of the three cannot be read.
pub fn find(
    root: &Root,
    running: Slot,
    old: &SlotPaths,
    new: &SlotPaths,
) -> Result<Vec<String>, ConflictError> {
    let changes = root.path("/var").join(FOLDER).join(running.name()).join(UPPER);
    if !changes.is_dir() {
        return Ok(Vec::new());
    }
    let mut old = Image::open(&old.root)?;
    let mut new = Image::open(&new.root)?;
    let mut found = Vec::new();
    let mut left = vec![(PathBuf::from("/etc"), changes, old.etc()?, new.etc()?)];
    while let Some((shown, folder, in_old, in_new)) = left.pop() {
        let names_old = old.names(in_old)?;
        let names_new = new.names(in_new)?;
        let entries = replica::entries(&folder);
        for path in entries.map_err(|cause| ConflictError::Changes { path: folder, cause })? {
            let metadata = fs::symlink_metadata(&path);
            let metadata =
                metadata.map_err(|cause| ConflictError::Changes { path: path.clone(), cause })?;
            let name = path.file_name().unwrap_or_default();
            let shown = shown.join(name);
            let of = |names: &[Name]| names.iter().find(|it| it.name == name.as_bytes()).cloned();
            let (old, new) = (of(&names_old), of(&names_new));
            let is_folder = |name: &Option<Name>| name.as_ref().map(|name| name.is_folder);
            let image_changed = is_folder(&old) != is_folder(&new);
            match Kind::of(&metadata) {
                Kind::Whiteout => {}
                _ if image_changed && is_folder(&new) == Some(!metadata.is_dir()) => {
                    found.push(shown.display().to_string());
                }
                Kind::Folder => {
                    let inside = |name: Option<Name>| name.filter(|it| it.is_folder);
                    let inode = |name| inside(name).map(|name: Name| name.inode);
                    left.push((shown, path, inode(old), inode(new)));
                }
                _ => {}
            }
            if found.len() >= CONFLICTS_MAX {
                return Ok(found);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A slot's root.
struct Image(Erofs<RunningPartition>, PathBuf);

impl Image {
    fn open(path: &Path) -> Result<Self, ConflictError> {
        match Erofs::open(RunningPartition::open(path)?) {
            Ok(erofs) => Ok(Self(erofs, path.to_owned())),
            Err(cause) => Err(ConflictError::Image { path: path.to_owned(), cause }),
        }
    }

    fn etc(&mut self) -> Result<Option<Inode>, ConflictError> {
        let root = self.0.root();
        let found = self.0.find(root, ETC);
        let found = found.map_err(|cause| ConflictError::Image { path: self.1.clone(), cause })?;
        Ok(found.filter(|it| it.is_folder).map(|it| it.inode))
    }

    /// The names in a folder; none in one that does not exist.
    fn names(&mut self, folder: Option<Inode>) -> Result<Vec<Name>, ConflictError> {
        let Some(folder) = folder else { return Ok(Vec::new()) };
        let names = self.0.names(folder);
        names.map_err(|cause| ConflictError::Image { path: self.1.clone(), cause })
    }
}

/// Why it is not known what would give way.
#[derive(Debug, thiserror::Error)]
pub enum ConflictError {
    /// A partition cannot be read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A root cannot be read.
    #[error("{}: {cause}", path.display())]
    Image {
        /// Its partition.
        path: PathBuf,
        /// What is wrong with it.
        cause: ErofsError<PartitionError>,
    },
    /// The changes cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Changes {
        /// What.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}
