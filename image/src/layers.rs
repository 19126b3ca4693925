//! The layers of an image, read into one tree.
//!
//! Each layer is read once: its bytes are hashed as stored, decompressed, hashed again, spooled
//! to disk, and taken apart, by two threads that pass them on in small buffers. Then the layers
//! are laid over each other, lowest first. Memory grows with the number of files only.

mod decode;
mod error;
mod ostree;
mod scan;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use gybe_core::digest::{Digest, Hasher};
use gybe_oci::{Blob, Descriptor, Layout};

use crate::image::Image;
use crate::merge::Merge;
use crate::spool::{self, Spool, Stored};
use crate::tree::Tree;
use decode::Compression;
pub use error::{LayerProblem, LayersError};
pub(crate) use scan::{Entry, HEADERS_LEN_MAX, Item};
use scan::{Markers, Used};

/// How much of a tar file is read at once for its digest.
const HASH_BUFFER_LEN: usize = 1 << 20;

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
    read_all(&check(layout, image, options)?, options, progress)
}

/// Reads a root file system that is one tar file, plain or compressed; its digest is that of the
/// file. It is read as the only layer of an image would be, but for markers: there is nothing
/// below that they could hide, so they are files with odd names.
///
/// # Errors
/// [`LayersError`] names the path in it.
pub fn load_archive(
    mut file: File,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Tree, Spool, Digest), LayersError> {
    let failed = |cause| {
        let problem = Box::new(LayerProblem::Read { cause });
        LayersError::Archive { path: None, problem }
    };
    // Known before it is taken apart, so that a file that changes meanwhile is found out.
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_LEN];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => hasher.update(buffer.get(..len).unwrap_or(&[])),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    let digest = hasher.finish();
    let blob = Blob::of_file(file, digest).map_err(failed)?;
    let layer = Layer { name: Name::Archive, blob, diff_id: None };
    let (tree, spool) = read_all(&[layer], options, progress)?;
    Ok((tree, spool, digest))
}

/// Reads all layers and lays them over each other.
fn read_all(
    layers: &[Layer],
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Tree, Spool), LayersError> {
    let total = layers.iter().map(|layer| layer.blob.len()).sum();
    let work = Work {
        layers,
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
    name: Name,
    blob: Blob,
    diff_id: Option<Digest>,
}

/// What a layer is called.
#[derive(Clone, Copy)]
enum Name {
    /// That of an image, counted from 0, lowest first.
    Layer(usize),
    /// A tar file that is all there is.
    Archive,
}

impl Name {
    const fn index(self) -> usize {
        match self {
            Self::Layer(index) => index,
            Self::Archive => 0,
        }
    }

    const fn markers(self) -> Markers {
        match self {
            Self::Layer(_) => Markers::Count,
            Self::Archive => Markers::AreFiles,
        }
    }
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
                let diff_id = layer.diff_id.as_ref();
                decode::decode(&layer.blob, compression, diff_id, limit, buffers, &advance)
            });
            let name = layer.name;
            let scanned =
                scan::scan(received, name.index(), name.markers(), &self.used, self.options);
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
        match self.name {
            Name::Layer(index) => {
                LayersError::Layer { index, digest: self.blob.digest(), path, problem }
            }
            Name::Archive => LayersError::Archive { path, problem },
        }
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
        Ok(Layer { name: Name::Layer(index), blob, diff_id: Some(*diff_id) })
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

#[cfg(test)]
mod tests;
