//! A pack of an earlier release: its frames, and which release first had what is in them.

use std::io::Read as _;

use gybe_core::block::BLOCK_LEN;
use gybe_core::digest::{Digest, Hasher};
use gybe_core::recipe::{Codec, FrameIndex, FrameRecord, PackId};
use gybe_oci::{Blob, BlobReader};
use serde::Deserialize;

use super::{BaseError, Frames};

/// Frames of a pack, one after the other, whose chunks came with the same release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The pack that the release brought which first had these chunks.
    pub first: PackId,
    /// How many frames there are.
    pub frames: usize,
}

/// A pack of an earlier release.
#[derive(Debug)]
pub struct BasePack {
    /// Its number.
    pub id: PackId,
    /// Its frames, in order.
    pub frames: Vec<FrameRecord>,
    /// The same frames, by the release that first had them.
    pub groups: Vec<Group>,
    blob: Blob,
    /// Where each frame begins.
    offsets: Vec<u64>,
}

impl BasePack {
    pub(super) fn new(
        id: PackId,
        blob: Blob,
        frames: Frames,
        groups: Vec<Group>,
    ) -> Result<Self, BaseError> {
        let (found, expected) = (blob.len(), frames.len);
        if found != expected {
            return Err(BaseError::PackLen { pack: id, found, expected });
        }
        let mut offset = 0_u64;
        let offsets = frames.records.iter().map(|frame| {
            let here = offset;
            offset = offset.saturating_add(u64::from(frame.stored_len));
            here
        });
        let offsets = offsets.collect();
        Ok(Self { id, frames: frames.records, groups, blob, offsets })
    }

    /// Its digest, which its name claims.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.blob.digest()
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.blob.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.blob.is_empty()
    }

    /// Reads all of it, compared with nothing.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        self.blob.reader()
    }

    /// Reads all of it and compares its digest.
    ///
    /// # Errors
    /// [`BaseError`]: it cannot be read, or is another.
    pub fn verify(&self) -> Result<(), BaseError> {
        let mut reader = self.blob.reader();
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = reader.read(&mut buffer);
            match read.map_err(|cause| BaseError::Read { pack: self.id, cause })? {
                0 => break,
                len => hasher.update(buffer.get(..len).unwrap_or_default()),
            }
        }
        let (found, expected) = (hasher.finish(), self.digest());
        let right = found == expected;
        right.then_some(()).ok_or(BaseError::PackDigest { pack: self.id, found, expected })
    }

    /// The pack that first brought what is in a frame.
    pub(crate) fn first_of(&self, frame: FrameIndex) -> PackId {
        let frame = usize::try_from(frame.0).unwrap_or(usize::MAX);
        let mut end = 0_usize;
        let group = self.groups.iter().find(|group| {
            end = end.saturating_add(group.frames);
            frame < end
        });
        group.map_or(self.id, |group| group.first)
    }

    /// The blocks of a frame, decoded after its digest was found right.
    pub(crate) fn decode(&self, frame: FrameIndex) -> Result<Vec<u8>, BaseError> {
        let pack = self.id;
        let at = usize::try_from(frame.0).unwrap_or(usize::MAX);
        let absent = BaseError::NoChunk { pack, frame };
        let (Some(record), Some(offset)) = (self.frames.get(at), self.offsets.get(at)) else {
            return Err(absent);
        };
        let mut stored = vec![0; usize::try_from(record.stored_len).unwrap_or(0)];
        let read = self.blob.read_at(*offset, &mut stored);
        read.map_err(|cause| BaseError::Read { pack, cause })?;
        if Digest::of(&stored) != record.digest {
            return Err(BaseError::Frame { pack, frame });
        }
        let len = usize::try_from(record.blocks).unwrap_or(0).saturating_mul(BLOCK_LEN);
        let raw = match record.codec {
            Codec::Stored => stored,
            Codec::Zstd => zstd::bulk::decompress(&stored, len)
                .map_err(|_| BaseError::Frame { pack, frame })?,
        };
        if raw.len() == len { Ok(raw) } else { Err(BaseError::Frame { pack, frame }) }
    }
}

/// What the configuration says for sealers, and devices pass over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    #[serde(default)]
    pub(super) next_pack: u32,
    packs: Vec<PackHistory>,
}

#[derive(Deserialize)]
struct PackHistory {
    id: u16,
    #[serde(default)]
    groups: Option<Vec<GroupHistory>>,
}

#[derive(Deserialize)]
struct GroupHistory {
    pack: u16,
    frames: usize,
}

impl History {
    pub(super) fn read(config: &[u8]) -> Result<Self, BaseError> {
        serde_json::from_slice(config)
            .map_err(|cause| BaseError::History { why: cause.to_string() })
    }

    /// The groups of the `frames` frames of a pack: all are its own unless it says otherwise.
    pub(super) fn groups(&self, id: PackId, frames: usize) -> Result<Vec<Group>, BaseError> {
        let told = self.packs.iter().find(|pack| pack.id == id.0);
        let Some(told) = told.and_then(|pack| pack.groups.as_ref()) else {
            return Ok(vec![Group { first: id, frames }]);
        };
        let groups = told.iter().map(|it| Group { first: PackId(it.pack), frames: it.frames });
        let groups: Vec<Group> = groups.collect();
        let sum = groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.frames));
        if sum == frames {
            return Ok(groups);
        }
        let why = format!("the groups of pack {} have {sum} frames, the pack has {frames}", id.0);
        Err(BaseError::History { why })
    }
}
