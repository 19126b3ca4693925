//! Root layout v1: an uncompressed EROFS that is the same bytes for the same tree.
//!
//! ```text
//! block 0        superblock, alone
//! blocks 1…      each distinct file content once, in the order of the walk
//! meta_blkaddr   64 zero bytes, then inodes with xattrs, short symlinks and directory tails
//!                whole directory blocks and long symlinks
//! ```
//!
//! `docs/formats/root-layout.md` specifies every byte. The layout is frozen by the first signed
//! release; the digests pinned in the tests guard it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64};

use crate::content::Content;
use crate::target::{Extent, Source, Tail, Target};
use crate::tree::{Kind, NodeId, Tree};

mod disk;
mod inode;
mod read;
#[cfg(test)]
mod tests;

use disk::Superblock;
use inode::{Place, Places};
pub use read::{Found, Outcome, ReadError, Reader};

/// Name of the target that this layout makes.
pub const TARGET_NAME: &str = "root";

/// Longest chunk of file content, in blocks: 256 KiB.
const CONTENT_CHUNK_BLOCKS_MAX: u32 = 64;

/// Longest chunk of metadata, in blocks: 16 KiB, since every release changes a little everywhere.
const METADATA_CHUNK_BLOCKS_MAX: u32 = 4;

/// Zero bytes before the first inode, so that no inode has number 0: programs that list a
/// directory take 0 for a deleted entry.
const METADATA_RESERVED_LEN: u64 = 64;

/// Most blocks of a file system: addresses have 32 bits.
pub const BLOCKS_MAX: u64 = u32::MAX as u64;

/// Lays `tree` out. Its files are named in the target, not read.
///
/// # Errors
/// When the format cannot hold the tree; [`LayoutError`] says what and where.
pub fn layout(tree: &Tree) -> Result<Target, LayoutError> {
    let mut walk = Walked::of(tree)?;
    let metadata_at = walk.next_block;
    let (metadata, root_nid) = metadata(tree, &mut walk)?;
    let block_count = metadata_at.saturating_add(blocks(metadata.len() as u64));
    let superblock = Superblock {
        root_nid,
        inode_count: walk.inodes.len() as u64,
        block_count: address(block_count)?,
        metadata_at: address(metadata_at)?,
    };
    let mut extents = Vec::with_capacity(walk.contents.len().saturating_add(2));
    extents.push(Extent {
        source: Source::Bytes(Arc::from(superblock.block().as_slice())),
        chunk_blocks_max: 1,
        tail: Tail::Joined,
    });
    extents.extend(walk.contents.into_iter().map(|content| Extent {
        source: Source::Content(content),
        chunk_blocks_max: CONTENT_CHUNK_BLOCKS_MAX,
        tail: Tail::Joined,
    }));
    extents.push(Extent {
        source: Source::Bytes(Arc::from(metadata)),
        chunk_blocks_max: METADATA_CHUNK_BLOCKS_MAX,
        tail: Tail::Joined,
    });
    Ok(Target { name: TARGET_NAME.into(), extents })
}

/// What one walk over the tree finds.
#[derive(Debug)]
struct Walked {
    /// Every node once, in the order in which the walk meets it first, with the path it had then.
    inodes: Vec<(NodeId, Path)>,
    /// The directory that each directory lies in.
    parents: HashMap<NodeId, NodeId>,
    /// Where the data of files begins.
    places: Places,
    /// Distinct contents in the order of their blocks.
    contents: Vec<Content>,
    /// The first block behind the contents.
    next_block: u64,
}

impl Walked {
    fn of(tree: &Tree) -> Result<Self, LayoutError> {
        let mut walked = Self {
            inodes: Vec::new(),
            parents: HashMap::from([(tree.root(), tree.root())]),
            places: Places::default(),
            contents: Vec::new(),
            next_block: 1,
        };
        let mut first_blocks = HashMap::new();
        for (path, id) in tree.walk() {
            if walked.places.contains(id) {
                continue;
            }
            let mut place = Place::default();
            match &tree.node(id).kind {
                Kind::File(content) if content.len > 0 => {
                    let first = first_blocks.entry((content.digest, content.len)).or_insert(0);
                    if *first == 0 {
                        *first = address(walked.next_block)?;
                        walked.next_block = walked.next_block.saturating_add(blocks(content.len));
                        address(walked.next_block)?;
                        walked.contents.push(content.clone());
                    }
                    place.block = *first;
                }
                Kind::Directory(entries) => {
                    let directories = entries.values().filter(|id| tree.node(**id).is_directory());
                    walked.parents.extend(directories.map(|child| (*child, id)));
                }
                _ => {}
            }
            walked.places.insert(id, place);
            walked.inodes.push((id, Path(path)));
        }
        Ok(walked)
    }
}

