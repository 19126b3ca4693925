//! What a path really is: two names of one device are the same device.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::{fmt, io};

/// The number of a device, as the kernel prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u64,
    /// The device of that driver.
    pub minor: u64,
}

impl DeviceNumber {
    /// The number in `st_dev` or `st_rdev`.
    #[must_use]
    pub const fn from_stat(number: u64) -> Self {
        Self { major: nix::sys::stat::major(number), minor: nix::sys::stat::minor(number) }
    }

    /// The number in the kernel's own spelling, `8:1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Whether the kernel made the number up for a file system without a device.
    #[must_use]
    pub const fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What tells one medium from another, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A block device.
    Device(DeviceNumber),
    /// A plain file.
    File {
        /// The device of the file system that holds it.
        device: u64,
        /// Its number there.
        inode: u64,
    },
}

impl Identity {
    /// The identity of what `metadata` describes, unless it is neither device nor plain file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let kind = metadata.file_type();
        if kind.is_block_device() {
            Some(Self::Device(DeviceNumber::from_stat(metadata.rdev())))
        } else if kind.is_file() {
            Some(Self::File { device: metadata.dev(), inode: metadata.ino() })
        } else {
            None
        }
    }

    /// The identity of what lies at `path`.
    ///
    /// # Errors
    /// What the system says; what is neither device nor plain file is `InvalidInput`.
    pub fn at(path: &PathBuf) -> io::Result<Self> {
        Self::of(&std::fs::metadata(path)?).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_prints_them() {
        let number = DeviceNumber { major: 259, minor: 3 };
        assert_eq!(DeviceNumber::parse("259:3\n"), Some(number));
        assert_eq!(number.to_string(), "259:3");
        assert_eq!(DeviceNumber::parse("259"), None);
        assert_eq!(DeviceNumber::parse("259:x"), None);
        assert!(DeviceNumber { major: 0, minor: 30 }.is_anonymous());
    }

    #[test]
    fn a_link_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, other] = ["file", "link", "other"].map(|name| folder.path().join(name));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(Identity::at(&file).unwrap(), Identity::at(&link).unwrap());
        assert_ne!(Identity::at(&file).unwrap(), Identity::at(&other).unwrap());
        let folder = folder.path().to_owned();
        assert_eq!(Identity::at(&folder).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
