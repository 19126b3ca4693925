//! The small FAT file systems that belong to no release: the ESP, and the environment's.

use std::sync::Arc;

use gybe_core::block::BLOCK_LEN_U64;
use gybe_image::fat::{self, File, SectorLen, Volume};
use gybe_image::target::Source;

use super::DiskError;
use super::gpt::{Entry, Guid};
use super::raw::Raw;

/// A file with these bytes.
pub(super) fn file(path: &str, bytes: Vec<u8>) -> File {
    File { path: path.to_owned(), source: Source::Bytes(Arc::from(bytes)) }
}

/// Writes a file system with these files to a partition, which it fills.
pub(super) fn write(
    disk: &Raw,
    entry: &Entry,
    label: [u8; 11],
    files: Vec<File>,
) -> Result<(), DiskError> {
    let Guid([a, b, c, d, ..]) = entry.guid;
    let blocks = entry.len / BLOCK_LEN_U64;
    let volume = Volume { label, id: u32::from_be_bytes([a, b, c, d]), blocks };
    let target = fat::layout_volume(entry.name, files, SectorLen::B512, &volume)?;
    let needed = target.blocks().saturating_mul(BLOCK_LEN_U64);
    if needed > entry.len {
        return Err(DiskError::Volume { name: entry.name, needed, found: entry.len });
    }
    let written = disk.partition(entry).put_target(&target);
    written.map_err(|cause| DiskError::Write { what: entry.name, cause })
}
