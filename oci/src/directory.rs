//! A layout in a directory. The directory is opened once, and no link is followed in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use gybe_core::digest::Digest;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// What lies in a folder under some name.
#[derive(Debug)]
pub(crate) enum Entry {
    Folder(OwnedFd),
    File(File),
}

impl Entry {
    /// Opens it without following a link, and without waiting for a pipe's other end.
    pub(crate) fn open(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<Self> {
        let file = open_entry(folder, name)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            Ok(Self::Folder(file.into()))
        } else if kind.is_file() {
            Ok(Self::File(file))
        } else {
            Err(io::Error::other("is neither a folder nor a regular file"))
        }
    }
}

/// A layout's directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { root: open(path, flags, Mode::empty())? })
    }

    pub(crate) const fn of(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Opens a regular file that lies in the directory itself.
    pub(crate) fn file(&self, name: &str) -> io::Result<(File, u64)> {
        regular(&self.root, name)
    }

    /// Opens a blob.
    pub(crate) fn blob(&self, digest: &Digest) -> io::Result<(File, u64)> {
        regular(self.blobs()?, &digest.hex().to_string())
    }

    /// Digests of the blobs that there are, at most `limit`, in order.
    pub(crate) fn digests(&self, limit: usize) -> io::Result<Vec<Digest>> {
        let mut blobs = nix::dir::Dir::from_fd(self.blobs()?)?;
        let mut digests = Vec::new();
        for entry in blobs.iter() {
            let name = entry?;
            let digest = name.file_name().to_str().ok().and_then(|hex| Digest::from_hex(hex).ok());
            digests.extend(digest);
            if digests.len() > limit {
                break;
            }
        }
        digests.sort_unstable();
        digests.truncate(limit);
        Ok(digests)
    }

    fn blobs(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let blobs = openat(&self.root, "blobs", flags, Mode::empty())?;
        Ok(openat(&blobs, "sha256", flags, Mode::empty())?)
    }
}

fn regular(directory: impl AsFd, name: &str) -> io::Result<(File, u64)> {
    let file = open_entry(directory, OsStr::new(name))?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// Opens a file without following a link, and without waiting for a pipe's other end.
fn open_entry(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(nix::Error::ELOOP) => Err(io::Error::other("is a symbolic link")),
        file => Ok(File::from(file?)),
    }
}
