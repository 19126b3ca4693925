//! Reading a layout: its index, and blobs by digest.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use gybe_core::digest::{Digest, Hasher};
use serde::Deserialize;

use crate::archive::{Archive, ArchiveError};
use crate::blob::Blob;
use crate::directory::{Directory, Entry};
use crate::manifest::{INDEX_LEN_MAX, Index, Platform};
use crate::reference::{LayoutReference, Transport};

/// The version of the layout that is read and written.
const VERSION: &str = "1.0.0";

/// Longest `oci-layout` file, in bytes.
const VERSION_FILE_LEN_MAX: u64 = 4096;

/// An OCI layout that was opened, with its index.
///
/// Its directory or file is opened once: nothing is looked up by path again.
#[derive(Debug)]
pub struct Layout {
    place: Place,
    name: String,
    index: Index,
}

#[derive(Debug)]
enum Place {
    Directory(Directory),
    Archive(Archive),
}

impl Layout {
    /// Opens the layout that `reference` names; its tag is not looked at.
    ///
    /// # Errors
    /// There is no layout, it is of another version, or its index is not one.
    pub fn open(reference: &LayoutReference) -> Result<Self, LayoutError> {
        let name = LayoutReference { tag: None, ..reference.clone() }.to_string();
        let at = |problem| LayoutError { layout: name.clone(), problem };
        let place = match reference.transport {
            Transport::Directory => Directory::open(&reference.path)
                .map(Place::Directory)
                .map_err(|cause| Problem::Open { cause }),
            Transport::Archive => {
                Archive::open(&reference.path).map(Place::Archive).map_err(Problem::Archive)
            }
        };
        Self::at(place.map_err(at)?, name)
    }

    /// Opens the layout that lies under `entry` in an open folder of a stranger: a folder, or a tar
    /// file. No link is followed. Messages call it `name`.
    ///
    /// # Errors
    /// As [`Layout::open`].
    pub fn open_in(folder: BorrowedFd<'_>, entry: &OsStr, name: &str) -> Result<Self, LayoutError> {
        let name = name.to_owned();
        let at = |problem| LayoutError { layout: name.clone(), problem };
        let place = match Entry::open(folder, entry) {
            Err(cause) => Err(Problem::Open { cause }),
            Ok(Entry::Folder(folder)) => Ok(Place::Directory(Directory::of(folder))),
            Ok(Entry::File(file)) => {
                Archive::of(file).map(Place::Archive).map_err(Problem::Archive)
            }
        };
        let place = place.map_err(at)?;
        Self::at(place, name)
    }

    fn at(place: Place, name: String) -> Result<Self, LayoutError> {
        let at = |problem| LayoutError { layout: name.clone(), problem };
        check_version(&place).map_err(at)?;
        let index = place.file("index.json", INDEX_LEN_MAX).map_err(at)?;
        let index = Index::parse(&index)
            .map_err(|cause| at(Problem::Json { what: "index.json".to_owned(), cause }))?;
        Ok(Self { place, name, index })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its `index.json`.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Opens a blob. Its length is what is stored, its bytes are not checked.
    ///
    /// # Errors
    /// There is no such blob, or it is not a regular file.
    pub fn blob(&self, digest: &Digest) -> Result<Blob, LayoutError> {
        self.place.blob(digest).map_err(|problem| self.error(problem))
    }

    /// Whether there is no such blob: not one that cannot be read.
    #[must_use]
    pub fn lacks(&self, digest: &Digest) -> bool {
        matches!(self.blob(digest), Err(LayoutError { problem: Problem::NoBlob { .. }, .. }))
    }

    /// Opens a blob and compares its length with what a descriptor says.
    ///
    /// # Errors
    /// As [`Layout::blob`], or the lengths differ.
    pub fn blob_of_len(&self, digest: &Digest, len: u64) -> Result<Blob, LayoutError> {
        let blob = self.blob(digest)?;
        if blob.len() == len {
            return Ok(blob);
        }
        Err(self.error(Problem::Len { digest: *digest, found: blob.len(), expected: len }))
    }

    /// Fills `buffer` with the bytes of a blob that begin at `at`, unchecked.
    /// Whoever reads more than once opens the [`Layout::blob`] and keeps it.
    ///
    /// # Errors
    /// As [`Layout::blob`], or what the medium says.
    pub fn read_blob_at(
        &self,
        digest: &Digest,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<(), LayoutError> {
        let blob = self.blob(digest)?;
        blob.read_at(at, buffer)
            .map_err(|cause| self.error(Problem::Read { what: digest.to_string(), cause }))
    }

    /// All bytes of a blob of at most `limit` bytes, whose digest is right.
    ///
    /// # Errors
    /// As [`Layout::blob`]; the blob is longer than `limit` (which is found before anything is
    /// read); or its digest is another.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let blob = self.blob(digest)?;
        let what = || digest.to_string();
        let bytes = read(&blob, limit, what).map_err(|problem| self.error(problem))?;
        let mut hasher = Hasher::new();
        hasher.update(&bytes);
        let found = hasher.finish();
        if found == *digest {
            return Ok(bytes);
        }
        Err(self.error(Problem::Digest { digest: *digest, found }))
    }

    /// Digests of at most `limit` blobs, in order.
    pub(crate) fn digests(&self, limit: usize) -> Result<Vec<Digest>, LayoutError> {
        match &self.place {
            Place::Directory(directory) => directory.digests(limit).map_err(|cause| {
                self.error(Problem::Read { what: "blobs/sha256".to_owned(), cause })
            }),
            Place::Archive(archive) => Ok(archive.digests(limit)),
        }
    }

    pub(crate) fn error(&self, problem: Problem) -> LayoutError {
        LayoutError { layout: self.name.clone(), problem }
    }
}

impl Place {
    fn file(&self, name: &'static str, limit: u64) -> Result<Vec<u8>, Problem> {
        let missing = || Problem::NoFile { name };
        let (file, from, len) = match self {
            Self::Directory(directory) => {
                let (file, len) = directory.file(name).map_err(|cause| match cause.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => Problem::Read { what: name.to_owned(), cause },
                })?;
                (Arc::new(file), 0, len)
            }
            Self::Archive(archive) => {
                let place = archive.file(name).ok_or_else(missing)?;
                (archive.file.clone(), place.from, place.len)
            }
        };
        let blob = Blob::in_file(file, from, len, Digest::new([0; 32]));
        read(&blob, limit, || name.to_owned())
    }

