//! A file, folder, link or device node copied with everything that belongs to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown, symlink,
};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

/// What overlayfs notes down for itself; it has no meaning anywhere else.
const OVERLAY_XATTRS: [&str; 2] = ["trusted.overlay.", "user.overlay."];
/// The mode bits that are copied.
const MODE_MASK: u32 = 0o7777;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A character device 0:0: overlayfs hides the name with it.
    Whiteout,
    /// A device, a pipe or a socket.
    Special,
}

impl Kind {
    /// What `metadata` describes.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            Self::Link
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            Self::Whiteout
        } else {
            Self::Special
        }
    }
}

/// Who owns a node, and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, with the special bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
    /// Extended attributes, without those of overlayfs.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

impl Attributes {
    /// Those of what lies at `path`, which `metadata` describes.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        let mut xattrs = BTreeMap::new();
        for name in list(path)? {
            let text = name.to_string_lossy();
            if OVERLAY_XATTRS.iter().any(|prefix| text.starts_with(prefix)) {
                continue;
            }
            // A name may be gone by the time that it is asked for.
            if let Some(value) = xattr::get(path, &name)? {
                xattrs.insert(name, value);
            }
        }
        let mode = metadata.mode() & MODE_MASK;
        Ok(Self { mode, owner: metadata.uid(), group: metadata.gid(), xattrs })
    }

    /// Gives them to what lies at `path`. The order matters: a new owner takes away special bits
    /// and capabilities.
    ///
    /// # Errors
    /// What the system says.
    pub fn apply(&self, path: &Path, kind: Kind) -> io::Result<()> {
        lchown(path, Some(self.owner), Some(self.group))?;
        if kind != Kind::Link {
            fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        }
        for name in list(path)? {
            if !self.xattrs.contains_key(&name) {
                xattr::remove(path, &name)?;
            }
        }
        for (name, value) in &self.xattrs {
            if xattr::get(path, name)?.as_ref() != Some(value) {
                xattr::set(path, name, value)?;
            }
        }
        Ok(())
    }
}

fn list(path: &Path) -> io::Result<Vec<OsString>> {
    match xattr::list(path) {
        Ok(names) => Ok(names.collect()),
        Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(Vec::new()),
        Err(cause) => Err(cause),
    }
}

/// Copies what lies at `from` to `to`, where nothing may be; of a folder only itself.
///
/// # Errors
/// What the system says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    copy_with(from, &metadata, to, &Attributes::read(from, &metadata)?)
}

/// As [`copy`], with other attributes.
///
/// # Errors
/// What the system says.
pub fn copy_with(
    from: &Path,
    metadata: &Metadata,
    to: &Path,
    attributes: &Attributes,
) -> io::Result<()> {
    let kind = Kind::of(metadata);
    match kind {
        Kind::File => {
            let mut options = OpenOptions::new();
            let mut copied = options.write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut File::open(from)?, &mut copied)?;
        }
        Kind::Folder => fs::create_dir(to)?,
        Kind::Link => symlink(fs::read_link(from)?, to)?,
        Kind::Whiteout | Kind::Special => {
            let kind = SFlag::from_bits_truncate(metadata.mode() & SFlag::S_IFMT.bits());
            mknod(to, kind, Mode::empty(), metadata.rdev())?;
        }
    }
    attributes.apply(to, kind)?;
    let time = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
    utimensat(nix::fcntl::AT_FDCWD, to, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// What is in a folder, sorted, so that the same folder is always walked in the same way.
///
/// # Errors
/// What the system says.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// Copies what lies at `from` to `to` with everything below it for which `wanted` says so.
/// Sockets are left out: they mean nothing without the program that made them.
///
/// # Errors
/// What the system says; where a copy was begun it is left behind.
pub fn copy_tree(from: &Path, to: &Path, wanted: &dyn Fn(Kind) -> bool) -> io::Result<()> {
    let mut left = vec![(from.to_owned(), to.to_owned())];
    let mut folders = Vec::new();
    while let Some((from, to)) = left.pop() {
        let metadata = fs::symlink_metadata(&from)?;
        if !wanted(Kind::of(&metadata)) || metadata.file_type().is_socket() {
            continue;
        }
        copy(&from, &to)?;
        if metadata.is_dir() {
            for path in entries(&from)? {
                let name = path.file_name().unwrap_or_default().to_owned();
                left.push((path, to.join(name)));
            }
            folders.push((to, metadata));
        }
    }
    // Whatever was put into a folder changed its time.
    for (to, metadata) in folders {
        let time = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
        utimensat(nix::fcntl::AT_FDCWD, &to, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}

/// Removes what lies at `path`, with everything below it; nothing there is no error.
///
/// # Errors
/// What the system says.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(cause) => Err(cause),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Makes everything durable that was written to the file system that holds `path`.
///
/// # Errors
/// What the system says.
pub fn sync(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_owner_mode_time_and_attributes() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(from.join("sub"), Permissions::from_mode(0o2750)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        let is_set = xattr::set(from.join("sub/file"), "user.note", b"kept").is_ok();
        let time = TimeSpec::new(1_000_000_000, 123);
        for name in ["sub/file", "sub", "link"] {
            let path = from.join(name);
            utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, UtimensatFlags::NoFollowSymlink)
                .unwrap();
        }
        copy_tree(&from, &to, &|_| true).unwrap();
        assert_eq!(fs::read_to_string(to.join("sub/file")).unwrap(), "content");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        for (name, mode) in [("sub/file", 0o100_640), ("sub", 0o42_750), ("link", 0o120_777)] {
            let metadata = fs::symlink_metadata(to.join(name)).unwrap();
            assert_eq!((metadata.mode(), metadata.mtime()), (mode, 1_000_000_000), "{name}");
        }
        if is_set {
            let copied = xattr::get(to.join("sub/file"), "user.note").unwrap();
            assert_eq!(copied.as_deref(), Some(&b"kept"[..]));
        }
        remove_tree(&to).unwrap();
        remove_tree(&to).unwrap();
        copy_tree(&from, &to, &|kind| matches!(kind, Kind::Folder | Kind::Link)).unwrap();
        assert!(to.join("sub").is_dir() && !to.join("sub/file").exists());
    }
}
