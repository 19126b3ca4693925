//! What QEMU loaded: keys and a release, one behind the other, with their lengths in front.
//!
//! ```text
//! "GYBEFW\0\0" │ 9 lengths u32 │ architecture │ environment │ P-256 key │ Ed25519 key │
//! manifest │ configuration │ signatures │ recipe │ pack
//! ```
//!
//! The environment is one copy as `mkenvimage -r` makes it. Keys are `SubjectPublicKeyInfo` in DER,
//! signatures are as a trailer keeps them. Numbers are
//! little-endian.

use core::fmt;

use gybe_core::apply::Source;
use gybe_core::manifest::{Descriptor, Manifest};

const MAGIC: &[u8] = b"GYBEFW\0\0";

/// Everything that is read of the flash chip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf<'s> {
    /// What the device calls its architecture: that of the host, with whose install this one is
    /// compared.
    pub(crate) architecture: &'s str,
    pub(crate) environment: &'s [u8],
    pub(crate) p256: &'s [u8],
    pub(crate) ed25519: &'s [u8],
    pub(crate) manifest: &'s [u8],
    pub(crate) config: &'s [u8],
    pub(crate) signatures: &'s [u8],
    pub(crate) recipe: &'s [u8],
    pub(crate) pack: &'s [u8],
}

impl<'s> Shelf<'s> {
    pub(crate) fn read(bytes: &'s [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (lens, mut rest) = rest.split_at_checked(9 * 4)?;
        let mut lens = lens.as_chunks::<4>().0.iter();
        let mut next = || {
            let len = usize::try_from(u32::from_le_bytes(*lens.next()?)).ok()?;
            let (found, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(found)
        };
        Some(Self {
            architecture: str::from_utf8(next()?).ok()?,
            environment: next()?,
            p256: next()?,
            ed25519: next()?,
            manifest: next()?,
            config: next()?,
            signatures: next()?,
            recipe: next()?,
            pack: next()?,
        })
    }

    /// The blobs of the release, as `manifest` names them, for as many bytes as `budget`.
    pub(crate) fn source(&self, manifest: &Manifest<'_>, budget: u64) -> Chip<'s> {
        let pack = manifest.packs.first().copied();
        Chip { shelf: *self, recipe: manifest.recipe, pack, left: budget, flipped: None }
    }
}

/// The flash chip, which can fail.
#[derive(Debug)]
pub(crate) struct Chip<'s> {
    shelf: Shelf<'s>,
    recipe: Descriptor,
    pack: Option<Descriptor>,
    /// How many bytes it still gives.
    left: u64,
    /// The byte of the pack that has a wrong bit.
    pub(crate) flipped: Option<u64>,
}

/// Why the chip does not give bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChipError {
    Unknown,
    Beyond,
    Ended,
}

impl fmt::Display for ChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such blob",
            Self::Beyond => "beyond the end",
            Self::Ended => "the source ended",
        })
    }
}

impl Source for Chip<'_> {
    type Error = ChipError;

    fn read(&mut self, blob: &Descriptor, at: u64, buffer: &mut [u8]) -> Result<(), ChipError> {
        let is_pack = Some(*blob) == self.pack;
        let bytes = match is_pack {
            true => self.shelf.pack,
            false if *blob == self.recipe => self.shelf.recipe,
            false => return Err(ChipError::Unknown),
        };
        let len = u64::try_from(buffer.len()).map_err(|_| ChipError::Beyond)?;
        self.left = self.left.checked_sub(len).ok_or(ChipError::Ended)?;
        let start = usize::try_from(at).map_err(|_| ChipError::Beyond)?;
        let from = bytes.get(start..).and_then(|bytes| bytes.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(ChipError::Beyond)?);
        let flipped = self.flipped.filter(|_| is_pack).and_then(|flipped| flipped.checked_sub(at));
        let flipped = flipped.and_then(|within| usize::try_from(within).ok());
        if let Some(byte) = flipped.and_then(|within| buffer.get_mut(within)) {
            *byte ^= 1;
        }
        Ok(())
    }
}
