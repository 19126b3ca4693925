//! A small signed release with its recipe and its pack, as a device without an operating system
//! reads them.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "part of a test, which may fail by panicking"
)]

use std::fmt::Write as _;

use gybe_core::apply::{Decoder, Documents, Source};
use gybe_core::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks, WriteBlocks};
use gybe_core::chunk::{Anchor, TargetIndex, digest};
use gybe_core::digest::Digest;
use gybe_core::manifest::Descriptor;
use gybe_core::recipe::{
    Chunk, Codec, Entry, FrameIndex, FrameRecord, PackId, Part, RECORD_LEN_MAX, Record, Stored,
    encode_header,
};
use gybe_core::release::Release;
use gybe_core::verity::leaf;
use gybe_sim::{FakeDisk, FakeDiskError, Random};

use crate::fixture::{open, root_hash};

const PACK: PackId = PackId(3);

/// A release with chunks of every kind.
pub struct Packed {
    /// The blocks of `root` and of `boot`.
    pub targets: [Vec<Block>; 2],
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub recipe: Vec<u8>,
    pub pack: Vec<u8>,
    pub release: Release<'static>,
    table_len: usize,
}

/// What a piece of a target is stored as.
enum Piece {
    Zeros(u32),
    /// Chunks of these lengths in one frame of noise.
    Stored(&'static [usize]),
    /// Chunks of these lengths in one frame of text.
    Zstd(&'static [usize]),
}

use Piece::{Stored as Noise, Zeros, Zstd as Text};

const ROOT: &[Piece] =
    &[Noise(&[1]), Noise(&[200]), Zeros(30), Text(&[40, 24]), Noise(&[2, 3]), Zeros(2)];
const BOOT: &[Piece] = &[Noise(&[1]), Text(&[7])];
/// How many blocks of each kind the pieces have.
pub const STORED_BLOCKS: u64 = 1 + 200 + 5 + 1;
pub const DECODED_BLOCKS: u64 = 40 + 24 + 7;
pub const ZERO_BLOCKS: u64 = 30 + 2;
/// The partitions: a target, its hash tree, and the trailer.
pub const PARTITIONS: [usize; 2] = [320, 9];

#[derive(Default)]
struct Maker {
    pack: Vec<u8>,
    frames: Vec<FrameRecord>,
    entries: Vec<Entry>,
    pages: Vec<u8>,
}

impl Maker {
    fn target(&mut self, index: u16, pieces: &[Piece], random: &mut Random) -> Vec<Block> {
        let (mut blocks, mut page) = (Vec::new(), Vec::new());
        for piece in pieces {
            let (lens, noise) = match piece {
                Zeros(count) => {
                    blocks.resize(blocks.len() + *count as usize, [0; BLOCK_LEN]);
                    put(&mut page, &Record::Zeros { count: *count });
                    continue;
                }
                Noise(lens) => (lens, true),
                Text(lens) => (lens, false),
            };
            let mut frame = vec![[0; BLOCK_LEN]; lens.iter().sum()];
            for (number, block) in frame.iter_mut().enumerate() {
                if noise { random.fill(block) } else { text(index, number, block) }
            }
            let stored = self.frame(&frame, noise);
            let mut rest = &frame[..];
            for len in *lens {
                let (chunk, after) = rest.split_at(*len);
                let block = (frame.len() - rest.len()) as u16;
                put(&mut page, &Record::Chunk(record(chunk, stored, block)));
                rest = after;
            }
            blocks.extend(frame);
        }
        self.page(Part::Target(TargetIndex(index)), &page, blocks.len());
        blocks
    }

    fn frame(&mut self, blocks: &[Block], noise: bool) -> FrameIndex {
        let raw = blocks.as_flattened();
        let (bytes, codec) = if noise {
            (raw.to_vec(), Codec::Stored)
        } else {
            (zstd::bulk::compress(raw, 3).unwrap(), Codec::Zstd)
        };
        let (stored_len, blocks) = (bytes.len() as u32, blocks.len() as u32);
        self.frames.push(FrameRecord { stored_len, blocks, codec, digest: Digest::of(&bytes) });
        self.pack.extend(bytes);
        FrameIndex(self.frames.len() as u32 - 1)
    }

    fn page(&mut self, part: Part, page: &[u8], count: usize) {
        let (digest, len, count) = (Digest::of(page), page.len() as u16, count as u64);
        self.entries.push(Entry { digest, part, len, first: 0, count, base: 0 });
        self.pages.extend(page);
    }
}

fn record(chunk: &[Block], frame: FrameIndex, block: u16) -> Chunk {
    Chunk {
        count: chunk.len() as u32,
        digest: digest(chunk),
        anchor: Anchor::of(&leaf(&chunk[0])),
        stored: Stored { pack: PACK, frame, block },
    }
}

fn put(page: &mut Vec<u8>, record: &Record) {
    let mut bytes = [0; RECORD_LEN_MAX];
    let len = record.encode(&mut bytes).unwrap();
    page.extend(&bytes[..len]);
}

fn text(target: u16, number: usize, block: &mut Block) {
    let line = format!("block {number} of target {target}, which a decoder unpacks; ");
    block.iter_mut().zip(line.bytes().cycle()).for_each(|(to, from)| *to = from);
}

impl Packed {
    pub fn new(seed: u64) -> Self {
        let (mut maker, mut random) = (Maker::default(), Random::new(seed));
        let targets =
            [(0, ROOT), (1, BOOT)].map(|(at, pieces)| maker.target(at, pieces, &mut random));
        let frames: Vec<u8> = maker.frames.iter().flat_map(|it| it.encode().unwrap()).collect();
        maker.page(Part::Pack(PACK), &frames, maker.frames.len());
        let mut recipe = encode_header(maker.entries.len() as u32).to_vec();
        recipe.extend(maker.entries.iter().flat_map(Entry::encode));
        let table_len = recipe.len();
        let table = Digest::of(&recipe);
        recipe.extend(&maker.pages);
        let mut listed = String::new();
        for (name, blocks) in ["root", "boot"].iter().zip(&targets) {
            let (size, hash) = (blocks.len() * BLOCK_LEN, root_hash(blocks));
            let (comma, tree) = if listed.is_empty() { ("", true) } else { (",", false) };
            write!(
                listed,
                r#"{comma}{{"name":"{name}","size":{size},"rootHash":"{}","tree":{tree}}}"#,
                hash.hex()
            )
            .unwrap();
        }
        let config = format!(
            r#"{{"format":1,"agentMin":"0.1.0","loaderMin":1,"architecture":"amd64",
            "hash":"sha256","blockSize":4096,"pageSize":4096,"chunkSizeMax":1048576,
            "frameSizeMax":1048576,"windowSizeMax":1048576,
            "recipe":{{"tableSize":{table_len},"tableDigest":"{table}"}},
            "packs":[{{"id":{},"frames":{}}}],"targets":[{listed}]}}"#,
            PACK.0,
            maker.frames.len(),
        );
        let blob = |media: &str, bytes: &[u8]| {
            let (digest, size) = (Digest::of(bytes), bytes.len());
            format!(
                r#"{{"mediaType":"application/vnd.gybe.{media}","digest":"{digest}","size":{size}}}"#
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"artifactType":"application/vnd.gybe.release.v1","config":{},
            "layers":[{},{}],"annotations":{{"dev.gybe.compatible":"sim","dev.gybe.version":"1",
            "dev.gybe.rollback-index":"1","dev.gybe.sequence":"1","dev.gybe.root-hash":"{}",
            "dev.gybe.source-digest":"{}","dev.gybe.architecture":"amd64"}}}}"#,
            blob("config.v1+json", config.as_bytes()),
            blob("recipe.v1", &recipe),
            blob("pack.v1", &maker.pack),
            root_hash(&targets[0]).hex(),
            Digest::of(b"source"),
        );
        let release = open(manifest.as_bytes(), config.as_bytes());
        let (manifest, config) = (manifest.into(), config.into());
        Self { targets, manifest, config, recipe, pack: maker.pack, release, table_len }
    }

    pub fn documents(&self) -> Documents<'_> {
        let table = &self.recipe[..self.table_len];
        let (manifest, config) = (&self.manifest, &self.config);
        Documents { manifest, config, signatures: b"signatures", table }
    }

    /// A source that gives the bytes as they are.
    pub fn source(&self) -> Memory<'_> {
        Memory { packed: self, reads: 0, flip_in: usize::MAX, ends_at: usize::MAX }
    }
}