    fn blob(&self, digest: &Digest) -> Result<Blob, Problem> {
        let missing = || Problem::NoBlob { digest: *digest };
        match self {
            Self::Directory(directory) => {
                let (file, len) = directory.blob(digest).map_err(|cause| match cause.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => Problem::Read { what: digest.to_string(), cause },
                })?;
                Ok(Blob::in_file(file.into(), 0, len, *digest))
            }
            Self::Archive(archive) => {
                let place = archive.blob(digest).ok_or_else(missing)?;
                Ok(Blob::in_file(archive.file.clone(), place.from, place.len, *digest))
            }
        }
    }
}

fn read(blob: &Blob, limit: u64, what: impl Fn() -> String) -> Result<Vec<u8>, Problem> {
    let len = blob.len();
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= limit) else {
        return Err(Problem::TooLong { what: what(), len, limit });
    };
    let mut bytes = vec![0; len];
    blob.read_at(0, &mut bytes).map_err(|cause| Problem::Read { what: what(), cause })?;
    Ok(bytes)
}

fn check_version(place: &Place) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        image_layout_version: String,
    }

    let text = place.file("oci-layout", VERSION_FILE_LEN_MAX)?;
    let version: Version = serde_json::from_slice(&text)
        .map_err(|cause| Problem::Json { what: "oci-layout".to_owned(), cause })?;
    match version.image_layout_version {
        version if version == VERSION => Ok(()),
        found => Err(Problem::Version { found }),
    }
}

/// Why a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{layout}: {problem}")]
pub struct LayoutError {
    /// The layout, as its reference is spelt.
    pub layout: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong in a layout.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The directory cannot be opened.
    #[error("cannot open the directory: {cause}")]
    Open {
        /// What the system says.
        cause: io::Error,
    },
    /// The archive cannot be opened.
    #[error("{0}")]
    Archive(ArchiveError),
    /// A file that every layout has is missing.
    #[error("no OCI layout: there is no {name}")]
    NoFile {
        /// Its name.
        name: &'static str,
    },
    /// The layout has another version.
    #[error("the layout has version {found}, not {VERSION}")]
    Version {
        /// Which.
        found: String,
    },
    /// A blob is missing.
    #[error("{digest} is missing")]
    NoBlob {
        /// Its digest.
        digest: Digest,
    },
    /// A file or blob cannot be read.
    #[error("cannot read {what}: {cause}")]
    Read {
        /// Which.
        what: String,
        /// What the system says.
        cause: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {what}: {cause}")]
    Write {
        /// Which.
        what: String,
        /// What the system says.
        cause: io::Error,
    },
    /// A file or blob is too long for what it is.
    #[error("{what} is {len} bytes, limit {limit}")]
    TooLong {
        /// Which.
        what: String,
        /// How long it is.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// There is more of something than is looked at.
    #[error("there are more {what} than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A blob has another length than its descriptor says.
    #[error("{digest} is {found} bytes, its descriptor says {expected}")]
    Len {
        /// Its digest.
        digest: Digest,
        /// How long it is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// The bytes of a blob have another digest.
    #[error("{digest} is corrupt: the digest of its bytes is {found}")]
    Digest {
        /// The digest that names it.
        digest: Digest,
        /// That of its bytes.
        found: Digest,
    },
    /// A text is not what it should be.
    #[error("{what}: {cause}")]
    Json {
        /// Which.
        what: String,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// Nothing in the index has the tag.
    #[error("no image has the tag {tag}; there are {there}")]
    NoTag {
        /// The tag.
        tag: String,
        /// The tags that there are.
        there: String,
    },
    /// The index has no image at all.
    #[error("there is no image")]
    NoImage,
    /// Nothing is for the machine.
    #[error("there is no image for {platform}, only for {there}")]
    NoPlatform {
        /// The machine.
        platform: Platform,
        /// The machines that there are images for.
        there: String,
    },
    /// More than one image fits.
    #[error("{count} images fit; name one by tag or architecture: {there}")]
    Ambiguous {
        /// How many.
        count: usize,
        /// Their tags, machines or digests.
        there: String,
    },
    /// Indexes lie in indexes too often.
    #[error("{digest} lies more than {limit} indexes deep")]
    Depth {
        /// The innermost index.
        digest: Digest,
        /// The limit.
        limit: usize,
    },
    /// An entry is neither an image nor an index.
    #[error("{digest} is a {media_type}, neither an image nor an index")]
    MediaType {
        /// Its digest.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// Someone else writes to the layout.
    #[error("another program is writing to the layout")]
    Locked,
}
