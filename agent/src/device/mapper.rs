//! The device mapper: makes and removes dm-verity devices.
//!
//! Source: Linux `include/uapi/linux/dm-ioctl.h` and
//! `Documentation/admin-guide/device-mapper/verity.rst`, read 2026-11.

#![allow(unsafe_code, reason = "nix knows nothing of the device mapper")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use gybe_core::digest::Digest;
use gybe_core::verity::{Geometry, SALT};
use nix::errno::Errno;
use nix::libc;

use super::identity::DeviceNumber;

/// Where devices get their names.
pub const FOLDER: &str = "/dev/mapper";
const CONTROL: &str = "/dev/mapper/control";

/// Length of the fixed part of a request: `struct dm_ioctl`.
const HEADER_LEN: usize = HEADER_LEN_FIELD as usize;
const HEADER_LEN_FIELD: u32 = 312;
/// Length of what stands before a target's arguments: `struct dm_target_spec`.
const TARGET_LEN: usize = 40;
/// Room for one target with its arguments.
const REQUEST_LEN: usize = REQUEST_LEN_FIELD as usize;
const REQUEST_LEN_FIELD: u32 = 1024;
/// `DM_IOCTL`, the family of these requests.
const FAMILY: u8 = 0xfd;
const VERSION: [u32; 3] = [4, 0, 0];
const READ_ONLY: u32 = 1;
/// Says to udev's rules for the device mapper that this event is the one that counts
/// (`DM_UDEV_PRIMARY_SOURCE_FLAG`). Without it systemd takes the device for one that is not ready.
const EVENT_IS_PRIMARY: u32 = 0x0040 << 16;

const _: () = assert!(HEADER_LEN.is_multiple_of(8) && TARGET_LEN.is_multiple_of(8));

/// What is asked of the device mapper.
#[derive(Clone, Copy)]
enum Request {
    Create = 3,
    Remove = 4,
    Resume = 6,
    LoadTable = 9,
}

/// One request, in the form that the kernel reads and answers in.
#[repr(C, align(8))]
struct Message([u8; REQUEST_LEN]);

/// A dm-verity device to be made: a tree behind its data, on one partition.
#[derive(Clone, Copy, Debug)]
pub struct Verity<'a> {
    /// What it shall be called.
    pub name: &'a str,
    /// The partition.
    pub on: DeviceNumber,
    /// The root hash.
    pub root_hash: &'a Digest,
    /// Where data and tree lie. The superblock is right behind the data.
    pub geometry: Geometry,
}

/// Makes the device, read-only, and gives it its name below [`FOLDER`] where udev has not.
///
/// # Errors
/// When the kernel cannot: [`MapperError`] says what it lacks. Nothing is left behind.
pub fn open(verity: &Verity<'_>) -> Result<DeviceNumber, MapperError> {
    let failed = |doing| move |cause| MapperError::Request { doing, cause };
    let control = OpenOptions::new().read(true).write(true).open(CONTROL);
    let control = control.map_err(|cause| MapperError::NoControl { cause })?;
    let mut message = Message::new(verity.name);
    message.put_text(176, &format!("CRYPT-VERITY-{}-{}", verity.root_hash.hex(), verity.name));
    message.send(&control, Request::Create).map_err(failed("make the device"))?;
    let number = DeviceNumber::from_stat(message.u64_at(40));
    match activate(&control, verity).and_then(|()| name(verity.name, number)) {
        Ok(()) => Ok(number),
        Err(cause) => {
            // The first error says more than one that comes of tidying up.
            let _ = Message::new(verity.name).send(&control, Request::Remove);
            Err(cause)
        }
    }
}

/// Removes the device `name`, which nothing uses any more.
///
/// # Errors
/// When the kernel does not.
pub fn close(name: &str) -> Result<(), MapperError> {
    let control = OpenOptions::new().read(true).write(true).open(CONTROL);
    let control = control.map_err(|cause| MapperError::NoControl { cause })?;
    let removed = Message::new(name).send(&control, Request::Remove);
    removed.map_err(|cause| MapperError::Request { doing: "remove the device", cause })?;
    match fs::remove_file(Path::new(FOLDER).join(name)) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(MapperError::Name { path: Path::new(FOLDER).join(name), cause })
        }
        _ => Ok(()),
    }
}

