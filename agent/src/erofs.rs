//! The names and kinds of files in a root target, read without mounting it.
//!
//! Only what `seal` lays out is read (`docs/formats/root-layout.md`); anything else is an error that
//! says so. It is looked at after its root hash was compared, but the bytes are bounded all the same.

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks};

const SUPERBLOCK_AT: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = 12;
/// Inodes are counted in units of this length from the start of the metadata.
const UNIT_LEN: u64 = 32;
const INODE_LEN: u64 = 64;
const FORMAT_PLAIN: u16 = 1;
const FORMAT_INLINE: u16 = 5;
const MODE_KIND: u16 = 0o170_000;
const MODE_FOLDER: u16 = 0o040_000;
const XATTR_HEADER_LEN: u64 = 12;
const XATTR_UNIT_LEN: u64 = 4;
const ENTRY_LEN: usize = 12;
const ENTRY_IS_FOLDER: u8 = 2;
/// The longest directory that is read, in bytes.
const FOLDER_LEN_MAX: u64 = 1 << 20;

/// A file system, open for its names.
#[derive(Debug)]
pub struct Erofs<R> {
    medium: R,
    /// Where the metadata begins, in bytes.
    metadata_at: u64,
    root: Inode,
}

/// The number of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode(u64);

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What it is called.
    pub name: Vec<u8>,
    /// What it leads to.
    pub inode: Inode,
    /// Whether that is a folder.
    pub is_folder: bool,
}

impl<R: ReadBlocks> Erofs<R> {
    /// Opens the file system that begins where `medium` does.
    ///
    /// # Errors
    /// When it cannot be read, or is not one of ours.
    pub fn open(mut medium: R) -> Result<Self, ErofsError<R::Error>> {
        let mut blocks: [Block; 1] = [[0; BLOCK_LEN]];
        medium.read(BlockIndex(0), &mut blocks).map_err(ErofsError::Read)?;
        let [block] = blocks;
        let superblock = block.get(SUPERBLOCK_AT..).unwrap_or_default();
        let incompatible = u32_at(superblock, 80);
        let is_ours = u32_at(superblock, 0) == Some(MAGIC)
            && superblock.get(12) == Some(&BLOCK_BITS)
            && incompatible == Some(0);
        let (true, Some(root), Some(metadata_at)) =
            (is_ours, u16_at(superblock, 14), u32_at(superblock, 40))
        else {
            return Err(ErofsError::NotOurs);
        };
        let metadata_at = u64::from(metadata_at).saturating_mul(BLOCK_LEN_U64);
        Ok(Self { medium, metadata_at, root: Inode(root.into()) })
    }

    /// The root folder.
    #[must_use]
    pub const fn root(&self) -> Inode {
        self.root
    }

    /// The names in `folder`, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// When it cannot be read, is no folder, or makes no sense.
    pub fn names(&mut self, folder: Inode) -> Result<Vec<Name>, ErofsError<R::Error>> {
        let damaged = || ErofsError::Damaged { inode: folder.0 };
        let data = self.data(folder)?;
        let mut names = Vec::new();
        for block in data.chunks(BLOCK_LEN) {
            // The first name begins where the entries end.
            let first = u16_at(block, 8).map(usize::from).filter(|at| at % ENTRY_LEN == 0);
            let entries = first.and_then(|end| block.get(..end)).ok_or_else(damaged)?;
            let (entries, _) = entries.as_chunks::<ENTRY_LEN>();
            let begin = |entry: &[u8; ENTRY_LEN]| u16_at(entry, 8).map_or(0, usize::from);
            for (index, entry) in entries.iter().enumerate() {
                let next = entries.get(index.saturating_add(1)).map_or(block.len(), begin);
                let name = block.get(begin(entry)..next).ok_or_else(damaged)?;
                let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
                if name.is_empty() || name.contains(&b'/') {
                    return Err(damaged());
                }
                let inode = u64_at(entry, 0).map(Inode).ok_or_else(damaged)?;
                let is_folder = entry.get(10) == Some(&ENTRY_IS_FOLDER);
                if !matches!(name, b"." | b"..") {
                    names.push(Name { name: name.to_vec(), inode, is_folder });
                }
            }
        }
        Ok(names)
    }

