//! A layout in an uncompressed tar file: one pass over the headers, then blobs are read in place.

mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use gybe_core::digest::Digest;

use crate::tar::{
    BLOCK_LEN, BLOCK_LEN_U64, EXTENDED_LEN_MAX, Header, HeaderError, PaxError, Records, padding,
};

pub use write::ArchiveWriter;

/// Most members of an archive.
pub(crate) const MEMBERS_MAX: usize = 16_384;

/// Where a member's content lies in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) from: u64,
    pub(crate) len: u64,
}

/// An archive and the places of what is needed of it.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) file: Arc<File>,
    files: BTreeMap<Vec<u8>, Place>,
    blobs: BTreeMap<Digest, Place>,
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::of(File::open(path)?)
    }

    pub(crate) fn of(mut file: File) -> Result<Self, ArchiveError> {
        let len = file.seek(SeekFrom::End(0))?;
        let mut archive =
            Self { file: file.into(), files: BTreeMap::new(), blobs: BTreeMap::new() };
        archive.index(len)?;
        Ok(archive)
    }

    pub(crate) fn file(&self, name: &str) -> Option<Place> {
        self.files.get(name.as_bytes()).copied()
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Option<Place> {
        self.blobs.get(digest).copied()
    }

    /// Digests of the blobs that there are, at most `limit`, in order.
    pub(crate) fn digests(&self, limit: usize) -> Vec<Digest> {
        self.blobs.keys().take(limit).copied().collect()
    }

    fn index(&mut self, end: u64) -> Result<(), ArchiveError> {
        let mut at = 0_u64;
        let mut long = Overrides::default();
        for member in 0.. {
            // Not every writer ends its archive with zeros.
            if at >= end {
                return Ok(());
            }
            if member >= MEMBERS_MAX {
                return Err(ArchiveError::Members { limit: MEMBERS_MAX });
            }
            let mut block = [0; BLOCK_LEN];
            self.read(at, &mut block)?;
            let header = match Header::parse(&block) {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(()),
                Err(cause) if at == 0 => return Err(no_archive(&block, cause)),
                Err(cause) => return Err(ArchiveError::Header { at, cause }),
            };
            let is_extension = matches!(header.kind(), b'x' | b'g' | b'L' | b'K');
            let header_len = header.size().map_err(|cause| ArchiveError::Header { at, cause })?;
            let len = match header.kind() {
                // Links, devices and directories have no content, whatever they say.
                b'1'..=b'6' => 0,
                _ if is_extension => header_len,
                _ => long.len.unwrap_or(header_len),
            };
            let from = at.saturating_add(BLOCK_LEN_U64);
            let Some(after) = from.checked_add(len).filter(|&after| after <= end) else {
                return Err(ArchiveError::Truncated { at, len, end });
            };
            if is_extension {
                self.extension(&header, Place { from, len }, &mut long)?;
            } else {
                let path = long.path.take().unwrap_or_else(|| header.path());
                self.member(&path, header.kind(), Place { from, len })?;
                long = Overrides::default();
            }
            at = after.saturating_add(padding(len));
        }
        Ok(())
    }

    /// What an extended header says about the member after it. Global ones say nothing of use.
    fn extension(
        &self,
        header: &Header,
        place: Place,
        long: &mut Overrides,
    ) -> Result<(), ArchiveError> {
        if place.len > EXTENDED_LEN_MAX {
            return Err(ArchiveError::Extended { len: place.len, limit: EXTENDED_LEN_MAX });
        }
        let mut content = vec![0; usize::try_from(place.len).unwrap_or(0)];
        self.read(place.from, &mut content)?;
        match header.kind() {
            b'L' => long.path = content.split(|&byte| byte == 0).next().map(<[u8]>::to_vec),
            b'x' => {
                for record in Records::new(&content) {
                    match record? {
                        (b"path", path) => long.path = Some(path.to_vec()),
                        (b"size", len) => {
                            let len =
                                std::str::from_utf8(len).ok().and_then(|len| len.parse().ok());
                            long.len = Some(len.ok_or(ArchiveError::PaxSize)?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn member(&mut self, path: &[u8], kind: u8, place: Place) -> Result<(), ArchiveError> {
        let name = path.strip_prefix(b"./").unwrap_or(path);
        let digest = name
            .strip_prefix(b"blobs/sha256/")
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| Digest::from_hex(hex).ok());
        if digest.is_none() && name != b"index.json" && name != b"oci-layout" {
            return Ok(());
        }
        let name = || name.escape_ascii().to_string();
        if !matches!(kind, b'0' | b'\0' | b'7') {
            return Err(ArchiveError::NotRegular { name: name() });
        }
        let before = match digest {
            Some(digest) => self.blobs.insert(digest, place),
            None => self.files.insert(name().into_bytes(), place),
        };
        match before {
            Some(_) => Err(ArchiveError::Repeated { name: name() }),
            None => Ok(()),
        }
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        Ok(self.file.read_exact_at(buffer, at)?)
    }
}

/// What extended headers say about the member that follows.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    len: Option<u64>,
}

fn no_archive(block: &[u8; BLOCK_LEN], cause: HeaderError) -> ArchiveError {
    match block {
        [0x1f, 0x8b, ..] => ArchiveError::Compressed { by: "gzip" },
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ArchiveError::Compressed { by: "zstd" },
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ArchiveError::Compressed { by: "xz" },
        _ => ArchiveError::Header { at: 0, cause },
    }
}

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The whole archive is compressed.
    #[error("the archive is compressed by {by}; it is read in place and must not be")]
    Compressed {
        /// The program that decompresses it.
        by: &'static str,
    },
    /// A header is not one.
    #[error("offset {at}: {cause}")]
    Header {
        /// Where it begins.
        at: u64,
        /// What is wrong.
        cause: HeaderError,
    },
    /// An extended header is wrong.
    #[error("{0}")]
    Pax(#[from] PaxError),
    /// An extended header gives a size that is none.
    #[error("the size in an extended header is not a number")]
    PaxSize,
    /// An extended header is too long.
    #[error("an extended header is {len} bytes, limit {limit}")]
    Extended {
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A member reaches beyond the end.
    #[error("the archive is cut off: the member at {at} has {len} bytes, the archive {end}")]
    Truncated {
        /// Where the member begins.
        at: u64,
        /// How long it says it is.
        len: u64,
        /// How long the archive is.
        end: u64,
    },
    /// There are too many members.
    #[error("the archive has more than {limit} members")]
    Members {
        /// The limit.
        limit: usize,
    },
    /// A blob is a link or a directory.
    #[error("{name} is not a regular file")]
    NotRegular {
        /// Its name.
        name: String,
    },
    /// A name is there twice.
    #[error("{name} is in the archive twice")]
    Repeated {
        /// The name.
        name: String,
    },
}
