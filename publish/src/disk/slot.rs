//! Slot A, written and proven as a device writes and proves it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;

use gybe_core::apply::{Apply, ApplyError, Decoder, Documents, Source, workspace_blocks};
use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::boot::{BootEnv, BootState, Health, Loaded};
use gybe_core::digest::Digest;
use gybe_core::install::Inactive;
use gybe_core::manifest::Descriptor;
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use gybe_core::trailer::{PARTS, Signature, encode_signature};
use gybe_oci::{Blob, OfferError, Package};

use super::DiskError;
use super::raw::Partition;

/// The documents of a trailer, and how long they are.
#[derive(Debug)]
pub(super) struct Papers<'a> {
    package: &'a Package,
    signatures: Vec<u8>,
    table: Vec<u8>,
    recipe_len: u64,
}

impl<'a> Papers<'a> {
    pub(super) fn new(
        source: &gybe_oci::Source,
        package: &'a Package,
        release: &Release<'_>,
    ) -> Result<Self, DiskError> {
        let mut signatures = Vec::new();
        let index = package.index.as_deref().map(Signature::Index);
        for signature in package.documents.iter().map(gybe_oci::Document::signature).chain(index) {
            encode_signature(&signature, &mut |piece| signatures.extend_from_slice(piece));
        }
        let recipe = release.manifest().recipe;
        let mut table = vec![0; release.config().recipe.table_size];
        let digest = recipe.digest;
        let blob = source.blob_of_len(&digest, recipe.len).map_err(OfferError::from)?;
        blob.read_at(0, &mut table).map_err(|cause| OfferError::Blob { digest, cause })?;
        Ok(Self { package, signatures, table, recipe_len: recipe.len })
    }

    /// The lengths of the trailer's parts.
    pub(super) fn lens(&self) -> [u64; PARTS] {
        let Package { manifest, config, .. } = self.package;
        let [manifest, config, signatures] =
            [manifest, config, &self.signatures].map(|bytes| bytes.len() as u64);
        [manifest, config, signatures, self.recipe_len]
    }
}

/// Writes the release to the partitions of slot A, in the order of its targets, and proves it.
pub(super) fn fill(
    blobs: &gybe_oci::Source,
    release: &Release<'_>,
    papers: &Papers<'_>,
    partitions: Vec<Partition<'_>>,
) -> Result<(), DiskError> {
    let mut targets: Vec<_> = partitions.into_iter().map(Inactive::new).collect();
    let mut workspace: Vec<Block> = vec![[0; BLOCK_LEN]; workspace_blocks(release.config())];
    let documents = Documents {
        manifest: &papers.package.manifest,
        config: &papers.package.config,
        signatures: &papers.signatures,
        table: &papers.table,
    };
    let apply = Apply {
        release,
        documents,
        source: &mut Blobs { blobs, open: HashMap::new() },
        decoder: &mut Zstd::default(),
        workspace: &mut workspace,
    };
    let (proven, _) = apply.run(Slot::A, None, &mut targets, &mut Bench(None))?;
    debug_assert_eq!(proven.slot(), Slot::A);
    Ok(())
}

/// What filling a slot can come to.
pub(super) type FillError = ApplyError<io::Error, Infallible, io::Error, io::Error>;

/// The blobs of a source, opened once.
struct Blobs<'a> {
    blobs: &'a gybe_oci::Source,
    open: HashMap<Digest, Blob>,
}

impl Source for Blobs<'_> {
    type Error = io::Error;

    fn read(&mut self, blob: &Descriptor, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        if !self.open.contains_key(&blob.digest) {
            let opened = self.blobs.blob_of_len(&blob.digest, blob.len);
            self.open.insert(blob.digest, opened.map_err(io::Error::other)?);
        }
        let opened = self.open.get(&blob.digest).ok_or(io::ErrorKind::NotFound)?;
        opened.read_at(at, buffer)
    }
}

#[derive(Default)]
struct Zstd {
    stored: Vec<u8>,
    blocks: Vec<Block>,
}

impl Decoder for Zstd {
    type Error = io::Error;

    fn stored(&mut self, len: usize) -> Option<&mut [u8]> {
        self.stored.resize(len, 0);
        Some(&mut self.stored)
    }

    fn decode(&mut self, count: usize) -> io::Result<()> {
        self.blocks.resize(count, [0; BLOCK_LEN]);
        let room = self.blocks.as_flattened_mut();
        zstd::bulk::decompress_to_buffer(&self.stored, room).map(|_| ())
    }

    fn decoded(&self) -> &[Block] {
        &self.blocks
    }
}

/// The environment of a disk that no loader has seen yet: nothing has to survive.
struct Bench(Option<BootState>);

impl BootEnv for Bench {
    type Error = Infallible;

    fn load(&mut self) -> Result<Loaded, Infallible> {
        Ok(Loaded { state: self.0, health: Health::Whole })
    }

    fn store(&mut self, state: &BootState) -> Result<(), Infallible> {
        self.0 = Some(*state);
        Ok(())
    }
}