/// The blobs of a release in memory.
pub struct Memory<'p> {
    packed: &'p Packed,
    pub reads: usize,
    /// The read that gets one wrong bit.
    pub flip_in: usize,
    /// The read that is the first to get nothing.
    pub ends_at: usize,
}

impl Source for Memory<'_> {
    type Error = &'static str;

    fn read(&mut self, blob: &Descriptor, at: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let manifest = self.packed.release.manifest();
        let bytes = match blob.digest {
            digest if digest == manifest.recipe.digest => &self.packed.recipe,
            digest if digest == manifest.packs[0].digest => &self.packed.pack,
            _ => return Err("no such blob"),
        };
        if self.reads >= self.ends_at {
            return Err("the source ended");
        }
        buffer.copy_from_slice(&bytes[at as usize..][..buffer.len()]);
        if self.reads == self.flip_in {
            buffer[buffer.len() / 2] ^= 1;
        }
        self.reads += 1;
        Ok(())
    }
}

/// The library, behind the seam.
#[derive(Default)]
pub struct Zstd {
    stored: Vec<u8>,
    blocks: Vec<Block>,
    pub count: usize,
}

impl Decoder for Zstd {
    type Error = std::io::Error;

    fn stored(&mut self, len: usize) -> Option<&mut [u8]> {
        self.stored.resize(len, 0);
        Some(&mut self.stored)
    }

    fn decode(&mut self, count: usize) -> Result<(), Self::Error> {
        self.blocks.resize(count, [0; BLOCK_LEN]);
        self.count += 1;
        zstd::bulk::decompress_to_buffer(&self.stored, self.blocks.as_flattened_mut()).map(|_| ())
    }

    fn decoded(&self) -> &[Block] {
        &self.blocks
    }
}

/// A disk that outlives the install.
pub struct Lent<'d>(pub &'d mut FakeDisk);

impl ReadBlocks for Lent<'_> {
    type Error = FakeDiskError;

    fn block_count(&self) -> u64 {
        self.0.block_count()
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), FakeDiskError> {
        self.0.read(index, blocks)
    }
}

impl WriteBlocks for Lent<'_> {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), FakeDiskError> {
        self.0.write(index, blocks)
    }

    fn flush(&mut self) -> Result<(), FakeDiskError> {
        self.0.flush()
    }

    fn drop_caches(&mut self) -> Result<(), FakeDiskError> {
        self.0.drop_caches()
    }
}
