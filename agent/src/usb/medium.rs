//! Reaching a stick's files: its file system is mounted for a moment, and seen by nobody else.
//!
//! The mount is taken away as soon as the top folder is open: the kernel keeps the file system for who
//! holds the folder, and a program that is killed leaves nothing mounted. Mounting writes nothing to the
//! stick, and nothing to the device but an empty folder below `/run`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_DIRECTORY, O_NONBLOCK};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{FileSystem, UsbError};
use crate::device::identity::DeviceNumber;
use crate::device::slots::running_device;
use crate::device::sysfs::Sysfs;
use crate::root::Root;

/// Where sticks are mounted for a moment.
const POINTS: &str = "/run/gybe/usb";

/// A stick whose files can be read.
#[derive(Debug)]
pub struct Medium {
    folder: OwnedFd,
    name: String,
}

/// What became of a stick that was looked at.
#[derive(Debug)]
pub enum Opened {
    /// Its files can be read.
    Medium(Medium),
    /// It is none of our business, for this reason.
    Nothing(String),
}

impl Medium {
    /// Its top folder.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Opens the stick at `device`. Below a folder another folder can stand for one that is mounted.
///
/// # Errors
/// [`UsbError`]: it cannot be looked at or mounted.
pub fn open(root: &Root, device: &Path) -> Result<Opened, UsbError> {
    let path = root.path(device);
    let name = device.display().to_string();
    let look = |cause| UsbError::Look { device: device.to_owned(), cause };
    let metadata = fs::metadata(&path).map_err(look)?;
    if metadata.is_dir() && !root.is_host() {
        let folder = folder(&path).map_err(look)?;
        return Ok(Opened::Medium(Medium { folder, name }));
    }
    if !metadata.file_type().is_block_device() {
        return Err(UsbError::NotADevice { device: device.to_owned() });
    }
    if is_own_disk(DeviceNumber::from_stat(metadata.rdev())) {
        let why = "it is on the disk of the running system, which is no stick";
        return Ok(Opened::Nothing(why.to_owned()));
    }
    let file = File::open(&path).map_err(look)?;
    let Some(kind) = FileSystem::of(&file).map_err(look)? else {
        let why = "it has no file system that is read from sticks: FAT, exFAT, ext4 or ISO 9660";
        return Ok(Opened::Nothing(why.to_owned()));
    };
    drop(file);
    let mounted = mounted(root, &path, kind);
    let mount = |cause| UsbError::Mount { device: device.to_owned(), kind: kind.name(), cause };
    Ok(Opened::Medium(Medium { folder: mounted.map_err(mount)?, name }))
}

/// Whether a device is on a disk on which the running system stands.
fn is_own_disk(number: DeviceNumber) -> bool {
    let sysfs = Sysfs::new("/sys");
    let disk = sysfs.disk_of(number);
    running_device(&sysfs).into_iter().any(|below| sysfs.disk_of(below) == disk)
}

/// The top folder of the file system on `device`.
fn mounted(root: &Root, device: &Path, kind: FileSystem) -> io::Result<OwnedFd> {
    let name = device.file_name().unwrap_or_default();
    let point: PathBuf = root.path(Path::new(POINTS)).join(name);
    fs::create_dir_all(&point)?;
    let flags = MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NOATIME;
    mount(Some(device), &point, Some(kind.name()), flags, Some(kind.options()))?;
    let folder = folder(&point);
    umount2(&point, MntFlags::MNT_DETACH)?;
    // An empty folder that stays hurts nobody.
    let _ = fs::remove_dir(&point);
    folder
}

fn folder(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    Ok(options.read(true).custom_flags(O_DIRECTORY | O_NONBLOCK).open(path)?.into())
}
