//! Whether a slot can be loaded, and whether what it holds is one whole release.

use std::fmt;
use std::io;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks as _};
use gybe_core::config::{Config, Target};
use gybe_core::digest::Digest;
use gybe_core::trailer::{PartName, Progress, Trailer};
use gybe_core::verity::{Geometry, TreeBuilder, leaf, superblock};
use gybe_core::version::Version;

use crate::fat::{Fat, ReadAt as _};
use crate::replay::disk::{Disk, Part};
use crate::replay::table::Place;

/// The most that a trailer's manifest and configuration have.
const DOCUMENT_BLOCKS_MAX: usize = 64;
/// The most that a boot target's `gybe.env` has.
const ENV_LEN_MAX: u64 = 1 << 16;

/// Why a slot is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// Its boot target has no kernel, initramfs or command line.
    NotLoadable,
    /// It has no trailer, or a damaged one.
    NoTrailer,
    /// Its trailer says that an install began.
    Draft,
    /// Manifest or configuration in the trailer are damaged.
    Documents,
    /// Its root target has another hash than the configuration says.
    RootHash,
    /// The hash tree on the disk is not that of the root target.
    Tree,
    /// Its boot target has another hash than the configuration says.
    BootHash,
    /// The command line in its boot target is for another root.
    CommandLine,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLoadable => "it cannot be loaded",
            Self::NoTrailer => "it has no trailer",
            Self::Draft => "its trailer is a draft",
            Self::Documents => "its trailer's documents are damaged",
            Self::RootHash => "its root is not the one of its release",
            Self::Tree => "its hash tree is not that of its root",
            Self::BootHash => "its boot target is not the one of its release",
            Self::CommandLine => "its command line is for another root",
        })
    }
}

/// A partition with the hashes of its blocks, as far as they were asked for.
struct Hashed {
    place: Place,
    leaves: Vec<Option<Digest>>,
}

impl Hashed {
    fn forget(&mut self, at: u64, end: u64) -> bool {
        let Place { at: start, len } = self.place;
        let (from, to) = (at.max(start), end.min(start.saturating_add(len)));
        if from >= to {
            return false;
        }
        let index = |at: u64| usize::try_from((at - start) / BLOCK_LEN_U64).unwrap_or(usize::MAX);
        let last = index(to - 1).min(self.leaves.len().saturating_sub(1));
        let range = index(from)..=last;
        self.leaves.get_mut(range).into_iter().flatten().for_each(|leaf| *leaf = None);
        true
    }

    /// The hash over the first blocks, each block of the tree handed to `sink` on the way.
    fn root_hash(
        &mut self,
        disk: &Disk,
        geometry: Geometry,
        sink: &mut impl FnMut(u64, &Block) -> io::Result<()>,
    ) -> io::Result<Digest> {
        let count = usize::try_from(geometry.data_blocks()).unwrap_or(usize::MAX);
        let mut part = self.place.on(disk);
        if geometry.data_blocks() > part.block_count() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.leaves.len() < count {
            self.leaves.resize(count, None);
        }
        let mut builder = TreeBuilder::new(geometry);
        let mut block = [[0; BLOCK_LEN]];
        for (known, index) in self.leaves.iter_mut().zip(0..geometry.data_blocks()) {
            let digest = match *known {
                Some(digest) => digest,
                None => {
                    part.read(BlockIndex(index), &mut block)?;
                    let [block] = &block;
                    *known.insert(leaf(block))
                }
            };
            builder.push(digest, sink).map_err(io::Error::other)?;
        }
        builder.finish(sink).map_err(io::Error::other)
    }
}

/// A slot, and what is known of it.
pub(super) struct Look {
    boot: Hashed,
    root: Hashed,
    loadable: Option<bool>,
    whole: Option<Result<(), Unproven>>,
}

impl Look {
    pub(super) fn new(boot: Place, root: Place) -> Self {
        let [boot, root] = [boot, root].map(|place| Hashed { place, leaves: Vec::new() });
        Self { boot, root, loadable: None, whole: None }
    }

    /// Forgets what bytes that were written may have changed; whether there was any.
    pub(super) fn written(&mut self, at: u64, end: u64) -> bool {
        let boot = self.boot.forget(at, end);
        let root = self.root.forget(at, end);
        if boot {
            self.loadable = None;
        }
        if boot || root {
            self.whole = None;
        }
        boot || root
    }

