//! A FAT file system that is the same bytes for the same files: what every boot loader can read.
//!
//! ```text
//! block 0   boot sector                          (with FAT32 its copies and the summary too)
//! then      FAT, FAT again                       each of whole blocks
//! then      root directory                       of whole blocks
//! then      subdirectories, then files           each in one piece, from a block boundary on
//! ```
//!
//! `docs/formats/boot-target.md` specifies every byte.
//! Source: Microsoft FAT32 File System Specification 1.03 (fatgen103).

use std::sync::Arc;

use gybe_core::block::BLOCK_LEN;

use crate::target::{Extent, Source, Tail, Target};

mod boot_sector;
mod directory;
mod name;
mod plan;
#[cfg(test)]
mod tests;

use directory::Directories;
use plan::Plan;

/// Most files of one file system.
pub const FILES_MAX: usize = 8192;

/// Longest file: its length has 32 bits.
pub const FILE_LEN_MAX: u64 = u32::MAX as u64;

/// Most names that a path may lead through, its own included.
const PATH_DEPTH_MAX: usize = 8;

/// Longest chunk of file content, in blocks: 256 KiB.
const CONTENT_CHUNK_BLOCKS_MAX: u32 = 64;

/// Longest chunk of tables and directories, in blocks: 16 KiB.
const METADATA_CHUNK_BLOCKS_MAX: u32 = 4;

/// Length of a sector, as the disk has it. Loaders refuse a file system with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorLen {
    /// 512 bytes.
    B512,
    /// 4096 bytes ("4Kn" disks).
    B4096,
}

impl SectorLen {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u16 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }

    /// How many make one cluster, which is a block.
    const fn per_cluster(self) -> u8 {
        match self {
            Self::B512 => 8,
            Self::B4096 => 1,
        }
    }
}

/// A file to be laid out.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies: names separated by `/`.
    pub path: String,
    /// Its bytes.
    pub source: Source,
}

/// What tells one file system from another, beside its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its label, filled up with spaces.
    pub label: [u8; 11],
    /// Its serial number.
    pub id: u32,
    /// How many blocks it should have, free ones included; it has more if its files need them, and
    /// fewer where the number of clusters would be one about which programs differ.
    pub blocks: u64,
}

impl Volume {
    /// A boot target: the same for every release, and as long as its files need.
    pub const BOOT: Self =
        Self { label: *b"GYBE BOOT  ", id: u32::from_le_bytes(*b"GYBE"), blocks: 0 };
}

/// Lays `files` out as the target `name`. Their data follow each other in the order given.
///
/// # Errors
/// When a file cannot be stored, or two paths differ in case only; [`FatError`] says which.
pub fn layout(name: &str, files: Vec<File>, sector: SectorLen) -> Result<Target, FatError> {
    layout_volume(name, files, sector, &Volume::BOOT)
}

/// As [`layout`], for a file system that is not a boot target.
///
/// # Errors
/// As [`layout`].
pub fn layout_volume(
    name: &str,
    files: Vec<File>,
    sector: SectorLen,
    volume: &Volume,
) -> Result<Target, FatError> {
    let directories = Directories::of(&files)?;
    let plan = Plan::of(&directories, &files, sector, volume)?;
    let mut block_0 = boot_sector::reserved(&plan)?;
    let mut metadata = block_0.split_off(BLOCK_LEN.min(block_0.len()));
    let table = plan.table();
    metadata.extend(&table);
    metadata.extend(&table);
    metadata.extend(directories.bytes(&plan, &files));

    let bytes = |bytes: Vec<u8>, chunk_blocks_max| Extent {
        source: Source::Bytes(Arc::from(bytes)),
        chunk_blocks_max,
        tail: Tail::Joined,
    };
    let mut extents = vec![bytes(block_0, 1), bytes(metadata, METADATA_CHUNK_BLOCKS_MAX)];
    extents.extend(
        files
            .into_iter()
            .flat_map(|file| file.source.parts())
            .filter(|source| !source.is_empty())
            .map(|source| Extent {
                source,
                chunk_blocks_max: CONTENT_CHUNK_BLOCKS_MAX,
                tail: Tail::Joined,
            }),
    );
    if plan.unused > 0 {
        let unused = usize::try_from(plan.unused).unwrap_or(0);
        extents.push(bytes(vec![0; unused.saturating_mul(BLOCK_LEN)], CONTENT_CHUNK_BLOCKS_MAX));
    }
    Ok(Target { name: name.into(), extents })
}

/// Why files cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatError {
    /// There are too many.
    #[error("boot has {found} files, limit {limit}")]
    Files {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// One is too long.
    #[error("{path} has {found} bytes, limit {limit}")]
    FileLen {
        /// The file.
        path: String,
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A path leads through too many directories.
    #[error("{path} leads through {found} names, limit {limit}")]
    Depth {
        /// The path.
        path: String,
        /// How many names it has.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A name that FAT cannot store.
    #[error("{path}: FAT cannot store the name {name:?}")]
    Name {
        /// The path.
        path: String,
        /// The name in it.
        name: String,
    },
    /// Two paths that FAT takes for one, since it does not tell upper from lower case.
    #[error("{path} is the same name on FAT as {other}")]
    Twice {
        /// The later path.
        path: String,
        /// What has its name, in its directory.
        other: String,
    },
    /// A file's path leads through another file.
    #[error("{path} leads through {name}, which is a file")]
    NotADirectory {
        /// The path.
        path: String,
        /// The name of the file.
        name: String,
    },
    /// The names of one directory need too many entries.
    #[error("a directory of {path} needs {found} entries, limit {limit}")]
    Entries {
        /// A path that leads through it.
        path: String,
        /// How many entries its names need.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// All files together are too long.
    #[error("boot needs {found} sectors, limit {limit}")]
    Sectors {
        /// How many are needed.
        found: u64,
        /// The limit.
        limit: u64,
    },
}
