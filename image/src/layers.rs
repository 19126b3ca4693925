//! The layers of an image, read into one tree.
//!
//! Each layer is read once: its bytes are hashed as stored, decompressed, hashed again, spooled
//! to disk, and taken apart, by two threads that pass them on in small buffers. Then the layers
//! are laid over each other, lowest first. Memory grows with the number of files only.

mod decode;
mod scan;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use gybe_core::digest::Digest;
use gybe_oci::{Blob, Descriptor, Layout, LayoutError};

use crate::image::Image;
use crate::merge::{Merge, MergeError};
use crate::spool::{self, Spool, Stored};
use crate::tar::TarError;
use crate::tree::Tree;
use decode::Compression;
use scan::Used;
pub(crate) use scan::{Entry, Item};

/// How layers are read, and how much there may be of everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest layer and longest contents of one layer, in bytes, uncompressed.
    pub layer_len_max: u64,
    /// Most entries of all layers together.
    pub entry_count_max: usize,
    /// Directories whose content is dropped at the end: what fills them belongs to the machine.
    pub emptied: Vec<Vec<u8>>,
    /// Where decompressed layers are kept; by default `TMPDIR`, or `/var/tmp`.
    pub spool_directory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layer_len_max: 64 << 30,
            entry_count_max: 1 << 21,
            emptied: ["boot", "sysroot", "run", "tmp"].map(|path| path.as_bytes().to_vec()).into(),
            spool_directory: None,
        }
    }
}

/// How far reading has come, in bytes as stored, over all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many were read.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// Reads all layers of `image` and lays them over each other.
/// `progress` is called now and then, from any thread.
///
/// # Errors
/// [`LayersError`] names the layer, and the path in it.
pub fn load(
    layout: &Layout,
    image: &Image,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Tree, Spool), LayersError> {
    let layers = check(layout, image, options)?;
    let total = layers.iter().map(|layer| layer.blob.len()).sum();
    let work = Work {
        layers: &layers,
        options,
        used: Used::default(),
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        scanned: Mutex::new(layers.iter().map(|_| None).collect()),
        done: AtomicU64::new(0),
        total,
        progress,
    };
    // A layer keeps two threads busy.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores.div_ceil(2).min(layers.len()) {
            scope.spawn(|| work.run());
        }
    });
    let scanned = work.scanned.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut merge = Merge::new(options.entry_count_max);
    let mut stored = Vec::with_capacity(layers.len());
    for (layer, scanned) in layers.iter().zip(scanned) {
        // After a failure some layers were not begun; the failure itself comes before or after.
        let Some(scanned) = scanned else { continue };
        let (entries, place) = scanned?;
        if !work.failed.load(Ordering::Relaxed) {
            merge
                .apply(entries)
                .map_err(|(path, cause)| layer.error(Some(&path), LayerProblem::Merge(cause)))?;
            stored.push(place);
        }
    }
    Ok((merge.finish(&options.emptied), Spool(stored)))
}

/// What is known of a layer before it is read.
struct Layer {
    index: usize,
    blob: Blob,
    diff_id: Digest,
}

type Scanned = Result<(Vec<Entry>, Stored), LayersError>;

struct Work<'a> {
    layers: &'a [Layer],
    options: &'a Options,
    used: Used,
    next: AtomicUsize,
    failed: AtomicBool,
    scanned: Mutex<Vec<Option<Scanned>>>,
    done: AtomicU64,
    total: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Work<'_> {
    fn run(&self) {
        while !self.failed.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = self.layers.get(index) else { return };
            let result = self.read(layer);
            self.failed.fetch_or(result.is_err(), Ordering::Relaxed);
            let mut all = self.scanned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(place) = all.get_mut(index) {
                *place = Some(result);
            }
        }
    }

    fn read(&self, layer: &Layer) -> Scanned {
        let failed = |problem| layer.error(None, problem);
        let compression =
            Compression::of(&layer.blob).map_err(|cause| failed(LayerProblem::Read { cause }))?;
        let file = match compression {
            Compression::None => None,
            _ => Some(self.spool().map_err(|cause| failed(LayerProblem::Spool { cause }))?),
        };
        let advance = |len: u64| {
            let done = self.done.fetch_add(len, Ordering::Relaxed).saturating_add(len);
            (self.progress)(Progress { done, total: self.total });
        };
        let (buffers, received) = decode::channel(file.as_ref());
        let limit = self.options.layer_len_max;
        let (decoded, scanned) = thread::scope(|scope| {
            let decoder = scope.spawn(|| {
                decode::decode(&layer.blob, compression, &layer.diff_id, limit, buffers, &advance)
            });
            let scanned = scan::scan(received, layer.index, &self.used, self.options);
            let decoded = decoder.join();
            (decoded.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), scanned)
        });
        // A layer with a wrong digest is first of all that, whatever else is wrong with it.
        decoded.map_err(failed)?;
        let entries = scanned.map_err(|(path, problem)| layer.error(path.as_deref(), problem))?;
        Ok((entries, file.map_or_else(|| Stored::Blob(layer.blob.clone()), Stored::File)))
    }

    fn spool(&self) -> io::Result<File> {
        match &self.options.spool_directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile_in(spool::default_directory()),
        }
    }
}

