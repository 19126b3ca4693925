//! Frames: the pieces of a pack that are fetched, authenticated and decoded as one.
//!
//! A frame's record, in a page of its pack, all numbers little-endian:
//!
//! ```text
//! stored length u32 │ blocks u16 │ codec u8 │ 0 u8 │ digest of the stored bytes 32
//! ```

use super::FrameIndex;
use crate::block::BLOCK_LEN;
use crate::digest::Digest;

/// Length of a frame record in bytes.
pub const FRAME_RECORD_LEN: usize = 40;

/// The most blocks a frame may decode to: 1 MiB.
pub const FRAME_BLOCKS_MAX: u32 = 256;

/// The most bytes a decoded frame, and so a stored one, may have.
pub const FRAME_LEN_MAX: usize = 1 << 20;

const _: () = assert!(FRAME_BLOCKS_MAX as usize * BLOCK_LEN == FRAME_LEN_MAX);

/// How a frame's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Stored,
    /// As one zstd frame (RFC 8878) with its content size, whose window is at most the frame.
    Zstd,
}

impl Codec {
    const fn id(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Zstd => 1,
        }
    }
}

/// A frame as its record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// How many bytes are stored, `1..=FRAME_LEN_MAX`.
    pub stored_len: u32,
    /// How many blocks they decode to, `1..=FRAME_BLOCKS_MAX`.
    pub blocks: u32,
    /// How they are stored.
    pub codec: Codec,
    /// The digest of the stored bytes.
    pub digest: Digest,
}

/// A frame and where it lies in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number in the pack.
    pub index: FrameIndex,
    /// Where its stored bytes begin in the pack.
    pub offset: u64,
    /// What the record says.
    pub record: FrameRecord,
}

impl FrameRecord {
    /// The record's bytes; `None` when a number is out of its range.
    #[must_use]
    pub fn encode(&self) -> Option<[u8; FRAME_RECORD_LEN]> {
        let mut out = [0; FRAME_RECORD_LEN];
        out[..4].copy_from_slice(&self.stored_len.to_le_bytes());
        out[4..6].copy_from_slice(&u16::try_from(self.blocks).ok()?.to_le_bytes());
        out[6] = self.codec.id();
        out[8..].copy_from_slice(self.digest.as_bytes());
        Self::decode(&out).is_ok().then_some(out)
    }

    pub(super) fn decode(bytes: &[u8; FRAME_RECORD_LEN]) -> Result<Self, &'static str> {
        let [l0, l1, l2, l3, b0, b1, codec, reserved, digest @ ..] = *bytes;
        let codec = match codec {
            0 => Codec::Stored,
            1 => Codec::Zstd,
            _ => return Err("a frame with a codec that this gybe does not know"),
        };
        let record = Self {
            stored_len: u32::from_le_bytes([l0, l1, l2, l3]),
            blocks: u32::from(u16::from_le_bytes([b0, b1])),
            codec,
            digest: Digest::new(digest),
        };
        let stored = usize::try_from(record.stored_len).unwrap_or(usize::MAX);
        let raw = usize::try_from(record.blocks).unwrap_or(usize::MAX).saturating_mul(BLOCK_LEN);
        match record.codec {
            _ if reserved != 0 => Err("the reserved byte of a frame record is used"),
            _ if record.blocks == 0 || stored == 0 => Err("a frame of no blocks"),
            _ if raw > FRAME_LEN_MAX => Err("a frame of more than 256 blocks"),
            Codec::Stored if stored != raw => Err("a stored frame whose lengths differ"),
            Codec::Zstd if stored >= raw => Err("a compressed frame longer than its content"),
            _ => Ok(record),
        }
    }
}
