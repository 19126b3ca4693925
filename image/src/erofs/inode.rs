//! EROFS inodes with what follows them: extended attributes, symlink targets, directories.
//!
//! Source: Linux, `fs/erofs/erofs_fs.h` (6.18).

use std::collections::{BTreeMap, HashMap};

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64};

use super::NodeError;
use crate::tree::{Device, Kind, NodeId, Tree};

/// An inode's number counts units of this length from the begin of the metadata.
pub(super) const SLOT_LEN: u64 = 32;

/// Length of an extended inode, the only kind of this layout.
pub(super) const INODE_LEN: usize = 64;
pub(super) const EXTENDED: u16 = 1;
/// Data lies in whole blocks.
pub(super) const FLAT_PLAIN: u16 = 0 << 1;
/// The last part of the data follows the inode.
pub(super) const FLAT_INLINE: u16 = 2 << 1;

const XATTR_HEADER_LEN: usize = 12;
const XATTR_UNIT_LEN: usize = 4;
/// The inode counts 4-byte units behind the header in 16 bits, the header as 1.
const XATTRS_LEN_MAX: usize = XATTR_HEADER_LEN + XATTR_UNIT_LEN * (u16::MAX as usize - 1);
const XATTR_NAME_LEN_MAX: usize = u8::MAX as usize;
const XATTR_VALUE_LEN_MAX: usize = u16::MAX as usize;

pub(super) const DIRENT_LEN: usize = 12;
const NAME_LEN_MAX: usize = 255;
/// `PATH_MAX` without its NUL.
const SYMLINK_LEN_MAX: usize = 4095;

/// Linux device numbers: 12 and 20 bits.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Where an inode and its data lie; zeros while that is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Number of the inode.
    pub(super) nid: u64,
    /// First block of the data.
    pub(super) block: u32,
}

/// Where inodes and their data lie.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<NodeId, Place>);