impl Layer {
    fn error(&self, path: Option<&[u8]>, problem: LayerProblem) -> LayersError {
        let path = path.map(|path| path.escape_ascii().to_string());
        let problem = Box::new(problem);
        LayersError::Layer { index: self.index, digest: self.blob.digest(), path, problem }
    }
}

/// Finds out what can be known before anything is read.
fn check(layout: &Layout, image: &Image, options: &Options) -> Result<Vec<Layer>, LayersError> {
    let layers = &image.manifest.layers;
    let diff_ids = &image.config.diff_ids;
    if layers.len() != diff_ids.len() {
        return Err(LayersError::Count { layers: layers.len(), diff_ids: diff_ids.len() });
    }
    let all = layers.iter().zip(diff_ids).enumerate().map(|(index, (descriptor, diff_id))| {
        let failed = |problem| {
            let problem = Box::new(problem);
            LayersError::Layer { index, digest: descriptor.digest, path: None, problem }
        };
        check_descriptor(descriptor, options).map_err(failed)?;
        let blob = layout.blob_of_len(&descriptor.digest, descriptor.size)?;
        Ok(Layer { index, blob, diff_id: *diff_id })
    });
    all.collect()
}

fn check_descriptor(descriptor: &Descriptor, options: &Options) -> Result<(), LayerProblem> {
    // Docker's type for zstd was never written down, but is in use.
    const TYPES: [&str; 6] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ];
    let media_type = descriptor.media_type.as_str();
    let owned = || media_type.to_owned();
    if media_type.ends_with("+encrypted") {
        return Err(LayerProblem::Encrypted { media_type: owned() });
    }
    if media_type.contains(".foreign.") || media_type.contains(".nondistributable.") {
        return Err(LayerProblem::Foreign { media_type: owned() });
    }
    if !TYPES.contains(&media_type) {
        return Err(LayerProblem::MediaType { media_type: owned() });
    }
    if descriptor.size > options.layer_len_max {
        return Err(LayerProblem::Len { len: descriptor.size, limit: options.layer_len_max });
    }
    Ok(())
}

/// Why the layers of an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// Manifest and config disagree.
    #[error("manifest has {layers} layers, config has {diff_ids} diff_ids")]
    Count {
        /// Layers of the manifest.
        layers: usize,
        /// Digests in the config.
        diff_ids: usize,
    },
    /// A layer cannot be found.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// Something is wrong with a layer.
    #[error("layer {index} ({digest}): {}{problem}", Prefix(path.as_deref()))]
    Layer {
        /// Which, from 0, lowest first.
        index: usize,
        /// Its digest, as the manifest has it.
        digest: Digest,
        /// The path in it, where one is to blame.
        path: Option<String>,
        /// What is wrong.
        problem: Box<LayerProblem>,
    },
}

struct Prefix<'a>(Option<&'a str>);

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|path| write!(f, "{path}: "))
    }
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerProblem {
    /// It is encrypted.
    #[error("encrypted layers ({media_type}) are not supported")]
    Encrypted {
        /// Its media type.
        media_type: String,
    },
    /// It is to be fetched from elsewhere.
    #[error("foreign layers ({media_type}) are not supported")]
    Foreign {
        /// Its media type.
        media_type: String,
    },
    /// It is not a layer.
    #[error("media type {media_type} is not that of a layer")]
    MediaType {
        /// What it says it is.
        media_type: String,
    },
    /// It is too long, as stored or uncompressed.
    #[error("layer is {len} bytes or more, limit {limit}")]
    Len {
        /// How long it says it is, or is so far.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be read or decompressed.
    #[error("{cause}")]
    Read {
        /// What the system or the decompressor says.
        cause: io::Error,
    },
    /// It cannot be spooled.
    #[error("cannot spool: {cause}")]
    Spool {
        /// What the system says.
        cause: io::Error,
    },
    /// Its bytes are not those of the manifest.
    #[error("corrupt: the digest of its bytes is {found}")]
    Digest {
        /// The digest of its bytes.
        found: Digest,
    },
    /// Its uncompressed bytes are not those of the config.
    #[error("the digest of the uncompressed layer is {found}, config says {expected}")]
    DiffId {
        /// The digest of its bytes.
        found: Digest,
        /// What the config says.
        expected: Digest,
    },
    /// It is not a tar file that can be read.
    #[error("{0}")]
    Tar(#[from] TarError),
    /// A marker of something deleted is not one.
    #[error("{name} marks nothing")]
    Whiteout {
        /// Its name.
        name: String,
    },
    /// There are too many entries in all layers.
    #[error("more than {limit} entries in all layers")]
    Entries {
        /// The limit.
        limit: usize,
    },
    /// Names and attributes of all layers are too long together.
    #[error("names and attributes of all layers are {len} bytes and more, limit {limit}")]
    Headers {
        /// How long they are so far.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It cannot be laid over those below.
    #[error("{0}")]
    Merge(MergeError),
}

#[cfg(test)]
mod tests;
