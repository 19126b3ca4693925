//! Which partition the loader meant, and whether it holds what was signed.
//!
//! A second disk may have the same labels and even the same GUIDs, when both were flashed with the
//! same image. What tells them apart is the top of the hash tree: only a partition that has the
//! signed root hash counts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gybe_core::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks as _};
use gybe_core::digest::Digest;
use gybe_core::verity::{Geometry, leaf, superblock};

use super::arguments::PartitionName;
use crate::device::gpt::{ReadDisk, Table};
use crate::device::identity::DeviceNumber;
use crate::device::partition::{PartitionError, RunningPartition};
use crate::device::sysfs::{SysPartition, Sysfs};

/// The signature of an MBR, and where it lies.
const MBR_SIGNATURE_AT: usize = 440;
/// Where an MBR says that it is one.
const MBR_MAGIC_AT: usize = 510;

/// The partitions that `name` may mean, in the kernel's order.
#[must_use]
pub fn named(sysfs: &Sysfs, name: &PartitionName) -> Vec<SysPartition> {
    let partitions = sysfs.partitions();
    let mut found: Vec<_> = partitions.into_iter().filter(|it| is_named(sysfs, name, it)).collect();
    found.sort_by_key(|partition| partition.number);
    found
}

fn is_named(sysfs: &Sysfs, name: &PartitionName, partition: &SysPartition) -> bool {
    match name {
        PartitionName::Label(label) => partition.label.as_ref() == Some(label),
        PartitionName::Device(device) => {
            // A name below by-partuuid and the like is a link that udev made.
            let path = std::fs::canonicalize(Path::new("/dev").join(device));
            path.is_ok_and(|path| path == Path::new("/dev").join(&partition.name))
        }
        PartitionName::Guid(guid) => {
            let table = Disk::open(sysfs, partition.disk).and_then(|it| Table::read_as_linux(&it));
            table.and_then(|table| table.number_of(*guid)) == Some(partition.index)
        }
        PartitionName::Mbr { signature, index } => {
            let disk = Disk::open(sysfs, partition.disk);
            partition.index == *index && disk.and_then(|disk| mbr(&disk)) == Some(*signature)
        }
    }
}

fn mbr(disk: &Disk) -> Option<u32> {
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector).ok()?;
    let is_one = sector.get(MBR_MAGIC_AT..) == Some(&[0x55, 0xaa]);
    let signature = sector.get(MBR_SIGNATURE_AT..)?.first_chunk()?;
    is_one.then_some(u32::from_le_bytes(*signature))
}

/// A disk, open for reading its partition table.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sector_len: u64,
    sectors: u64,
}

impl Disk {
    /// Opens the disk `number`; `None` if it cannot be read.
    #[must_use]
    pub fn open(sysfs: &Sysfs, number: DeviceNumber) -> Option<Self> {
        use std::io::{Seek as _, SeekFrom};
        let (name, sector_len) = sysfs.disk(number)?;
        let mut file = File::open(Path::new("/dev").join(name)).ok()?;
        let len = file.seek(SeekFrom::End(0)).ok()?;
        Some(Self { file, sector_len, sectors: len.checked_div(sector_len)? })
    }
}