impl Places {
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn of(&self, id: NodeId) -> Place {
        self.0.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn insert(&mut self, id: NodeId, place: Place) {
        self.0.insert(id, place);
    }

    pub(super) fn set_nid(&mut self, id: NodeId, nid: u64) {
        self.0.entry(id).or_default().nid = nid;
    }

    pub(super) fn set_block(&mut self, id: NodeId, block: u32) {
        self.0.entry(id).or_default().block = block;
    }
}

/// Bytes of one inode. Their lengths do not depend on any [`Place`].
#[derive(Debug)]
pub(super) struct Record {
    /// The inode, its extended attributes, and its data or the tail of it.
    pub(super) head: Vec<u8>,
    /// Its data, or that in front of the tail, in blocks of the metadata.
    pub(super) body: Vec<u8>,
}

/// Where a head of `len` bytes is put when everything before `end` is taken: at a slot, and not
/// across the end of a block. Kernels follow a tail only within its block; a head that is longer
/// than a block has no tail.
pub(super) const fn place(end: u64, len: u64) -> u64 {
    let at = end.next_multiple_of(SLOT_LEN);
    if at % BLOCK_LEN_U64 + len > BLOCK_LEN_U64 { at.next_multiple_of(BLOCK_LEN_U64) } else { at }
}

/// Length of the extended attributes behind an inode that counts so many units of them.
pub(super) fn xattrs_len(units: u16) -> usize {
    match units.checked_sub(1) {
        Some(units) => XATTR_HEADER_LEN + XATTR_UNIT_LEN * usize::from(units),
        None => 0,
    }
}

/// Emits one inode.
pub(super) fn emit(
    tree: &Tree,
    id: NodeId,
    number: u32,
    links: u32,
    parent: NodeId,
    places: &Places,
) -> Result<Record, NodeError> {
    let node = tree.node(id);
    let xattrs = xattrs(&node.meta.xattrs)?;
    let block = places.of(id).block;
    let (type_bits, size, data, field) = match &node.kind {
        Kind::File(content) => (0o100_000, content.len, Vec::new(), block),
        Kind::Directory(entries) => {
            let data = directory(tree, entries, id, parent, places)?;
            (0o040_000, data.len() as u64, data, block)
        }
        Kind::Symlink(target) => {
            if target.is_empty() || target.len() > SYMLINK_LEN_MAX {
                let found = target.len();
                return Err(NodeError::Target { found, limit: SYMLINK_LEN_MAX });
            }
            (0o120_000, target.len() as u64, target.clone(), block)
        }
        Kind::CharDevice(device) => (0o020_000, 0, Vec::new(), device_number(*device)?),
        Kind::BlockDevice(device) => (0o060_000, 0, Vec::new(), device_number(*device)?),
        Kind::Fifo => (0o010_000, 0, Vec::new(), 0),
        Kind::Socket => (0o140_000, 0, Vec::new(), 0),
    };
    // Linux ignores a symlink's permissions and shows these.
    let permissions =
        if matches!(node.kind, Kind::Symlink(_)) { 0o777 } else { node.meta.mode & 0o7777 };

    let (mut body, mut tail) = (data, Vec::new());
    let tail_len = body.len() % BLOCK_LEN;
    let inline = tail_len > 0 && INODE_LEN + xattrs.len() + tail_len <= BLOCK_LEN;
    if inline {
        tail = body.split_off(body.len() - tail_len);
    }

    let units = match xattrs.len().checked_sub(XATTR_HEADER_LEN) {
        Some(entries_len) => 1 + entries_len / XATTR_UNIT_LEN,
        None => 0,
    };
    let units = u16::try_from(units)
        .map_err(|_| NodeError::Xattrs { found: xattrs.len(), limit: XATTRS_LEN_MAX })?;
    let format = EXTENDED | if inline { FLAT_INLINE } else { FLAT_PLAIN };
    let mut head = Vec::with_capacity(INODE_LEN + xattrs.len() + tail.len());
    head.extend(format.to_le_bytes());
    head.extend(units.to_le_bytes());
    head.extend((type_bits | permissions).to_le_bytes());
    head.extend([0; 2]);
    head.extend(size.to_le_bytes());
    head.extend(field.to_le_bytes());
    head.extend(number.to_le_bytes());
    head.extend(node.meta.uid.to_le_bytes());
    head.extend(node.meta.gid.to_le_bytes());
    head.extend(node.meta.mtime_s.to_le_bytes());
    head.extend(node.meta.mtime_ns.to_le_bytes());
    head.extend(links.to_le_bytes());
    head.resize(INODE_LEN, 0);
    head.extend(xattrs);
    head.extend(tail);
    Ok(Record { head, body })
}

/// The attributes behind an inode, sorted by their full names; nothing when there are none.
fn xattrs(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<u8>, NodeError> {
    let mut bytes = Vec::new();
    if xattrs.is_empty() {
        return Ok(bytes);
    }
    bytes.resize(XATTR_HEADER_LEN, 0);
    for (full_name, value) in xattrs {
        let (namespace, name) = namespace(full_name)?;
        let name_len = u8::try_from(name.len()).map_err(|_| NodeError::XattrName {
            name: full_name.clone(),
            found: name.len(),
            limit: XATTR_NAME_LEN_MAX,
        })?;
        let value_len = u16::try_from(value.len()).map_err(|_| NodeError::XattrValue {
            name: full_name.clone(),
            found: value.len(),
            limit: XATTR_VALUE_LEN_MAX,
        })?;
        bytes.extend([name_len, namespace]);
        bytes.extend(value_len.to_le_bytes());
        bytes.extend(name);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(XATTR_UNIT_LEN), 0);
        if bytes.len() > XATTRS_LEN_MAX {
            return Err(NodeError::Xattrs { found: bytes.len(), limit: XATTRS_LEN_MAX });
        }
    }
    Ok(bytes)
}

/// The number that stands for the begin of an attribute's name, and the rest of the name.
fn namespace(full_name: &[u8]) -> Result<(u8, &[u8]), NodeError> {
    match full_name {
        b"system.posix_acl_access" => return Ok((2, b"")),
        b"system.posix_acl_default" => return Ok((3, b"")),
        _ => {}
    }
    let prefixes: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
    let found = prefixes
        .iter()
        .find_map(|(number, prefix)| Some((*number, full_name.strip_prefix(*prefix)?)));
    match found {
        None => Err(NodeError::XattrNamespace { name: full_name.to_vec() }),
        Some((_, [])) => Err(NodeError::XattrName {
            name: full_name.to_vec(),
            found: 0,
            limit: XATTR_NAME_LEN_MAX,
        }),
        Some(found) => Ok(found),
    }
}

/// A directory: in each block the entries of as many names as fit, then the names.
/// All names are in bytewise order, `.` and `..` in their places among them.
fn directory(
    tree: &Tree,
    entries: &BTreeMap<Vec<u8>, NodeId>,
    id: NodeId,
    parent: NodeId,
    places: &Places,
) -> Result<Vec<u8>, NodeError> {
    let mut all: Vec<(&[u8], NodeId)> = vec![(b".", id), (b"..", parent)];
    for (name, id) in entries {
        let fits = (1..=NAME_LEN_MAX).contains(&name.len())
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
            && !matches!(name.as_slice(), b"." | b"..");
        if !fits {
            return Err(NodeError::Name { name: name.clone() });
        }
        all.push((name, *id));
    }
    all.sort_unstable_by_key(|(name, _)| *name);

    let mut bytes = Vec::new();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let mut len = 0;
        let count = rest
            .iter()
            .take_while(|(name, _)| {
                len += DIRENT_LEN + name.len();
                len <= BLOCK_LEN
            })
            .count();
        let (block, behind) = rest.split_at(count);
        rest = behind;
        // The block before this one was full, so to speak.
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
        let mut name_at = DIRENT_LEN * count;
        for (name, id) in block {
            bytes.extend(places.of(*id).nid.to_le_bytes());
            let at = u16::try_from(name_at).unwrap_or_else(|_| unreachable!("within a block"));
            bytes.extend(at.to_le_bytes());
            bytes.extend([entry_type(&tree.node(*id).kind), 0]);
            name_at += name.len();
        }
        block.iter().for_each(|(name, _)| bytes.extend(*name));
    }
    Ok(bytes)
}

const fn entry_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::CharDevice(_) => 3,
        Kind::BlockDevice(_) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

/// Linux' `new_encode_dev`.
const fn device_number(device: Device) -> Result<u32, NodeError> {
    let Device { major, minor } = device;
    if major > MAJOR_MAX || minor > MINOR_MAX {
        return Err(NodeError::Device { major, minor, major_max: MAJOR_MAX, minor_max: MINOR_MAX });
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}
