//! A root file system that lies in a folder, as debootstrap, mmdebstrap or Yocto leave it.
//!
//! What the kernel shows is what counts, so owners are right only for whoever made the folder: its
//! user namespace, or root. Files are copied to the spool while they are hashed: what changes
//! afterwards changes nothing. What is left out, and why, stands in `docs/formats/tree.md`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::Spool;
use crate::content::Content;
use crate::layers::{HEADERS_LEN_MAX, Options};
use crate::spool::Filling;
use crate::tar::{CHUNKING_HINTS, PATH_LEN_MAX};
use crate::tree::{Device, Kind, Meta, Node, NodeId, Tree};

/// Labels of the machine on which the folder lies, which say nothing about the device.
const SELINUX: &[u8] = b"security.selinux";

/// What a folder became.
#[derive(Debug)]
pub struct Folder {
    /// The tree.
    pub tree: Tree,
    /// The bytes of its files.
    pub spool: Spool,
    /// Sockets, which are left out: whoever listens on one makes it.
    pub skipped: Vec<PathBuf>,
}

/// Reads the root file system in the folder `root`. Only the limits of `options` that are not
/// about tar files matter.
///
/// # Errors
/// [`FolderError`] names the path.
pub fn load(root: &Path, options: &Options) -> Result<Folder, FolderError> {
    let read = |cause| FolderError::Read { path: root.to_owned(), cause };
    let stat = fs::metadata(root).map_err(read)?;
    let filling = Filling::new(0, options.spool_directory.as_deref())
        .map_err(|cause| FolderError::Spool { cause })?;
    let mut walk = Walk {
        root,
        options,
        file_system: stat.dev(),
        tree: Tree::new(Meta::implied()),
        names: HashMap::new(),
        filling,
        skipped: Vec::new(),
        entry_count: 0,
        headers_len: 0,
        contents_len: 0,
    };
    let top = walk.tree.root();
    walk.tree.node_mut(top).meta = walk.meta(root, &stat)?;
    walk.run()?;
    let Walk { tree, filling, skipped, .. } = walk;
    Ok(Folder { tree, spool: Spool(vec![filling.finish()]), skipped })
}

