//! Extended attributes that an ostree-based image keeps beside its files, and not in them.
//!
//! Sources: ostree-rs-ext 0.15 and bootc's ostree-ext, `src/tar/export.rs`, read 2026-11. A file
//! of the base image is an object, and every visible path a hard link to it. The object `X.file`
//! has its attributes in `X.file-xattrs-link`: as such, or by a link to a `.file-xattrs` that
//! objects share. Older images have them nowhere else, so that a program that may do something
//! without root may not, if they are passed over.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, Item, LayerProblem};
use crate::tar::{CHUNKING_HINTS, XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX};
use crate::tree::Node;

/// Where objects lie in a layer.
const OBJECTS: &[u8] = b"sysroot/ostree/repo/objects/";
const OBJECT: &[u8] = b".file";
const XATTRS: &[u8] = b".file-xattrs";
const XATTRS_LINK: &[u8] = b".file-xattrs-link";
/// Longest attributes of an object, in bytes: Linux lists at most 64 KiB of names.
pub(super) const XATTRS_LEN_MAX: u64 = 1 << 20;

/// Of every object the label that the build's policy gave it. Layers that others put over an
/// ostree base have no labels; a root that is labelled in parts is worse than one that is not.
const SELINUX: &[u8] = b"security.selinux";

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What one layer says about the attributes of objects.
#[derive(Debug, Default)]
pub(super) struct Objects(HashMap<Vec<u8>, Xattrs>);

/// Whether a file at this path holds attributes of objects.
pub(super) fn holds_xattrs(path: &[u8]) -> bool {
    path.starts_with(OBJECTS) && (path.ends_with(XATTRS) || path.ends_with(XATTRS_LINK))
}

impl Objects {
    /// Takes up the content of a file that [`holds_xattrs`]. Returns how much room it takes.
    pub(super) fn add(&mut self, path: &[u8], content: &[u8]) -> Result<usize, LayerProblem> {
        let xattrs = parse(content).ok_or(LayerProblem::OstreeXattrs)?;
        // Most objects have nothing but a label.
        if xattrs.is_empty() {
            return Ok(0);
        }
        let len = xattrs.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        self.0.insert(path.to_vec(), xattrs);
        Ok(len)
    }

    /// Gives the objects of the layer their attributes. What a file has in its own header stays;
    /// a file that a later build put in the place of an object is none: it tells the time.
    pub(super) fn apply(self, entries: &mut [Entry]) {
        if self.0.is_empty() {
            return;
        }
        let mut wanted: HashMap<Vec<u8>, &Xattrs> = HashMap::new();
        for entry in entries.iter() {
            let Some(object) = entry.path.strip_suffix(XATTRS_LINK) else { continue };
            let holder = match &entry.item {
                Item::HardLink(target) => target,
                _ => &entry.path,
            };
            if let Some(xattrs) = self.0.get(holder) {
                wanted.insert([object, OBJECT].concat(), xattrs);
            }
        }
        // Where layers were made into one, an object may be a link to a path that came before it.
        let linked: Vec<_> = entries
            .iter()
            .filter_map(|entry| match &entry.item {
                Item::HardLink(target) => Some((target.clone(), *wanted.get(&entry.path)?)),
                _ => None,
            })
            .collect();
        wanted.extend(linked);
        for entry in entries {
            let Item::Node(Node { meta, .. }) = &mut entry.item else { continue };
            let Some(xattrs) = wanted.get(&entry.path).filter(|_| meta.mtime_s <= 0) else {
                continue;
            };
            for (name, value) in *xattrs {
                meta.xattrs.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Reads a serialised `a(ayay)`: names, which end with a NUL, and values.
///
/// Source: GVariant specification, 2.5: a container ends with the offsets of where its parts end,
/// as wide as its length asks for; the end of a structure's last part is not among them.
fn parse(bytes: &[u8]) -> Option<Xattrs> {
    let mut xattrs = Xattrs::new();
    if bytes.is_empty() {
        return Some(xattrs);
    }
    let width = width(bytes.len());
    let first_offset = offset(bytes, bytes.len().checked_sub(width)?)?;
    let offsets = bytes.get(first_offset..)?;
    if !offsets.len().is_multiple_of(width) {
        return None;
    }
    let mut start = 0;
    for at in (first_offset..bytes.len()).step_by(width) {
        let end = offset(bytes, at)?;
        let pair = bytes.get(..first_offset)?.get(start..end)?;
        start = end;
        let (name, value) = split(pair)?;
        let is_dropped = name == SELINUX || CHUNKING_HINTS.contains(&name) || value.is_empty();
        if !is_dropped {
            xattrs.insert(name.to_vec(), value.to_vec());
        }
    }
    Some(xattrs)
}

/// Name and value of one attribute.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let behind = pair.len().checked_sub(width(pair.len()))?;
    let name_end = offset(pair, behind)?;
    let (name, value) = pair.get(..behind)?.split_at_checked(name_end)?;
    let name = name.strip_suffix(b"\0")?;
    let is_name = !name.is_empty() && name.len() <= XATTR_NAME_LEN_MAX && !name.contains(&0);
    (is_name && value.len() <= XATTR_VALUE_LEN_MAX).then_some((name, value))
}

/// How many bytes an offset has in a container of this length.
const fn width(len: usize) -> usize {
    match len {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

/// The offset that stands `at`, in a container of its own length.
fn offset(container: &[u8], at: usize) -> Option<usize> {
    let bytes = container.get(at..at.checked_add(width(container.len()))?)?;
    let value = bytes.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests;
