//! Reads single files out of a root layout v1, for whoever has a slot and no kernel to mount it with.
//!
//! Only what the layout has is understood (`docs/formats/root-layout.md`): extended inodes, and data in
//! whole blocks or with a tail behind the inode. Whatever else a file system may have is refused. The
//! bytes may be a stranger's: nothing is read without a limit.

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, BlockIndex, ReadBlocks};

use super::inode::{DIRENT_LEN, EXTENDED, FLAT_INLINE, FLAT_PLAIN, INODE_LEN, SLOT_LEN};

/// Longest directory that is read, in bytes.
const DIRECTORY_LEN_MAX: u64 = 16 << 20;

/// Most symbolic links that are followed to one file, as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Most names of a path, those of links included.
const NAMES_MAX: usize = 1024;

const TYPE_MASK: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const REGULAR: u16 = 0o100_000;
const SYMLINK: u16 = 0o120_000;

/// A file system on a medium.
#[derive(Debug)]
pub struct Reader<M> {
    medium: M,
    /// Where the metadata begins, in bytes.
    metadata_at: u64,
    root: u64,
}

/// What reading comes to.
pub type Outcome<T, M> = Result<T, ReadError<<M as ReadBlocks>::Error>>;

/// What is known of a file, beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its type and permissions.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its length in bytes.
    pub len: u64,
    block: u32,
    /// Where a tail would lie.
    behind: u64,
    inline: bool,
}

impl Found {
    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.mode & TYPE_MASK == REGULAR
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.mode & TYPE_MASK == DIRECTORY
    }
}

impl<M: ReadBlocks> Reader<M> {
    /// Opens the file system that begins with the medium.
    ///
    /// # Errors
    /// It cannot be read, or is of another kind.
    pub fn open(medium: M) -> Outcome<Self, M> {
        let mut reader = Self { medium, metadata_at: 0, root: 0 };
        let superblock: [u8; 128] = reader.bytes(1024)?;
        let fields = Fields(&superblock);
        if fields.u32(0) != super::disk::MAGIC || fields.u8(12) != super::disk::BLOCK_BITS {
            return Err(ReadError::Superblock);
        }
        if fields.u32(80) != 0 {
            return Err(ReadError::Feature { found: fields.u32(80) });
        }
        reader.root = fields.u16(14).into();
        reader.metadata_at = u64::from(fields.u32(40)).saturating_mul(BLOCK_LEN_U64);
        Ok(reader)
    }

