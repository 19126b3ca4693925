//! Which clusters everything gets, and the table that says so.

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64};

use super::directory::Directories;
use super::{FatError, File, SectorLen, Volume};

/// The first cluster has this number.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Clusters from which on a file system is FAT16 and FAT32. Programs differ by a few about these
/// numbers, so none of ours has a number of clusters within 16 of them.
const FAT16_FROM: u32 = 4085;
const FAT32_FROM: u32 = 65_525;
const MARGIN: u32 = 16;

/// Sectors are counted in 32 bits.
const SECTORS_MAX: u64 = u32::MAX as u64;

/// The end of a chain; narrower entries take as many of its bits as they have.
const END: u32 = 0x0fff_ffff;

/// How wide the entries of the table are, which is what tells the three kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// Where everything lies.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sector: SectorLen,
    pub(super) volume: Volume,
    pub(super) width: Width,
    pub(super) reserved_blocks: u32,
    /// Length of each of the two tables.
    pub(super) table_blocks: u32,
    /// Length of a root directory in front of the clusters; 0 when it lies in clusters.
    pub(super) root_blocks: u32,
    /// Clusters at the end that nothing needs.
    pub(super) unused: u32,
    pub(super) total_sectors: u32,
    /// Lengths of what lies in clusters, in their order.
    chains: Vec<u32>,
    directories: Vec<u32>,
    files: Vec<u32>,
}

impl Plan {
    pub(super) fn of(
        directories: &Directories,
        files: &[File],
        sector: SectorLen,
        volume: &Volume,
    ) -> Result<Self, FatError> {
        let directory_blocks: Vec<u64> = directories.block_counts().map(|n| n as u64).collect();
        let file_blocks: Vec<u64> =
            files.iter().map(|file| file.source.len().div_ceil(BLOCK_LEN_U64)).collect();
        let root = directory_blocks.first().copied().unwrap_or(0);
        let all: u64 = directory_blocks.iter().chain(&file_blocks).sum();
        let without_root = all.saturating_sub(root);
        let needed_for = |width| if width == Width::Bits32 { all } else { without_root };
        let wanted_for = |width| clusters_in(volume.blocks, width, root, sector);
        // The narrowest that has room for the files, and whose next wider one would be too wide.
        let fits = |width: Width, wider: Width| {
            needed_for(width) <= width.most() && wanted_for(wider) < wider.least()
        };
        let width = if fits(Width::Bits12, Width::Bits16) {
            Width::Bits12
        } else if fits(Width::Bits16, Width::Bits32) {
            Width::Bits16
        } else {
            Width::Bits32
        };
        let needed = needed_for(width);
        let clusters = needed.max(width.least()).max(wanted_for(width).min(width.most()));
        let root_blocks = if width == Width::Bits32 { 0 } else { root };
        let table_blocks = table_blocks(clusters, width);
        let reserved_blocks = reserved_blocks(width, sector);
        let blocks = clusters
            .saturating_add(table_blocks.saturating_mul(2))
            .saturating_add(root_blocks.saturating_add(reserved_blocks));
        let sectors = blocks.saturating_mul(sector.per_cluster().into());
        let limited = |number: u64| {
            u32::try_from(number)
                .map_err(|_| FatError::Sectors { found: sectors, limit: SECTORS_MAX })
        };

        let mut plan = Self {
            sector,
            volume: *volume,
            width,
            total_sectors: limited(sectors)?,
            reserved_blocks: limited(reserved_blocks)?,
            table_blocks: limited(table_blocks)?,
            root_blocks: limited(root_blocks)?,
            unused: limited(clusters.saturating_sub(needed))?,
            chains: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
        };
        let mut next = FIRST_CLUSTER;
        let mut chains = Vec::new();
        let mut chain = |blocks: u64| -> Result<u32, FatError> {
            let blocks = limited(blocks)?;
            let first = if blocks == 0 { 0 } else { next };
            next = next.saturating_add(blocks);
            chains.extend(Some(blocks).filter(|blocks| *blocks > 0));
            Ok(first)
        };
        for (index, blocks) in directory_blocks.iter().enumerate() {
            let in_front = index == 0 && width != Width::Bits32;
            plan.directories.push(chain(if in_front { 0 } else { *blocks })?);
        }
        for blocks in file_blocks {
            plan.files.push(chain(blocks)?);
        }
        plan.chains = chains;
        Ok(plan)
    }

