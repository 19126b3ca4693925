//! What the kernel is asked while partitions are in use: a longer partition, a longer file system.
//!
//! Source: Linux `include/uapi/linux/blkpg.h` and `include/uapi/linux/ext4.h`, read 2026-11.

#![allow(unsafe_code, reason = "nix knows neither BLKPG nor the ioctls of ext4")]

use std::ffi::{c_int, c_longlong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::statvfs::statvfs;

use super::plan::Plan;

const BLKPG_RESIZE_PARTITION: c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Request {
    what: c_int,
    flags: c_int,
    data_len: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition`; positions in bytes.
#[repr(C)]
struct Partition {
    start: c_longlong,
    len: c_longlong,
    index: c_int,
    names: [u8; 128],
}

/// Tells the kernel how long the state partition is now. What it knows already it is told again.
pub(super) fn resize_partition(disk: &File, plan: &Plan, sector_len: u64) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start: plan.first.saturating_mul(sector_len).try_into().map_err(invalid)?,
        len: plan.state_len(sector_len).try_into().map_err(invalid)?,
        index: plan.index.try_into().map_err(invalid)?,
        names: [0; 128],
    };
    let mut request = Request {
        what: BLKPG_RESIZE_PARTITION,
        flags: 0,
        data_len: size_of::<Partition>().try_into().map_err(invalid)?,
        data: (&raw mut partition).cast(),
    };
    let code = nix::request_code_none!(0x12, 105);
    // SAFETY: the kernel reads a `struct blkpg_ioctl_arg` and, through its pointer, a `struct
    // blkpg_partition`. Both have the layout that it expects, are on this stack frame and outlive
    // the call; it keeps neither.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), code, &raw mut request) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Grows the ext4 that is mounted at `point` to `len` bytes; how long it is then, if it has grown.
pub(super) fn resize_file_system(point: &Path, len: u64) -> io::Result<Option<u64>> {
    let before = statvfs(point)?;
    let block_len = before.block_size();
    let blocks: u64 = len.checked_div(block_len).unwrap_or(0);
    let folder = File::open(point)?;
    let code = nix::request_code_write!(b'f', 16, size_of::<u64>());
    // SAFETY: the kernel reads one `__u64` through the pointer, which leads to a variable that
    // outlives the call, and keeps nothing.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), code, &raw const blocks) };
    Errno::result(result)?;
    let after = statvfs(point)?;
    Ok((after.blocks() > before.blocks()).then(|| blocks.saturating_mul(block_len)))
}
