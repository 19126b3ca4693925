//! Blocks and records of tar files: enough for archives here, and what layers are read with.
//!
//! Sources: POSIX.1-2024 pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar
//! manual, "Basic Tar Format"; star's `tar` trailer as in libarchive's tar(5).

mod header;
mod pax;
mod write;

pub use header::{Header, HeaderError, NumberField};
pub use pax::{PaxError, Records};
pub use write::{Kind, NAME_LEN_MAX, header};

/// Length of a header, and what contents are padded to, in bytes.
pub const BLOCK_LEN: usize = 512;

/// [`BLOCK_LEN`] for arithmetic on positions.
pub const BLOCK_LEN_U64: u64 = 512;

/// Longest extended header or long name that is read, in bytes.
pub const EXTENDED_LEN_MAX: u64 = 1 << 20;

/// How many bytes of padding follow `len` bytes of content.
#[must_use]
pub const fn padding(len: u64) -> u64 {
    len.wrapping_neg() % BLOCK_LEN_U64
}