impl ReadDisk for Disk {
    fn sector_len(&self) -> u64 {
        self.sector_len
    }

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

/// Looks whether the partition at `path` has the superblock that belongs to `root_hash`, and the
/// hashes from the top of the tree down to its first block, which a mount reads first. It proves
/// nothing of the others: that is the kernel's part, block by block.
///
/// # Errors
/// [`Mismatch`].
pub fn check(path: &Path, geometry: &Geometry, root_hash: &Digest) -> Result<(), Mismatch> {
    let mut partition = RunningPartition::open(path)?;
    let data_blocks = geometry.data_blocks();
    let end = data_blocks.saturating_add(geometry.tree_blocks());
    if partition.block_count() < end {
        let (found, needed) = (partition.block_count(), end);
        return Err(Mismatch::Short { path: path.to_owned(), found, needed });
    }
    let mut read = |index| {
        let mut block: [Block; 1] = [[0; BLOCK_LEN]];
        partition.read(BlockIndex(index), &mut block).map(|()| block)
    };
    if read(data_blocks)? != [superblock(geometry)] {
        return Err(Mismatch::Superblock { path: path.to_owned() });
    }
    let levels = (0..geometry.levels()).rev();
    let way = levels.map(|level| data_blocks.saturating_add(geometry.level_start(level)));
    let mut told = *root_hash;
    for (depth, index) in way.chain([0]).enumerate() {
        let [block] = read(index)?;
        let found = leaf(&block);
        if found != told {
            let path = path.to_owned();
            return Err(match depth {
                0 => Mismatch::RootHash { path, found, told },
                _ => Mismatch::Damaged { path, index },
            });
        }
        let (first, _) = block.as_chunks::<{ Digest::LEN }>();
        told = first.first().copied().map_or(told, Digest::new);
    }
    Ok(())
}

/// Why a partition is not the one that is meant.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// It cannot be read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// It is too short for data and tree.
    #[error("{} has {found} blocks, data and hash tree take {needed}", path.display())]
    Short {
        /// The partition.
        path: PathBuf,
        /// How many it has.
        found: u64,
        /// How many it would need.
        needed: u64,
    },
    /// There is no such superblock.
    #[error("{} has no verity superblock where the command line says that it lies", path.display())]
    Superblock {
        /// The partition.
        path: PathBuf,
    },
    /// A block on the way to the first one is not what it was.
    #[error("{}: block {index} is damaged", path.display())]
    Damaged {
        /// The partition.
        path: PathBuf,
        /// Which block.
        index: u64,
    },
    /// The top of the tree is another's.
    #[error("{} has root hash {}, the command line says {}", path.display(), found.hex(), told.hex())]
    RootHash {
        /// The partition.
        path: PathBuf,
        /// What its top has.
        found: Digest,
        /// What was signed.
        told: Digest,
    },
}

#[cfg(test)]
mod tests {
    use gybe_core::verity::TreeBuilder;

    use super::*;

    const BLOCKS: u64 = 300;

    /// Data of some blocks, with superblock and tree behind them.
    fn partition(folder: &Path) -> (PathBuf, Geometry, Digest) {
        let geometry = Geometry::new(BLOCKS).unwrap();
        let path = folder.join("partition");
        let file = File::create(&path).unwrap();
        let put = |index: u64, block: &Block| file.write_all_at(block, index * 4096);
        let mut tree = TreeBuilder::new(geometry);
        let mut sink = |index: u64, block: &Block| put(BLOCKS + index, block);
        for index in 0..BLOCKS {
            let block = [u8::try_from(index % 251).unwrap(); BLOCK_LEN];
            put(index, &block).unwrap();
            tree.push(leaf(&block), &mut sink).unwrap();
        }
        let root = tree.finish(&mut sink).unwrap();
        put(BLOCKS, &superblock(&geometry)).unwrap();
        (path, geometry, root)
    }

    #[test]
    fn only_what_was_signed_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (path, geometry, root) = partition(folder.path());
        check(&path, &geometry, &root).unwrap();
        let other = check(&path, &geometry, &Digest::of(b"other")).unwrap_err();
        assert!(matches!(other, Mismatch::RootHash { found, .. } if found == root), "{other}");
        let elsewhere = check(&path, &Geometry::new(BLOCKS - 1).unwrap(), &root).unwrap_err();
        assert!(matches!(elsewhere, Mismatch::Superblock { .. }), "{elsewhere}");
        let longer = check(&path, &Geometry::new(BLOCKS + 1).unwrap(), &root).unwrap_err();
        assert!(matches!(longer, Mismatch::Short { .. } | Mismatch::Superblock { .. }), "{longer}");
        let file = File::options().write(true).open(&path).unwrap();
        for (index, is_top) in [(0, false), (BLOCKS + 2, false), (BLOCKS + 1, true)] {
            file.write_all_at(&[255], index * 4096 + 7).unwrap();
            let damaged = check(&path, &geometry, &root).unwrap_err();
            assert_eq!(matches!(damaged, Mismatch::RootHash { .. }), is_top, "{damaged}");
        }
    }
}
