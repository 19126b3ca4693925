//! Whether a loader can load a slot: what the scripts check, and that its root is there at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gybe_core::boot::CMDLINE_VARIABLE;
use gybe_core::digest::{Digest, Hasher};

use super::MachineError;
use super::bare::{self, UnusableTrailer};
use crate::fat::{Fat, Place};

/// Where an EROFS superblock begins with its magic number.
const EROFS_AT: u64 = 1024;
const EROFS_MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();
/// Longest `gybe.env`.
const ENV_LEN_MAX: u64 = 64 * 1024;
/// Names of a boot target's files, and how they stand in its root folder.
const ENV: (&str, &[u8; 11]) = ("gybe.env", b"GYBE    ENV");
const KERNEL: (&str, &[u8; 11]) = ("vmlinuz", b"VMLINUZ    ");
const INITRAMFS: (&str, &[u8; 11]) = ("initrd.img", b"INITRD  IMG");
/// The files whose digests `gybe.env` has, and in which variable.
const CHECKED: [((&str, &[u8; 11]), &str); 2] =
    [(KERNEL, "gybe_kernel_sha256"), (INITRAMFS, "gybe_initrd_sha256")];

/// Why a slot cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Unloadable {
    /// The configuration does not say where it is.
    #[error("{0}")]
    Machine(MachineError),
    /// A target cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The boot target does not begin with a FAT boot sector.
    #[error("boot target is no FAT")]
    NoFat,
    /// The root target has no EROFS superblock.
    #[error("root target is no EROFS")]
    NoErofs,
    /// The trailer does not say what the kernel is to be told.
    #[error(transparent)]
    Trailer(#[from] UnusableTrailer),
    /// The boot target lacks a file.
    #[error("boot target has no {name}")]
    NoFile {
        /// Its name.
        name: &'static str,
    },
    /// `gybe.env` is not what this loader understands.
    #[error("gybe.env has no usable {name}")]
    Env {
        /// The variable.
        name: &'static str,
    },
    /// A file is not the signed one.
    #[error("{name} has another digest")]
    Digest {
        /// Its name.
        name: &'static str,
    },
}

/// Loads a slot as far as a script would, and returns the signed command line.
pub(super) fn load(boot: &Path, root: &Path) -> Result<String, Unloadable> {
    let image = File::open(boot)?;
    let fat = Fat::open(&image)?.ok_or(Unloadable::NoFat)?;
    let find = |(name, short): (&'static str, &[u8; 11])| {
        fat.find(short)?.ok_or(Unloadable::NoFile { name })
    };
    let env = find(ENV)?;
    if env.len > ENV_LEN_MAX {
        return Err(Unloadable::Env { name: "length" });
    }
    let mut text = vec![0; usize::try_from(env.len).unwrap_or(0)];
    image.read_exact_at(&mut text, env.at)?;
    let text = String::from_utf8_lossy(&text);
    let value = |name: &'static str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.next().ok_or(Unloadable::Env { name })
    };
    if value("gybe_format")? != "1" {
        return Err(Unloadable::Env { name: "gybe_format" });
    }
    for (file, variable) in CHECKED {
        if digest(&image, find(file)?)?.hex().to_string() != value(variable)? {
            return Err(Unloadable::Digest { name: file.0 });
        }
    }
    check_root(root)?;
    value(CMDLINE_VARIABLE).map(str::to_owned)
}

/// As [`load`], for a slot without a boot target.
pub(super) fn load_bare(root: &Path) -> Result<String, Unloadable> {
    check_root(root)?;
    Ok(bare::command_line(root)?)
}

fn check_root(root: &Path) -> Result<(), Unloadable> {
    let mut magic = [0; 4];
    File::open(root)?.read_exact_at(&mut magic, EROFS_AT)?;
    if magic == EROFS_MAGIC { Ok(()) } else { Err(Unloadable::NoErofs) }
}

fn digest(image: &File, place: Place) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let (mut at, mut left) = (place.at, place.len);
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..len).unwrap_or_default();
        image.read_exact_at(piece, at)?;
        hasher.update(piece);
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        (at, left) = (at.saturating_add(len), left.saturating_sub(len));
    }
    Ok(hasher.finish())
}
