//! Writing what was put together: to a folder, or to a tar file.

use std::io::{Cursor, Read};

use gybe_oci::{
    ArchiveWriter, BlobReader, LayoutReference, LayoutWriter, MANIFEST_LEN_MAX, SourceError,
    Transport,
};

use super::BundleError;
use super::contents::{Contents, Origin, Part};
use crate::push::Pushed;

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Bytes of the blobs that were copied.
    pub(super) bytes: u64,
    /// Bytes of those that were there already.
    pub(super) there_bytes: u64,
    /// The longest file.
    pub(super) longest: u64,
}

impl Written {
    /// What was sent to a registry. No file is written there.
    pub(super) const fn of(pushed: Pushed) -> Self {
        Self { bytes: pushed.sent_bytes, there_bytes: pushed.there_bytes, longest: 0 }
    }
}

/// Writes `contents` to `output`.
pub(super) fn write(
    contents: &Contents<'_>,
    output: &LayoutReference,
) -> Result<Written, BundleError> {
    match output.transport {
        Transport::Directory => folder(contents, output),
        Transport::Archive => archive(contents, output),
    }
}

/// Blobs first, then what lists them: a power cut leaves blobs that nobody names, or less.
fn folder(contents: &Contents<'_>, output: &LayoutReference) -> Result<Written, BundleError> {
    let writer = LayoutWriter::open(&output.path)?;
    let mut written = Written::default();
    for part in &contents.parts {
        written.longest = written.longest.max(part.len);
        if writer.has(&part.digest, part.len) {
            written.there_bytes = written.there_bytes.saturating_add(part.len);
            continue;
        }
        writer.take_blob(&part.digest, &mut part.reader()?)?;
        written.bytes = written.bytes.saturating_add(part.len);
    }
    for entry in contents.entries() {
        writer.list(&entry, entry.ref_name())?;
    }
    Ok(written)
}

fn archive(contents: &Contents<'_>, output: &LayoutReference) -> Result<Written, BundleError> {
    let mut archive = ArchiveWriter::create(&output.path, &contents.entries())?;
    let mut written = Written::default();
    for part in &contents.parts {
        archive.blob(&part.digest, part.len, &mut part.reader()?)?;
        written.bytes = written.bytes.saturating_add(part.len);
    }
    written.longest = archive.finish()?;
    Ok(written)
}

impl Part<'_> {
    /// Reads it from its beginning.
    ///
    /// # Errors
    /// It is not there any more, or of another length.
    pub(super) fn reader(&self) -> Result<PartReader, SourceError> {
        Ok(match &self.from {
            Origin::Source(source) if self.document.is_none() => {
                PartReader::Blob(source.blob_of_len(&self.digest, self.len)?.reader())
            }
            _ => PartReader::Document(Cursor::new(self.text()?)),
        })
    }

    /// All bytes of a document.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn text(&self) -> Result<Vec<u8>, SourceError> {
        match &self.from {
            Origin::Made(bytes) => Ok(bytes.clone()),
            Origin::Source(source) => source.document(&self.digest, MANIFEST_LEN_MAX),
        }
    }
}

/// Reads a part.
#[derive(Debug)]
pub(super) enum PartReader {
    Document(Cursor<Vec<u8>>),
    Blob(BlobReader),
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Document(bytes) => bytes.read(buffer),
            Self::Blob(blob) => blob.read(buffer),
        }
    }
}
