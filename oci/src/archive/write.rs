//! Writing a layout as one tar file: first what names the rest, so that it can be read from front to
//! end; the same content gives the same bytes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use gybe_core::digest::{Digest, Hasher};
use serde_json::json;

use crate::layout::{LayoutError, Problem};
use crate::manifest::{Descriptor, media_type};
use crate::tar::{BLOCK_LEN, BLOCK_LEN_U64, Kind, header, padding};

/// How much is copied at once.
const COPY_LEN: usize = 1 << 18;

/// Writes a layout to a tar file, from its beginning to its end.
///
/// # Contract
/// The file has its name only once all of it is durable. A power cut before leaves what was there, and
/// beside it a file with a dot in front that the next run replaces.
#[derive(Debug)]
pub struct ArchiveWriter {
    out: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    len: u64,
    done: bool,
}

impl ArchiveWriter {
    /// Begins the archive at `path` with the index of what will be in it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn create(path: &Path, entries: &[Descriptor]) -> Result<Self, LayoutError> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|cause| write_error(path, cause))?;
        let out = BufWriter::with_capacity(COPY_LEN, file);
        let mut archive = Self { out, path: path.to_owned(), temporary, len: 0, done: false };
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
        archive
            .small("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
        archive.small("index.json", index.to_string().as_bytes())?;
        archive.head("blobs/", Kind::Folder, 0)?;
        archive.head("blobs/sha256/", Kind::Folder, 0)?;
        Ok(archive)
    }

    /// Writes a blob that has `len` bytes, which `from` gives.
    ///
    /// # Errors
    /// `from` cannot be read, or gives other bytes than those with this digest; or the system refuses.
    pub fn blob(
        &mut self,
        digest: &Digest,
        len: u64,
        from: &mut dyn Read,
    ) -> Result<(), LayoutError> {
        self.head(&format!("blobs/sha256/{}", digest.hex()), Kind::File, len)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; COPY_LEN];
        let mut left = len;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let room = buffer.get_mut(..room).unwrap_or_default();
            let count = from
                .read(room)
                .map_err(|cause| self.error(Problem::Read { what: digest.to_string(), cause }))?;
            if count == 0 {
                let cause = io::ErrorKind::UnexpectedEof.into();
                return Err(self.error(Problem::Read { what: digest.to_string(), cause }));
            }
            let bytes = room.get(..count).unwrap_or_default();
            hasher.update(bytes);
            self.put(bytes)?;
            left = left.saturating_sub(count as u64);
        }
        self.pad(len)?;
        let found = hasher.finish();
        if found == *digest {
            return Ok(());
        }
        Err(self.error(Problem::Digest { digest: *digest, found }))
    }

    /// Ends the archive, and gives it its name. Says how long it is.
    ///
    /// # Errors
    /// The system refuses; what was there before is there still.
    pub fn finish(mut self) -> Result<u64, LayoutError> {
        self.put(&[0; 2 * BLOCK_LEN])?;
        self.out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .and_then(|()| File::open(folder(&self.path))?.sync_all())
            .map_err(|cause| write_error(&self.path, cause))?;
        self.done = true;
        Ok(self.len)
    }

    fn small(&mut self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let len = content.len() as u64;
        self.head(name, Kind::File, len)?;
        self.put(content)?;
        self.pad(len)
    }

    fn head(&mut self, name: &str, kind: Kind, len: u64) -> Result<(), LayoutError> {
        let header = header(name, kind, len).ok_or_else(|| {
            let limit = crate::tar::NAME_LEN_MAX as u64;
            let len = name.len() as u64;
            self.error(Problem::TooLong { what: format!("the name {name:?}"), len, limit })
        })?;
        self.put(&header)
    }

    fn pad(&mut self, len: u64) -> Result<(), LayoutError> {
        let zeros = [0; BLOCK_LEN];
        let count = usize::try_from(padding(len) % BLOCK_LEN_U64).unwrap_or(0);
        self.put(zeros.get(..count).unwrap_or_default())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LayoutError> {
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.out.write_all(bytes).map_err(|cause| write_error(&self.path, cause))
    }

    fn error(&self, problem: Problem) -> LayoutError {
        LayoutError { layout: name(&self.path), problem }
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.done {
            // What stays is replaced by the next run.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn name(path: &Path) -> String {
    format!("oci-archive:{}", path.display())
}

/// The folder that a file is in, also where its path is a name only.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_error(path: &Path, cause: io::Error) -> LayoutError {
    let what = path.display().to_string();
    LayoutError { layout: name(path), problem: Problem::Write { what, cause } }
}
