//! Boot target v1: kernel, initramfs, device trees and the signed command line, on FAT.
//!
//! `docs/formats/boot-target.md` specifies it. It says nothing about a slot: the same bytes are
//! written to A and to B.

use std::sync::Arc;

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::Digest;

use crate::bootc::Bootable;
use crate::fat::{self, FatError, File, SectorLen};
use crate::target::{Source, Target};

mod files;

pub use files::{BootFile, Files, FilesError, Form};

/// Name of the target.
pub const TARGET_NAME: &str = "boot";

/// Longest command line that is signed. Linux takes 2048 bytes on x86 and arm64; the rest is for
/// what the loader adds.
pub const COMMAND_LINE_LEN_MAX: usize = 1536;

/// First line of GRUB's environment files. U-Boot takes it, and the filling, for comments.
const ENVIRONMENT_BEGIN: &str = "# GRUB Environment Block\n";
const ENVIRONMENT_LEN_UNIT: usize = 1024;
const ENVIRONMENT_FILLING: u8 = b'#';

/// Version of this format, `gybe_format`.
const FORMAT: u32 = 1;

/// What stands before the image's own arguments, so that those have the last word: a device that
/// nobody stands beside starts again, where a workstation would ask what to do.
const BEFORE: &str = "panic=10 rd.emergency=reboot rd.shell=0";

/// The root target that the command line binds a boot to.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// Its verity root hash.
    pub hash: Digest,
    /// Its length in blocks. The verity superblock follows it.
    pub blocks: u64,
}

/// Lays out what boots an image with the root target `root`. `files` were made from the same
/// `bootable`.
///
/// # Errors
/// When the command line is too long, or a file cannot be stored; [`BootError`] says which.
pub fn layout(
    bootable: &Bootable,
    files: &Files,
    root: &Root,
    sector: SectorLen,
) -> Result<Target, BootError> {
    let file = |path: &str, source| File { path: path.into(), source };
    let bytes = |bytes: Vec<u8>| Source::Bytes(Arc::from(bytes));
    let Files { kernel, initramfs, .. } = files;
    let sums =
        format!("{}  vmlinuz\n{}  initrd.img\n", kernel.digest.hex(), initramfs.digest.hex());
    let mut all = vec![
        file("gybe.env", bytes(environment(bootable, files, root)?)),
        file("sha256.sum", bytes(sums.into_bytes())),
        file("vmlinuz", kernel.source.clone()),
        file("initrd.img", initramfs.source.clone()),
    ];
    all.extend(bootable.device_trees.iter().map(|(path, content)| File {
        path: format!("dtb/{path}"),
        source: Source::Content(content.clone()),
    }));
    Ok(fat::layout(TARGET_NAME, all, sector)?)
}

/// The signed command line: what makes a device start again by itself, the image's arguments, then
/// which root file system is meant. It is the same for both slots; the loader appends what tells
/// them apart.
///
/// # Errors
/// When it is too long.
pub fn command_line(kargs: &[String], root: &Root) -> Result<String, BootError> {
    let mut line = format!("{BEFORE} ");
    for argument in kargs.iter().flat_map(|argument| argument.split_ascii_whitespace()) {
        line.push_str(argument);
        line.push(' ');
    }
    line.push_str(&format!(
        "root=/dev/mapper/root ro rootfstype=erofs roothash={} \
         systemd.verity_root_options=hash-offset={}",
        root.hash.hex(),
        root.blocks.saturating_mul(BLOCK_LEN_U64),
    ));
    if line.len() > COMMAND_LINE_LEN_MAX {
        return Err(BootError::CommandLine { found: line.len(), limit: COMMAND_LINE_LEN_MAX });
    }
    Ok(line)
}

/// `gybe.env`: what the loader reads.
fn environment(bootable: &Bootable, files: &Files, root: &Root) -> Result<Vec<u8>, BootError> {
    let mut text = format!(
        "{ENVIRONMENT_BEGIN}gybe_format={FORMAT}\ngybe_cmdline={}\ngybe_kernel_sha256={}\n\
         gybe_initrd_sha256={}\n",
        command_line(&bootable.kargs, root)?,
        files.kernel.digest.hex(),
        files.initramfs.digest.hex(),
    )
    .into_bytes();
    text.resize(text.len().next_multiple_of(ENVIRONMENT_LEN_UNIT), ENVIRONMENT_FILLING);
    Ok(text)
}

/// Why a boot target cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// The command line is too long.
    #[error("signed command line has {found} bytes, limit {limit}")]
    CommandLine {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A file cannot be stored.
    #[error("boot: {0}")]
    Fat(#[from] FatError),
}