    /// Finds what `path` leads to, links followed inside the file system; `None` when there is nothing.
    ///
    /// # Errors
    /// The medium cannot be read, or makes no sense.
    pub fn find(&mut self, path: &str) -> Outcome<Option<Found>, M> {
        // The rest of the way, its next name last; and the directories that led here.
        let mut names: Vec<Vec<u8>> = split(path.as_bytes());
        let mut here = vec![self.inode(self.root)?];
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = names.pop() {
            steps += 1;
            if steps > NAMES_MAX || links > LINKS_MAX {
                return Err(ReadError::Loop { path: path.to_owned() });
            }
            let Some(directory) = here.last().copied() else { return Ok(None) };
            if name == b".." {
                here.truncate(here.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(nid) = self.entry(&directory, &name)? else { return Ok(None) };
            let found = self.inode(nid)?;
            if found.mode & TYPE_MASK == SYMLINK {
                links += 1;
                let target = self.read(&found, path, BLOCK_LEN_U64)?;
                if target.starts_with(b"/") {
                    here.truncate(1);
                }
                names.extend(split(&target));
            } else {
                here.push(found);
            }
        }
        Ok(here.last().copied())
    }

    /// The bytes of the regular file at `path`, at most `limit`; `None` when there is no such file.
    ///
    /// # Errors
    /// As [`Reader::find`], or it is longer.
    pub fn file(&mut self, path: &str, limit: u64) -> Outcome<Option<(Found, Vec<u8>)>, M> {
        let found = self.find(path)?.filter(Found::is_file);
        found.map(|found| Ok((found, self.read(&found, path, limit)?))).transpose()
    }

    fn read(&mut self, found: &Found, path: &str, limit: u64) -> Outcome<Vec<u8>, M> {
        let len = usize::try_from(found.len).ok().filter(|_| found.len <= limit);
        let too_long = || ReadError::TooLong { path: path.to_owned(), len: found.len, limit };
        let mut bytes = vec![0; len.ok_or_else(too_long)?];
        let tail_len = if found.inline { bytes.len() % BLOCK_LEN } else { 0 };
        let whole_len = bytes.len().saturating_sub(tail_len);
        let (whole, tail) = bytes.split_at_mut(whole_len);
        self.fill(u64::from(found.block).saturating_mul(BLOCK_LEN_U64), whole)?;
        self.fill(found.behind, tail)?;
        Ok(bytes)
    }

    /// The number of what `directory` calls `name`.
    fn entry(&mut self, directory: &Found, name: &[u8]) -> Outcome<Option<u64>, M> {
        if !directory.is_directory() {
            return Ok(None);
        }
        let bytes = self.read(directory, "a directory", DIRECTORY_LEN_MAX)?;
        for block in bytes.chunks(BLOCK_LEN) {
            let fields = Fields(block);
            let count = usize::from(fields.u16(8)) / DIRENT_LEN;
            let name_at = |index: usize| usize::from(fields.u16(index * DIRENT_LEN + 8));
            for index in 0..count {
                let end = if index + 1 < count { name_at(index + 1) } else { block.len() };
                let found = block.get(name_at(index)..end).ok_or(ReadError::Directory)?;
                // The last name of a block ends where the zeros begin.
                let len = found.iter().position(|byte| *byte == 0).unwrap_or(found.len());
                if found.get(..len) == Some(name) {
                    return Ok(Some(fields.u64(index * DIRENT_LEN)));
                }
            }
        }
        Ok(None)
    }

    fn inode(&mut self, nid: u64) -> Outcome<Found, M> {
        let at = nid.saturating_mul(SLOT_LEN).saturating_add(self.metadata_at);
        let inode: [u8; INODE_LEN] = self.bytes(at)?;
        let fields = Fields(&inode);
        let inline = match fields.u16(0).checked_sub(EXTENDED) {
            Some(FLAT_PLAIN) => false,
            Some(FLAT_INLINE) => true,
            _ => return Err(ReadError::Inode { nid }),
        };
        let xattrs_len = super::inode::xattrs_len(fields.u16(2));
        Ok(Found {
            mode: fields.u16(4),
            uid: fields.u32(24),
            gid: fields.u32(28),
            len: fields.u64(8),
            block: fields.u32(16),
            behind: at.saturating_add((INODE_LEN + xattrs_len) as u64),
            inline,
        })
    }

    fn bytes<const LEN: usize>(&mut self, at: u64) -> Outcome<[u8; LEN], M> {
        let mut bytes = [0; LEN];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, at: u64, bytes: &mut [u8]) -> Outcome<(), M> {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let index = BlockIndex(at / BLOCK_LEN_U64);
            let mut block = [[0; BLOCK_LEN]];
            let read = self.medium.read(index, &mut block);
            read.map_err(|cause| ReadError::Medium { index, cause })?;
            let skip = usize::try_from(at % BLOCK_LEN_U64).unwrap_or(0);
            let from = block.as_flattened().get(skip..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            rest = later;
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }
}

/// The names of a path, the first one last.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(name, [] | [b'.']));
    let mut names: Vec<_> = names.map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

/// Little-endian numbers in bytes; zeros behind the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; LEN])
    }

    fn u8(&self, at: usize) -> u8 {
        u8::from_le_bytes(self.take(at))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.take(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.take(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.take(at))
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The medium says no.
    #[error("cannot read block {index} of root: {cause}")]
    Medium {
        /// Which block.
        index: BlockIndex,
        /// What it says.
        cause: E,
    },
    /// There is no file system, or one of another kind.
    #[error("root is no EROFS with blocks of 4096 bytes")]
    Superblock,
    /// It has what this layout does not have.
    #[error("root is an EROFS with the incompatible features {found:#x}, which gybe does not make")]
    Feature {
        /// Their bits.
        found: u32,
    },
    /// An inode of another kind.
    #[error("inode {nid} of root is not of a kind that gybe makes")]
    Inode {
        /// Its number.
        nid: u64,
    },
    /// A directory that makes no sense.
    #[error("a directory of root is damaged")]
    Directory,
    /// Links lead round.
    #[error("{path} leads through too many names or links")]
    Loop {
        /// The path.
        path: String,
    },
    /// A file is longer than it may be.
    #[error("{path} has {len} bytes, limit {limit}")]
    TooLong {
        /// Which.
        path: String,
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
}
