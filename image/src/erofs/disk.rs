//! The EROFS superblock.
//!
//! Source: Linux, `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst` (6.18).

use gybe_core::block::{BLOCK_LEN, Block};

/// Where the superblock begins in block 0.
const SUPERBLOCK_AT: usize = 1024;
const SUPERBLOCK_LEN: usize = 128;

pub(super) const MAGIC: u32 = 0xe0f5_e1e2;
pub(super) const BLOCK_BITS: u8 = 12;
const _: () = assert!(1 << BLOCK_BITS == BLOCK_LEN);

/// The superblock has a checksum.
const COMPAT_CHECKSUM: u32 = 1 << 0;
/// The time in inodes is that of the last modification.
const COMPAT_MTIME: u32 = 1 << 1;

/// One identity for all file systems of this layout, a version 8 UUID that begins with `gybe`:
/// a random one would make each seal another image.
const UUID: [u8; 16] = *b"gybe-r\x80v\x80\0\0\0\0\0\0\x01";

/// What varies in a superblock of this layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superblock {
    /// Number of the root's inode.
    pub(super) root_nid: u16,
    /// How many inodes there are.
    pub(super) inode_count: u64,
    /// How many blocks the file system has.
    pub(super) block_count: u32,
    /// First block of the metadata.
    pub(super) metadata_at: u32,
}

impl Superblock {
    /// Block 0.
    pub(super) fn block(self) -> Block {
        let mut bytes = self.fields(0);
        // The checksum covers all of the block behind the first 1024 bytes.
        let zeros = [0; BLOCK_LEN - SUPERBLOCK_AT - SUPERBLOCK_LEN];
        bytes = self.fields(crc32c(&[&bytes, &zeros]));
        let mut block = [0; BLOCK_LEN];
        block.iter_mut().skip(SUPERBLOCK_AT).zip(bytes).for_each(|(to, from)| *to = from);
        block
    }

    fn fields(self, checksum: u32) -> [u8; SUPERBLOCK_LEN] {
        let mut bytes = Vec::with_capacity(SUPERBLOCK_LEN);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        bytes.extend((COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        bytes.extend([BLOCK_BITS, 0]);
        bytes.extend(self.root_nid.to_le_bytes());
        bytes.extend(self.inode_count.to_le_bytes());
        bytes.extend([0; 12]); // build time
        bytes.extend(self.block_count.to_le_bytes());
        bytes.extend(self.metadata_at.to_le_bytes());
        bytes.extend([0; 4]); // no shared extended attributes
        bytes.extend(UUID);
        // No volume name, and no incompatible feature.
        bytes.resize(SUPERBLOCK_LEN, 0);
        bytes.try_into().unwrap_or([0; SUPERBLOCK_LEN])
    }
}

/// CRC-32C as EROFS takes it: begun with all ones, not inverted at the end.
fn crc32c(parts: &[&[u8]]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    parts.iter().copied().flatten().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of the polynomial, RFC 3720 B.4, without the last inversion.
        assert_eq!(!crc32c(&[b"1234", b"56789"]), 0xe306_9283);
    }
}
