//! The boot sector of a FAT file system, and what FAT32 keeps beside it.

use gybe_core::block::BLOCK_LEN;

use super::FatError;
use super::directory::ENTRY_LEN;
use super::plan::{FIRST_CLUSTER, Plan, Width};

const SECTOR_LEN_MIN: usize = 512;

const OEM_NAME: [u8; 8] = *b"GYBE    ";

const TABLE_COUNT: u8 = 2;
const MEDIUM_FIXED_DISK: u8 = 0xf8;
/// What BIOS programs expect of a disk; nothing else reads these.
const SECTORS_PER_TRACK: u16 = 63;
const HEADS: u16 = 255;
const DRIVE: u8 = 0x80;
/// Says that volume id, label and type follow.
const EXTENDED: u8 = 0x29;

const SUMMARY_SECTOR: u16 = 1;
const COPY_SECTOR: u16 = 6;
const UNKNOWN: u32 = u32::MAX;

/// All reserved sectors.
pub(super) fn reserved(plan: &Plan) -> Result<Vec<u8>, FatError> {
    let boot = boot(plan)?;
    let mut parts = vec![(0, boot.clone())];
    if plan.width == Width::Bits32 {
        let summary = summary(plan);
        parts.push((SUMMARY_SECTOR, summary.clone()));
        parts.push((COPY_SECTOR, boot));
        parts.push((COPY_SECTOR + SUMMARY_SECTOR, summary));
    }
    let len = usize::try_from(plan.reserved_blocks).unwrap_or(0).saturating_mul(BLOCK_LEN);
    let mut bytes = Vec::with_capacity(len);
    for (sector, part) in parts {
        bytes.resize(usize::from(sector).saturating_mul(plan.sector.bytes().into()), 0);
        bytes.extend(part);
    }
    bytes.resize(len, 0);
    Ok(bytes)
}

fn boot(plan: &Plan) -> Result<Vec<u8>, FatError> {
    let sectors = |blocks: u32| blocks.saturating_mul(plan.sector.per_cluster().into());
    let short = |number: u32| {
        u16::try_from(number)
            .map_err(|_| FatError::Sectors { found: number.into(), limit: u16::MAX.into() })
    };
    let wide = plan.width == Width::Bits32;
    let per_block = u32::try_from(BLOCK_LEN / ENTRY_LEN).unwrap_or(0);
    let root_entries = plan.root_blocks.saturating_mul(per_block);
    let table_sectors = sectors(plan.table_blocks);
    // A number that fits into 16 bits belongs there, unless it is FAT32.
    let total_16 = if wide { 0 } else { u16::try_from(plan.total_sectors).unwrap_or(0) };

    let mut bytes = Vec::with_capacity(SECTOR_LEN_MIN);
    bytes.extend([0xeb, if wide { 0x58 } else { 0x3c }, 0x90]);
    bytes.extend(OEM_NAME);
    bytes.extend(plan.sector.bytes().to_le_bytes());
    bytes.push(plan.sector.per_cluster());
    bytes.extend(short(sectors(plan.reserved_blocks))?.to_le_bytes());
    bytes.push(TABLE_COUNT);
    bytes.extend(short(root_entries)?.to_le_bytes());
    bytes.extend(total_16.to_le_bytes());
    bytes.push(MEDIUM_FIXED_DISK);
    bytes.extend((if wide { 0 } else { short(table_sectors)? }).to_le_bytes());
    bytes.extend(SECTORS_PER_TRACK.to_le_bytes());
    bytes.extend(HEADS.to_le_bytes());
    bytes.extend([0; 4]); // sectors in front of the partition
    bytes.extend((if total_16 == 0 { plan.total_sectors } else { 0 }).to_le_bytes());
    if wide {
        bytes.extend(table_sectors.to_le_bytes());
        bytes.extend([0; 4]); // flags, version
        bytes.extend(FIRST_CLUSTER.to_le_bytes()); // of the root directory
        bytes.extend(SUMMARY_SECTOR.to_le_bytes());
        bytes.extend(COPY_SECTOR.to_le_bytes());
        bytes.extend([0; 12]);
    }
    bytes.extend([DRIVE, 0, EXTENDED]);
    bytes.extend(plan.volume.id.to_le_bytes());
    bytes.extend(plan.volume.label);
    // U-Boot tells the kinds apart by this text.
    bytes.extend(match plan.width {
        Width::Bits12 => b"FAT12   ",
        Width::Bits16 => b"FAT16   ",
        Width::Bits32 => b"FAT32   ",
    });
    bytes.resize(SECTOR_LEN_MIN - 2, 0);
    bytes.extend([0x55, 0xaa]);
    Ok(bytes)
}

/// FAT32's count of what is free.
fn summary(plan: &Plan) -> Vec<u8> {
    let mut bytes = b"RRaA".to_vec();
    bytes.resize(484, 0);
    bytes.extend(b"rrAa");
    bytes.extend(plan.unused.to_le_bytes());
    bytes.extend(UNKNOWN.to_le_bytes()); // where to look for free ones
    bytes.resize(508, 0);
    bytes.extend([0, 0, 0x55, 0xaa]);
    bytes
}