    /// What lies under `name` in `folder`.
    ///
    /// # Errors
    /// As [`Erofs::names`].
    pub fn find(
        &mut self,
        folder: Inode,
        name: &[u8],
    ) -> Result<Option<Name>, ErofsError<R::Error>> {
        Ok(self.names(folder)?.into_iter().find(|found| found.name == name))
    }

    /// The data of a folder.
    fn data(&mut self, folder: Inode) -> Result<Vec<u8>, ErofsError<R::Error>> {
        let damaged = || ErofsError::Damaged { inode: folder.0 };
        let at = folder.0.checked_mul(UNIT_LEN).and_then(|at| at.checked_add(self.metadata_at));
        let at = at.ok_or_else(damaged)?;
        let inode = self.bytes(at, INODE_LEN)?;
        let (Some(format), Some(xattrs), Some(mode), Some(len), Some(block)) = (
            u16_at(&inode, 0),
            u16_at(&inode, 2),
            u16_at(&inode, 4),
            u64_at(&inode, 8),
            u32_at(&inode, 16),
        ) else {
            return Err(damaged());
        };
        if mode & MODE_KIND != MODE_FOLDER || len > FOLDER_LEN_MAX {
            return Err(damaged());
        }
        let tail = match format {
            FORMAT_PLAIN => 0,
            FORMAT_INLINE => len.checked_rem(BLOCK_LEN_U64).unwrap_or(0),
            _ => return Err(ErofsError::NotOurs),
        };
        let body_at = u64::from(block).saturating_mul(BLOCK_LEN_U64);
        let mut data = self.bytes(body_at, len.saturating_sub(tail))?;
        let xattrs = match u64::from(xattrs).checked_sub(1) {
            Some(units) => units.saturating_mul(XATTR_UNIT_LEN).saturating_add(XATTR_HEADER_LEN),
            None => 0,
        };
        let tail_at = at.saturating_add(INODE_LEN).saturating_add(xattrs);
        data.extend(self.bytes(tail_at, tail)?);
        Ok(data)
    }

    /// Some bytes from `offset`.
    fn bytes(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, ErofsError<R::Error>> {
        let first = offset.checked_div(BLOCK_LEN_U64).unwrap_or(0);
        let end = offset.saturating_add(len).div_ceil(BLOCK_LEN_U64);
        if len == 0 {
            return Ok(Vec::new());
        }
        if end > self.medium.block_count() {
            return Err(ErofsError::Beyond { block: end });
        }
        let count = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
        let mut blocks = vec![[0; BLOCK_LEN]; count];
        self.medium.read(BlockIndex(first), &mut blocks).map_err(ErofsError::Read)?;
        let skip = usize::try_from(offset.checked_rem(BLOCK_LEN_U64).unwrap_or(0)).unwrap_or(0);
        let bytes = blocks.as_flattened().iter().skip(skip);
        Ok(bytes.take(usize::try_from(len).unwrap_or(0)).copied().collect())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Why names cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError<E> {
    /// The medium cannot be read.
    #[error(transparent)]
    Read(E),
    /// It is another file system, or laid out by another program.
    #[error("it is no file system that seal has laid out")]
    NotOurs,
    /// An inode is no folder, or its data make no sense.
    #[error("inode {inode} is no folder that can be read")]
    Damaged {
        /// Its number.
        inode: u64,
    },
    /// Something lies behind the end.
    #[error("block {block} is behind the end")]
    Beyond {
        /// Where it would be.
        block: u64,
    },
}

#[cfg(test)]
mod tests;