struct Walk<'a> {
    root: &'a Path,
    options: &'a Options,
    file_system: u64,
    tree: Tree,
    /// What has more names than one, by device and inode.
    names: HashMap<(u64, u64), NodeId>,
    filling: Filling,
    skipped: Vec<PathBuf>,
    entry_count: usize,
    headers_len: usize,
    contents_len: u64,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), FolderError> {
        let mut open = vec![(Vec::new(), self.tree.root())];
        while let Some((below, directory)) = open.pop() {
            for name in self.list(&below)? {
                let slash: &[u8] = if below.is_empty() { b"" } else { b"/" };
                let path = [&below, slash, name.as_bytes()].concat();
                let Some(node) = self.node(&path)? else { continue };
                self.tree.insert(directory, name.as_bytes(), node);
                if self.tree.node(node).is_directory() && !self.options.emptied.contains(&path) {
                    open.push((path, node));
                }
            }
        }
        Ok(())
    }

    /// The names in a directory, in order: what is read first is spooled first.
    fn list(&self, below: &[u8]) -> Result<Vec<OsString>, FolderError> {
        let path = self.path(below);
        let read = |cause| FolderError::Read { path: path.clone(), cause };
        let names =
            fs::read_dir(&path).map_err(read)?.map(|entry| Ok(entry.map_err(read)?.file_name()));
        let mut names = names.collect::<Result<Vec<_>, FolderError>>()?;
        names.sort();
        Ok(names)
    }

    fn path(&self, below: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(below))
    }

    /// The node at a path; `None` if it is left out.
    fn node(&mut self, below: &[u8]) -> Result<Option<NodeId>, FolderError> {
        let path = self.path(below);
        let read = |cause| FolderError::Read { path: path.clone(), cause };
        let stat = fs::symlink_metadata(&path).map_err(read)?;
        let kind = stat.file_type();
        if kind.is_socket() {
            self.skipped.push(path);
            return Ok(None);
        }
        if below.len() > PATH_LEN_MAX {
            return Err(FolderError::PathLen { path, len: below.len() });
        }
        self.count(&path, below.len())?;
        let identity = (stat.dev(), stat.ino());
        if let Some(known) = self.names.get(&identity) {
            return Ok(Some(*known));
        }
        let kind = if kind.is_dir() {
            if stat.dev() != self.file_system {
                return Err(FolderError::Mounted { path });
            }
            Kind::Directory(BTreeMap::new())
        } else if kind.is_symlink() {
            Kind::Symlink(fs::read_link(&path).map_err(read)?.into_os_string().into_vec())
        } else if kind.is_char_device() {
            Kind::CharDevice(device(stat.rdev()))
        } else if kind.is_block_device() {
            Kind::BlockDevice(device(stat.rdev()))
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            Kind::File(self.content(&path, &stat)?)
        };
        let mut meta = self.meta(&path, &stat)?;
        if let Kind::Symlink(target) = &kind {
            self.count_headers(&path, target.len())?;
            meta.mode = 0o777;
        }
        let is_directory = matches!(kind, Kind::Directory(_));
        let node = self.tree.add(Node { meta, kind });
        if stat.nlink() > 1 && !is_directory {
            self.names.insert(identity, node);
        }
        Ok(Some(node))
    }

    /// Spools the content of a file, which must not change meanwhile.
    fn content(&mut self, path: &Path, stat: &Metadata) -> Result<Content, FolderError> {
        let read = |cause| FolderError::Read { path: path.to_owned(), cause };
        let changed = || FolderError::Changed { path: path.to_owned() };
        self.contents_len = self.contents_len.saturating_add(stat.len());
        let limit = self.options.layer_len_max;
        if self.contents_len > limit {
            let path = path.to_owned();
            return Err(FolderError::Contents { path, len: self.contents_len, limit });
        }
        let file = File::open(path).map_err(read)?;
        let same = |other: &Metadata| {
            let seen = |stat: &Metadata| {
                (stat.dev(), stat.ino(), stat.len(), stat.mtime(), stat.mtime_nsec())
            };
            seen(other) == seen(stat)
        };
        if !same(&file.metadata().map_err(read)?) {
            return Err(changed());
        }
        let content = self.filling.add(&file, stat.len()).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => read(cause),
        })?;
        if same(&file.metadata().map_err(read)?) { Ok(content) } else { Err(changed()) }
    }

    fn meta(&mut self, path: &Path, stat: &Metadata) -> Result<Meta, FolderError> {
        Ok(Meta {
            mode: u16::try_from(stat.mode() & 0o7777).unwrap_or(0),
            uid: stat.uid(),
            gid: stat.gid(),
            mtime_s: stat.mtime(),
            mtime_ns: u32::try_from(stat.mtime_nsec()).unwrap_or(0),
            xattrs: self.xattrs(path)?,
        })
    }

    fn xattrs(&mut self, path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, FolderError> {
        let read = |cause| FolderError::Read { path: path.to_owned(), cause };
        let mut found = BTreeMap::new();
        let names = match xattr::list(path) {
            // A file system without any.
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => return Ok(found),
            names => names.map_err(read)?,
        };
        for name in names {
            let bytes = name.as_bytes();
            if bytes == SELINUX || CHUNKING_HINTS.contains(&bytes) {
                continue;
            }
            // As in tar files: an empty one is none.
            let value = xattr::get(path, &name).map_err(read)?.unwrap_or_default();
            self.count_headers(path, bytes.len().saturating_add(value.len()))?;
            if !value.is_empty() {
                found.insert(name.into_vec(), value);
            }
        }
        Ok(found)
    }

    fn count(&mut self, path: &Path, name_len: usize) -> Result<(), FolderError> {
        self.entry_count = self.entry_count.saturating_add(1);
        let limit = self.options.entry_count_max;
        if self.entry_count > limit {
            return Err(FolderError::Entries { path: path.to_owned(), limit });
        }
        self.count_headers(path, name_len)
    }

    fn count_headers(&mut self, path: &Path, len: usize) -> Result<(), FolderError> {
        self.headers_len = self.headers_len.saturating_add(len);
        let (len, limit) = (self.headers_len, HEADERS_LEN_MAX);
        if len > limit {
            return Err(FolderError::Headers { path: path.to_owned(), len, limit });
        }
        Ok(())
    }
}

/// A device number as `stat` gives it. Source: glibc, `bits/sysmacros.h`.
fn device(number: u64) -> Device {
    let major = ((number >> 8) & 0xfff) | ((number >> 32) & 0xffff_f000);
    let minor = (number & 0xff) | ((number >> 12) & 0xffff_ff00);
    // Linux has 12 and 20 bits for them.
    let [major, minor] = [major, minor].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
    Device { major, minor }
}

/// Why a folder is not read as a root file system.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something in it cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The spool cannot be made.
    #[error("cannot spool: {cause}")]
    Spool {
        /// What the system says.
        cause: io::Error,
    },
    /// Something else is mounted in it.
    #[error("{} is on another file system: unmount it, or give a tar file", path.display())]
    Mounted {
        /// Where.
        path: PathBuf,
    },
    /// A file changed while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A path is too long.
    #[error("{}: path is {len} bytes, limit {PATH_LEN_MAX}", path.display())]
    PathLen {
        /// Which.
        path: PathBuf,
        /// How long it is below the folder.
        len: usize,
    },
    /// There are too many entries.
    #[error("{}: more than {limit} entries", path.display())]
    Entries {
        /// The first that is too many.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Names and attributes are too long together.
    #[error("{}: names and attributes are {len} bytes and more, limit {limit}", path.display())]
    Headers {
        /// Where they become too long.
        path: PathBuf,
        /// How long they are so far.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The files are too long together.
    #[error("{}: contents are {len} bytes and more, limit {limit}", path.display())]
    Contents {
        /// Where they become too long.
        path: PathBuf,
        /// How long they are so far.
        len: u64,
        /// The limit.
        limit: u64,
    },
}

#[cfg(test)]
mod tests;