/// The metadata and the root's number in it. The same code emits each inode twice: before the
/// places are known, for its length, and after, for its bytes. So the two cannot disagree.
fn metadata(tree: &Tree, walked: &mut Walked) -> Result<(Vec<u8>, u16), LayoutError> {
    let links = tree.links();
    let emit =
        |number: usize, id: NodeId, path: &Path, places: &Places, parents: &HashMap<_, _>| {
            let parent = parents.get(&id).copied().unwrap_or(id);
            let number = u32::try_from(number.saturating_add(1))
                .map_err(|_| LayoutError::Inodes { limit: u32::MAX })?;
            inode::emit(tree, id, number, links.of(id), parent, places)
                .map_err(|cause| LayoutError::Node { path: path.clone(), cause })
        };

    let mut bodies = Vec::new();
    let mut end = METADATA_RESERVED_LEN;
    for (number, (id, path)) in walked.inodes.iter().enumerate() {
        let record = emit(number, *id, path, &walked.places, &walked.parents)?;
        let at = inode::place(end, record.head.len() as u64);
        walked.places.set_nid(*id, at / inode::SLOT_LEN);
        end = at.saturating_add(record.head.len() as u64);
        if !record.body.is_empty() {
            bodies.push((*id, record.body.len() as u64));
        }
    }
    let mut next_block = walked.next_block.saturating_add(blocks(end));
    for (id, len) in bodies {
        walked.places.set_block(id, address(next_block)?);
        next_block = next_block.saturating_add(blocks(len));
    }
    address(next_block)?;

    let block_count = next_block.saturating_sub(walked.next_block);
    let mut bytes = vec![0; usize::try_from(block_count).unwrap_or(0).saturating_mul(BLOCK_LEN)];
    for (number, (id, path)) in walked.inodes.iter().enumerate() {
        let record = emit(number, *id, path, &walked.places, &walked.parents)?;
        let place = walked.places.of(*id);
        put(&mut bytes, place.nid.saturating_mul(inode::SLOT_LEN), &record.head);
        if !record.body.is_empty() {
            let block = u64::from(place.block).saturating_sub(walked.next_block);
            put(&mut bytes, block.saturating_mul(BLOCK_LEN_U64), &record.body);
        }
    }
    let root = walked.places.of(tree.root()).nid;
    let root = u16::try_from(root).unwrap_or_else(|_| unreachable!("the root is placed first"));
    Ok((bytes, root))
}

fn put(bytes: &mut [u8], at: u64, part: &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    match bytes.get_mut(at..at.saturating_add(part.len())) {
        Some(place) => place.copy_from_slice(part),
        None => unreachable!("the first pass made room for what the second emits"),
    }
}

/// How many blocks `len` bytes take.
const fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK_LEN_U64)
}

/// `block` as the format writes it.
fn address(block: u64) -> Result<u32, LayoutError> {
    u32::try_from(block).map_err(|_| LayoutError::Blocks { found: block, limit: BLOCKS_MAX })
}

/// A path in the image, shown with everything but printable ASCII escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub Vec<u8>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.escape_ascii())
    }
}

/// Why a tree cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Addresses have 32 bits.
    #[error("root needs at least {found} blocks of 4096 bytes, limit {limit}")]
    Blocks {
        /// How many blocks were counted when the limit was crossed.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Inode numbers have 32 bits.
    #[error("root has more files than an EROFS can number, limit {limit}")]
    Inodes {
        /// The limit.
        limit: u32,
    },
    /// A node has what the format cannot hold.
    #[error("{path}: {cause}")]
    Node {
        /// The path at which the node was met first.
        path: Path,
        /// What the format cannot hold.
        cause: NodeError,
    },
}

/// What an inode cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Names have 1 to 255 bytes, without `/` and NUL, and are not `.` or `..`.
    #[error("name \"{}\" cannot be stored in a directory", name.escape_ascii())]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// A symbolic link with a target that Linux would not follow.
    #[error("symlink target has {found} bytes, limit {limit}, least 1")]
    Target {
        /// Length of the target.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// An extended attribute of a namespace that EROFS cannot store.
    #[error("extended attribute \"{}\" is of a namespace that EROFS cannot store", name.escape_ascii())]
    XattrNamespace {
        /// Full name of the attribute.
        name: Vec<u8>,
    },
    /// A name that is too long, or empty, behind its namespace.
    #[error("extended attribute \"{}\" has a name of {found} bytes behind its namespace, limit {limit}, least 1", name.escape_ascii())]
    XattrName {
        /// Full name of the attribute.
        name: Vec<u8>,
        /// Length behind the namespace.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A value that is too long.
    #[error("extended attribute \"{}\" has a value of {found} bytes, limit {limit}", name.escape_ascii())]
    XattrValue {
        /// Full name of the attribute.
        name: Vec<u8>,
        /// Length of the value.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// All extended attributes of the node together.
    #[error("extended attributes take {found} bytes, limit {limit}")]
    Xattrs {
        /// Length of all.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A device number beyond what Linux has.
    #[error("device number {major}:{minor} is beyond {major_max}:{minor_max}")]
    Device {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
        /// The largest major number.
        major_max: u32,
        /// The largest minor number.
        minor_max: u32,
    },
}
