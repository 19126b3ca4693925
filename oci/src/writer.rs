//! Writing a layout in a directory: blobs under their digest, then the index that names them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use gybe_core::digest::{Digest, Hasher};
use serde_json::{Value, json};

use crate::layout::{Layout, LayoutError, Problem};
use crate::manifest::{DESCRIPTORS_MAX, Descriptor, INDEX_LEN_MAX, REF_NAME, media_type};
use crate::reference::LayoutReference;

/// What blobs are called while they are written.
const TEMPORARY: &str = "tmp-";

/// Writes to a layout in a directory, alone.
///
/// # Contract
/// A blob has its name only once all of it is durable, and the index changes as a whole: a power
/// cut leaves the old index or the new one, and no name leads to half a blob.
#[derive(Debug)]
pub struct LayoutWriter {
    layout: Layout,
    root: PathBuf,
    blobs: PathBuf,
    /// Held for its lock.
    lock: File,
}

/// A blob while it is written. Dropped before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    writer: &'a LayoutWriter,
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Hasher,
    len: u64,
    done: bool,
}

impl LayoutWriter {
    /// Opens the layout in `root`, which is made where there is none.
    ///
    /// # Errors
    /// What is there is no layout, another program writes to it, or the system refuses.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        let reference = LayoutReference::directory(root);
        let failed = |path: &Path| {
            let what = path.display().to_string();
            let layout = reference.to_string();
            |cause| LayoutError { layout, problem: Problem::Write { what, cause } }
        };
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
        let lock = File::open(root).map_err(failed(root))?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                let layout = reference.to_string();
                return Err(LayoutError { layout, problem: Problem::Locked });
            }
            // Where there are no locks, whoever runs two writers must know.
            Err(fs::TryLockError::Error(_)) | Ok(()) => {}
        }
        remove_leftovers(&blobs).map_err(failed(&blobs))?;
        for (name, content) in [
            (
                "index.json",
                json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []}),
            ),
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
        ] {
            let path = root.join(name);
            if !path.exists() {
                replace(root, name, content.to_string().as_bytes()).map_err(failed(&path))?;
            }
        }
        let layout = Layout::open(&reference)?;
        Ok(Self { layout, root: root.to_owned(), blobs, lock })
    }

    /// The layout, to read blobs that are there. Its index is that from before.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// The system refuses.
    pub fn blob(&self) -> Result<BlobWriter<'_>, LayoutError> {
        for number in 0_u32.. {
            let path = self.blobs.join(format!("{TEMPORARY}{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(BlobWriter {
                        writer: self,
                        path,
                        file: BufWriter::with_capacity(1 << 16, file),
                        hasher: Hasher::new(),
                        len: 0,
                        done: false,
                    });
                }
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(self.failed(&path, cause)),
            }
        }
        Err(self.failed(&self.blobs, io::Error::other("no name for a blob is left")))
    }

    /// Writes a whole blob.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<(Digest, u64), LayoutError> {
        let mut blob = self.blob()?;
        blob.write_all(bytes).map_err(|cause| self.failed(&self.blobs, cause))?;
        blob.finish()
    }

    /// Whether there is a blob with this digest and length.
    #[must_use]
    pub fn has(&self, digest: &Digest, len: u64) -> bool {
        self.layout.blob_of_len(digest, len).is_ok()
    }

    /// Writes the blob with this digest, which `from` gives.
    ///
    /// # Errors
    /// `from` cannot be read, or gives other bytes; or the system refuses.
    pub fn take_blob(&self, digest: &Digest, from: &mut dyn Read) -> Result<(), LayoutError> {
        let mut blob = self.blob()?;
        io::copy(from, &mut blob)
            .map_err(|cause| self.failed(&self.blobs.join(digest.hex().to_string()), cause))?;
        let found = blob.hasher.clone().finish();
        if found != *digest {
            return Err(self.layout.error(Problem::Digest { digest: *digest, found }));
        }
        blob.finish().map(|_| ())
    }

    /// Lists a manifest in the index, under `tag` if there is one. An entry that had the tag, or
    /// one without a tag for the same manifest, gives way; all others stay as they are.
    ///
    /// # Errors
    /// The blob is missing or has another length, the index is full, or the system refuses.
    pub fn list(&self, entry: &Descriptor, tag: Option<&str>) -> Result<(), LayoutError> {
        self.layout.blob_of_len(&entry.digest, entry.size)?;
        let mut entry = entry.clone();
        match tag {
            Some(tag) => entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned()),
            None => entry.annotations.remove(REF_NAME),
        };
        // Read anew, and as it stands: members unknown here are kept too.
        let json =
            |cause| self.layout.error(Problem::Json { what: "index.json".to_owned(), cause });
        let path = self.root.join("index.json");
        let text = fs::read(&path).map_err(|cause| self.failed(&path, cause))?;
        let mut index: Value = serde_json::from_slice(&text).map_err(json)?;
        let digest = entry.digest.to_string();
        let gives_way = |old: &Value| {
            let old_tag = old.get("annotations").and_then(|all| all.get(REF_NAME)?.as_str());
            let old_digest = old.get("digest").and_then(Value::as_str);
            old_tag == tag && (tag.is_some() || old_digest == Some(&digest))
        };
        let entry = serde_json::to_value(&entry).map_err(json)?;
        let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
        let count = entries.map_or(0, |entries| {
            entries.retain(|old| !gives_way(old));
            entries.push(entry);
            entries.len()
        });
        let text = serde_json::to_vec(&index).map_err(json)?;
        for (what, len, limit) in [
            ("index.json", text.len() as u64, INDEX_LEN_MAX),
            ("the list in index.json", count as u64, DESCRIPTORS_MAX as u64),
        ] {
            if len > limit {
                let what = what.to_owned();
                return Err(self.layout.error(Problem::TooLong { what, len, limit }));
            }
        }
        replace(&self.root, "index.json", &text).map_err(|cause| self.failed(&path, cause))
    }

    fn failed(&self, path: &Path, cause: io::Error) -> LayoutError {
        let what = path.display().to_string();
        self.layout.error(Problem::Write { what, cause })
    }
}

impl Drop for LayoutWriter {
    fn drop(&mut self) {
        // Closing the file is not enough: a program that another thread is just starting holds it
        // too, until it has begun. A lock that cannot be given back ends with this program.
        let _ = self.lock.unlock();
    }
}

impl BlobWriter<'_> {
    /// Makes what was written durable under its digest, and says that and its length.
    ///
    /// # Errors
    /// The system refuses; there is then no blob.
    pub fn finish(mut self) -> Result<(Digest, u64), LayoutError> {
        let digest = self.hasher.clone().finish();
        let path = self.writer.blobs.join(digest.hex().to_string());
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.path, &path))
            .and_then(|()| File::open(&self.writer.blobs)?.sync_all())
            .map_err(|cause| self.writer.failed(&path, cause))?;
        self.done = true;
        Ok((digest, self.len))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or(bytes));
        self.len = self.len.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if !self.done {
            // What stays is removed when the layout is next opened for writing.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a writer left that was killed. The lock says that none is at work.
fn remove_leftovers(blobs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(blobs)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Replaces a file as a whole, durably.
fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