    /// First cluster of a directory; 0 for a root that lies in front of the clusters.
    pub(super) fn directory(&self, index: usize) -> u32 {
        self.directories.get(index).copied().unwrap_or(0)
    }

    /// First cluster of a file; 0 for an empty one.
    pub(super) fn file(&self, index: usize) -> u32 {
        self.files.get(index).copied().unwrap_or(0)
    }

    /// One table, filled up to a whole block.
    pub(super) fn table(&self) -> Vec<u8> {
        // Beside the medium's type, all ones; then the end of a chain, which also says "clean".
        let mut entries = vec![0x0fff_fff8, END];
        for len in &self.chains {
            let first = u32::try_from(entries.len()).unwrap_or(END);
            entries.extend((1..*len).map(|index| first.saturating_add(index)));
            entries.push(END);
        }
        let mut bytes: Vec<u8> = match self.width {
            Width::Bits12 => entries
                .chunks(2)
                .flat_map(|pair| {
                    let entry = |index| pair.get(index).copied().unwrap_or(0) & 0xfff;
                    let [first, second, third, _] = (entry(0) | (entry(1) << 12)).to_le_bytes();
                    [first, second, third]
                })
                .collect(),
            Width::Bits16 => entries
                .into_iter()
                .flat_map(|entry| {
                    let [low, high, ..] = entry.to_le_bytes();
                    [low, high]
                })
                .collect(),
            Width::Bits32 => entries.into_iter().flat_map(u32::to_le_bytes).collect(),
        };
        let blocks = usize::try_from(self.table_blocks).unwrap_or(0);
        bytes.resize(blocks.saturating_mul(BLOCK_LEN), 0);
        bytes
    }
}

/// Blocks in front of the tables.
const fn reserved_blocks(width: Width, sector: SectorLen) -> u64 {
    match (width, sector) {
        // The copy of the boot sector is sector 6, its companion 7.
        (Width::Bits32, SectorLen::B4096) => 8,
        _ => 1,
    }
}

/// Length of one table for so many clusters.
fn table_blocks(clusters: u64, width: Width) -> u64 {
    let bits = clusters.saturating_add(FIRST_CLUSTER.into()).saturating_mul(width.bits());
    bits.div_ceil(8 * BLOCK_LEN_U64)
}

/// How many clusters a file system of `blocks` has room for, with a root directory of `root` blocks.
fn clusters_in(blocks: u64, width: Width, root: u64, sector: SectorLen) -> u64 {
    let root = if width == Width::Bits32 { 0 } else { root };
    let left = blocks.saturating_sub(reserved_blocks(width, sector).saturating_add(root));
    // A table for all that is left is at most a block too long, which is then not used.
    left.saturating_sub(table_blocks(left, width).saturating_mul(2))
}

impl Width {
    /// Fewest clusters.
    const fn least(self) -> u64 {
        match self {
            Self::Bits12 => 1,
            Self::Bits16 => (FAT16_FROM + MARGIN) as u64,
            Self::Bits32 => (FAT32_FROM + MARGIN) as u64,
        }
    }

    /// Most clusters.
    const fn most(self) -> u64 {
        match self {
            Self::Bits12 => (FAT16_FROM - 1 - MARGIN) as u64,
            Self::Bits16 => (FAT32_FROM - 1 - MARGIN) as u64,
            // Numbers have 28 bits, of which a few mean something else.
            Self::Bits32 => 0x0fff_fff0,
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::Bits12 => 12,
            Self::Bits16 => 16,
            Self::Bits32 => 32,
        }
    }
}