    /// Whether a loader that checks no digest would start the slot.
    pub(super) fn is_loadable(&mut self, disk: &Disk) -> io::Result<bool> {
        if let Some(known) = self.loadable {
            return Ok(known);
        }
        let loadable = command_line(self.boot.place.on(disk))?.is_some();
        self.loadable = Some(loadable);
        Ok(loadable)
    }

    /// Whether it holds one release, bit for bit.
    pub(super) fn is_whole(&mut self, disk: &Disk) -> io::Result<Result<(), Unproven>> {
        if let Some(known) = self.whole {
            return Ok(known);
        }
        let whole = self.prove(disk)?;
        self.whole = Some(whole);
        Ok(whole)
    }

    fn prove(&mut self, disk: &Disk) -> io::Result<Result<(), Unproven>> {
        let mut part = self.root.place.on(disk);
        let Ok(trailer) = Trailer::read(&mut part) else { return Ok(Err(Unproven::NoTrailer)) };
        if trailer.progress != Progress::Complete {
            return Ok(Err(Unproven::Draft));
        }
        let mut room = vec![[0; BLOCK_LEN]; DOCUMENT_BLOCKS_MAX];
        let manifest = trailer.read_part(&mut part, PartName::Manifest, &mut room);
        if !manifest.is_ok_and(|bytes| Digest::of(bytes) == trailer.release) {
            return Ok(Err(Unproven::Documents));
        }
        let config = trailer.read_part(&mut part, PartName::Config, &mut room).ok();
        let any = Version(u16::MAX, u16::MAX, u16::MAX);
        let Some(config) = config.and_then(|bytes| Config::parse(bytes, any).ok()) else {
            return Ok(Err(Unproven::Documents));
        };
        let boot = config.targets.iter().find(|target| target.name == "boot");
        let (Some(root), Some(boot)) = (config.root(), boot) else {
            return Ok(Err(Unproven::Documents));
        };
        if let Err(why) = self.prove_root(disk, root)? {
            return Ok(Err(why));
        }
        let Some(geometry) = Geometry::new(boot.blocks) else {
            return Ok(Err(Unproven::Documents));
        };
        if self.boot.root_hash(disk, geometry, &mut |_, _| Ok(()))? != boot.root_hash {
            return Ok(Err(Unproven::BootHash));
        }
        let wanted = format!("roothash={}", root.root_hash.hex());
        let line = command_line(self.boot.place.on(disk))?.unwrap_or_default();
        let named = line.split(' ').any(|word| word == wanted);
        Ok(if named { Ok(()) } else { Err(Unproven::CommandLine) })
    }

    fn prove_root(&mut self, disk: &Disk, root: &Target<'_>) -> io::Result<Result<(), Unproven>> {
        let Some(geometry) = Geometry::new(root.blocks) else {
            return Ok(Err(Unproven::Documents));
        };
        let mut stored = self.root.place.on(disk);
        let mut block = [[0; BLOCK_LEN]];
        stored.read(BlockIndex(root.blocks), &mut block)?;
        let mut is_tree = block == [superblock(&geometry)];
        let hash = self.root.root_hash(disk, geometry, &mut |offset, expected| {
            stored.read(BlockIndex(root.blocks.saturating_add(offset)), &mut block)?;
            is_tree &= block == [*expected];
            Ok(())
        })?;
        Ok(match (hash == root.root_hash, is_tree) {
            (false, _) => Err(Unproven::RootHash),
            (true, false) => Err(Unproven::Tree),
            (true, true) => Ok(()),
        })
    }
}

/// The signed command line in a boot target from which a loader could start something.
fn command_line(part: Part<'_>) -> io::Result<Option<String>> {
    let Some(fat) = Fat::open(&part)? else { return Ok(None) };
    if fat.find(b"VMLINUZ    ")?.is_none() || fat.find(b"INITRD  IMG")?.is_none() {
        return Ok(None);
    }
    let Some(place) = fat.find(b"GYBE    ENV")?.filter(|place| place.len <= ENV_LEN_MAX) else {
        return Ok(None);
    };
    let mut text = vec![0; usize::try_from(place.len).unwrap_or(0)];
    let len = part.read_at(&mut text, place.at)?;
    text.truncate(len);
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    Ok(if value("gybe_format").as_deref() == Some("1") { value("gybe_cmdline") } else { None })
}
