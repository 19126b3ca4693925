//! Reads tar files as the layers of images are: every dialect that GNU tar, bsdtar, Go and
//! Python write, one member after the other, in one pass and bounded memory.
//!
//! Nothing here knows about layers: a whiteout is a file with an odd name. The rules are written
//! down in `docs/formats/tree.md`.

mod extended;
mod path;
mod reader;
mod sparse;

use gybe_oci::tar::{HeaderError, PaxError};

pub(crate) use path::{NAME_LEN_MAX, PATH_LEN_MAX, normal};
pub(crate) use reader::{Member, MemberKind, Reader};

/// Longest name of an extended attribute, in bytes, as Linux has it.
pub(crate) const XATTR_NAME_LEN_MAX: usize = 255;
/// Longest value of an extended attribute, in bytes, as Linux has it.
pub(crate) const XATTR_VALUE_LEN_MAX: usize = 65_536;
/// Longest target of a symbolic link, in bytes, as Linux has it.
pub(crate) const SYMLINK_LEN_MAX: usize = 4095;
/// Most pieces of a sparse file.
pub(crate) const PIECES_MAX: usize = 1 << 18;
/// Highest major device number, as Linux has it.
pub(crate) const MAJOR_MAX: u32 = (1 << 12) - 1;
/// Highest minor device number, as Linux has it.
pub(crate) const MINOR_MAX: u32 = (1 << 20) - 1;

/// Attributes that steer how an image is cut into layers. They differ between images of the same
/// content, so they are dropped.
pub(crate) const CHUNKING_HINTS: [&[u8]; 2] = [b"user.component", b"user.update-interval"];

/// What is wrong with a tar file, or not supported.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A header is wrong.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// An extended header is wrong.
    #[error("{0}")]
    Pax(#[from] PaxError),
    /// A value in an extended header is wrong.
    #[error("{key} in the extended header is {value}, which is not valid")]
    Value {
        /// Its keyword.
        key: String,
        /// What stands there.
        value: String,
    },
    /// An extended header is too long.
    #[error("an extended header is {len} bytes, limit {limit}")]
    Extended {
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The stream ends within a member.
    #[error("the tar file is cut off at {at}")]
    Truncated {
        /// Where.
        at: u64,
    },
    /// Something follows a block of zeros.
    #[error("a member follows the end of the tar file, at {at}")]
    AfterEnd {
        /// Where.
        at: u64,
    },
    /// A member is of a type that has no meaning in a layer.
    #[error("unsupported entry type {kind}")]
    Kind {
        /// The type flag.
        kind: String,
    },
    /// A path or name is not acceptable.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A number does not fit where Linux keeps it.
    #[error("{field} is {found}, limit {limit}")]
    Range {
        /// Which.
        field: &'static str,
        /// What it is.
        found: i64,
        /// The highest there may be.
        limit: i64,
    },
    /// A symbolic link leads to nothing or is too long.
    #[error("symlink target is {len} bytes, must be 1 to {SYMLINK_LEN_MAX}")]
    Symlink {
        /// Its length.
        len: usize,
    },
    /// An extended attribute's name is not acceptable.
    #[error("xattr name is {len} bytes or has a NUL, must be 1 to {XATTR_NAME_LEN_MAX} without")]
    XattrName {
        /// Its length.
        len: usize,
    },
    /// An extended attribute's value is too long.
    #[error("xattr {name} is {len} bytes, limit {XATTR_VALUE_LEN_MAX}")]
    XattrValue {
        /// Its name.
        name: String,
        /// How long the value is.
        len: usize,
    },
    /// The map of a sparse file is wrong.
    #[error("the map of a sparse file is wrong: {why}")]
    Sparse {
        /// In which way.
        why: &'static str,
    },
    /// The contents are longer than allowed.
    #[error("contents are {len} bytes and more, limit {limit}")]
    Contents {
        /// How long they are so far.
        len: u64,
        /// The limit.
        limit: u64,
    },
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no bytes.
    #[error("empty path")]
    Empty,
    /// It leads upward.
    #[error("path has a .. component")]
    DotDot,
    /// It has a NUL.
    #[error("path has a NUL")]
    Nul,
    /// A component is too long.
    #[error("name is {len} bytes, limit {NAME_LEN_MAX}")]
    NameLen {
        /// How long.
        len: usize,
    },
    /// The whole is too long.
    #[error("path is {len} bytes, limit {PATH_LEN_MAX}")]
    PathLen {
        /// How long.
        len: usize,
    },
}

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