fn activate(control: &File, verity: &Verity<'_>) -> Result<(), MapperError> {
    let mut message = Message::new(verity.name);
    message.put_u32(20, 1); // one target
    message.put_u32(28, READ_ONLY);
    let blocks = verity.geometry.data_blocks();
    message.put(HEADER_LEN + 8, &blocks.saturating_mul(8).to_le_bytes());
    message.put_text(HEADER_LEN + 24, "verity");
    message.put_text(HEADER_LEN + TARGET_LEN, &table(verity));
    message.send(control, Request::LoadTable).map_err(|cause| match cause {
        Errno::EINVAL if !Path::new("/sys/module/dm_verity").exists() => MapperError::NoVerity,
        cause => MapperError::Request { doing: "load the verity table", cause },
    })?;
    let mut message = Message::new(verity.name);
    message.put_u32(32, EVENT_IS_PRIMARY);
    let resumed = message.send(control, Request::Resume);
    resumed.map_err(|cause| MapperError::Request { doing: "start the device", cause })
}

/// The target's arguments: hash type 1, both devices, block lengths, data blocks, the block where
/// the tree begins, algorithm, root and salt.
fn table(verity: &Verity<'_>) -> String {
    let Verity { on, root_hash, geometry, .. } = verity;
    let blocks = geometry.data_blocks();
    let tree = blocks.saturating_add(1);
    let salt = Digest::new(SALT);
    format!("1 {on} {on} 4096 4096 {blocks} {tree} sha256 {} {}", root_hash.hex(), salt.hex())
}

/// Names the device, unless udev was faster.
fn name(name: &str, number: DeviceNumber) -> Result<(), MapperError> {
    let path = Path::new(FOLDER).join(name);
    match symlink(format!("../dm-{}", number.minor), &path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            Err(MapperError::Name { path, cause })
        }
        _ => Ok(()),
    }
}

impl Message {
    fn new(name: &str) -> Self {
        let mut message = Self([0; REQUEST_LEN]);
        for (index, number) in VERSION.into_iter().enumerate() {
            message.put_u32(index.saturating_mul(4), number);
        }
        message.put_u32(12, REQUEST_LEN_FIELD);
        message.put_u32(16, HEADER_LEN_FIELD);
        message.put_text(48, name);
        message
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let room = at.checked_add(bytes.len()).and_then(|end| self.0.get_mut(at..end));
        debug_assert!(room.is_some(), "a request has room for all that is put into it");
        if let Some(room) = room {
            room.copy_from_slice(bytes);
        }
    }

    fn put_u32(&mut self, at: usize, number: u32) {
        self.put(at, &number.to_ne_bytes());
    }

    /// Puts a text; the NUL behind it is there already.
    fn put_text(&mut self, at: usize, text: &str) {
        self.put(at, text.as_bytes());
    }

    fn u64_at(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    fn send(&mut self, control: &File, request: Request) -> Result<(), Errno> {
        let code = nix::request_code_readwrite!(FAMILY, request as u8, HEADER_LEN);
        // SAFETY: the kernel reads and writes at most the `data_size` bytes that the message says
        // it has, which is the length of the array the pointer leads to; the array is aligned as
        // `struct dm_ioctl` is, outlives the call, and nobody else holds a reference to it.
        let result = unsafe { libc::ioctl(control.as_raw_fd(), code, self.0.as_mut_ptr()) };
        Errno::result(result).map(drop)
    }
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum MapperError {
    /// The kernel has no device mapper.
    #[error("cannot open {CONTROL}: {cause}; is the module dm_mod loaded?")]
    NoControl {
        /// What the system says.
        cause: io::Error,
    },
    /// The kernel has no dm-verity.
    #[error("the kernel knows no dm-verity; is the module dm_verity loaded?")]
    NoVerity,
    /// A request was refused.
    #[error("device mapper: cannot {doing}: {cause}")]
    Request {
        /// What was asked.
        doing: &'static str,
        /// What the kernel says.
        cause: Errno,
    },
    /// The device is there, and has no name.
    #[error("cannot make {}: {cause}", path.display())]
    Name {
        /// The name.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_veritysetup_loads() {
        // `veritysetup format` and `open` of 300 blocks with this salt, then `dmsetup table`.
        let verity = Verity {
            name: "root",
            on: DeviceNumber { major: 254, minor: 2 },
            root_hash: &Digest::of(b""),
            geometry: Geometry::new(300).unwrap(),
        };
        assert_eq!(
            table(&verity),
            "1 254:2 254:2 4096 4096 300 301 sha256 \
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 \
             c63134071b7a8ff456c5537509d11ab69c8bf2c12f3ce40f8c5deb0840370f11"
        );
    }

    #[test]
    fn a_request_has_what_the_kernel_looks_for() {
        let mut message = Message::new("root");
        message.put_u32(28, READ_ONLY);
        assert_eq!(message.0[..4], 4u32.to_ne_bytes());
        assert_eq!(message.0[12..16], 1024u32.to_ne_bytes());
        assert_eq!(message.0[16..20], 312u32.to_ne_bytes());
        assert_eq!(message.0[28..32], 1u32.to_ne_bytes());
        assert_eq!(message.0[48..53], *b"root\0");
    }
}
