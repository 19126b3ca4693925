//! What an update fetches and writes: every pair, beside every peer.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    boot_files::{self, Way},
    inputs::{BASE, Pair},
    lab::{self, Lab, tally},
    layout::{layers, number, text},
    peers::{self, Fetches, Roots},
    trace::{self, Reads},
};
use crate::{device::Device, sample, say};

const BLOCK_LEN: usize = 4096;
/// The numbers of the targets in a release's configuration.
const ROOT: usize = 0;
const BOOT: usize = 1;

/// What was read from a source, by the kernel's count and by the program's own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Install {
    pub(super) bytes: u64,
    pub(super) requests: usize,
    /// Of `bytes`, those of frames that only `boot` needs.
    pub(super) boot_bytes: u64,
    /// What the program says that it fetched.
    pub(super) told_bytes: u64,
    /// Blocks written to the targets.
    pub(super) written_blocks: u64,
}

/// What tells an image and its release from all others.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    /// Of the image's manifest.
    pub(super) image_digest: String,
    pub(super) root_hash: String,
    pub(super) root_len: u64,
    pub(super) boot_len: u64,
}

/// What was found about a pair.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pair: Pair,
    pub(super) identity: Identity,
    /// Onto a device that has nothing.
    pub(super) full: Install,
    /// Onto a device that runs `base`.
    pub(super) update: Install,
    /// Blocks of both targets whose bytes `base` has nowhere.
    pub(super) new_blocks: u64,
    /// Bytes of the release's blobs that a registry with `base` does not have.
    pub(super) pushed_bytes: u64,
    pub(super) peers: Fetches,
}

/// What was found about every pair.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) base: Identity,
    pub(super) pairs: Vec<Found>,
    /// How the releases were sealed.
    pub(super) seals: Vec<String>,
    /// What was run for the first of them.
    pub(super) commands: Vec<String>,
    /// The first of them, with the initramfs in each way.
    pub(super) ways: Vec<Way>,
    /// What was run for that.
    pub(super) way_commands: Vec<String>,
}

/// Brings a device from `base` to the image of every pair.
pub(super) fn run(lab: &Lab) -> Result<Fetched, String> {
    let mut fetched = Fetched::default();
    let device = lab.device_with_base("fetched")?;
    fetched.base = identity(lab, BASE)?;
    let old = lab.path("base.erofs");
    copy_root(lab, &device, BASE, "a", &old)?;
    for pair in lab.inputs.pairs() {
        say::heading(&format!("{}: {}", pair.tag, pair.what));
        fetched.pairs.push(one(lab, pair, &device, &old)?);
        let commands = lab.commands();
        if fetched.commands.is_empty() {
            fetched.commands = commands;
        }
    }
    fetched.seals = lab.seals();
    lab::remove(device.root())?;
    if let Some(pair) = lab.inputs.pairs().first() {
        fetched.ways = boot_files::run(lab, pair)?;
        fetched.way_commands = lab.commands();
    }
    Ok(fetched)
}

fn one(lab: &Lab, pair: &Pair, device: &Device, old: &Path) -> Result<Found, String> {
    lab.seal_pair(pair)?;
    device.renew("b").map_err(sample::words)?;
    let update = install(lab, device, pair)?;
    let new = lab.path(&format!("{}.erofs", pair.tag));
    copy_root(lab, device, pair.tag, "b", &new)?;
    let new_blocks = new_blocks(lab, device, pair)?;
    let roots = Roots { old: old.to_owned(), new };
    let empty = lab.empty_device("empty")?;
    let full = install(lab, &empty, pair)?;
    lab::remove(empty.root())?;
    let peers = peers::run(lab, pair, &roots)?;
    lab::remove(&roots.new)?;
    let Install { bytes, requests, told_bytes, .. } = update;
    say::line(&format!(
        "fetched {bytes} bytes in {requests} requests; by its own count {told_bytes}"
    ));
    let (identity, pushed_bytes) = (identity(lab, pair.tag)?, pushed(lab, pair)?);
    Ok(Found { pair: *pair, identity, full, update, new_blocks, pushed_bytes, peers })
}

fn identity(lab: &Lab, tag: &str) -> Result<Identity, String> {
    let releases = lab.releases();
    let config = releases.config(&releases.manifest(tag)?)?;
    Ok(Identity {
        image_digest: lab.inputs.images().manifest(tag)?.digest,
        root_hash: text(&config, "/targets/0/rootHash")?.to_owned(),
        root_len: target_len(&config, ROOT)?,
        boot_len: target_len(&config, BOOT)?,
    })
}

/// Installs a release into slot B under strace.
fn install(lab: &Lab, device: &Device, pair: &Pair) -> Result<Install, String> {
    let lines = lab.path("strace");
    let releases = lab.releases();
    let mut traced = lab.program("strace");
    traced.args(trace::OPTIONS).arg(&lines);
    let source = releases.source(pair.tag);
    let gybe = lab.gybe(device, &["install", &source, "--slot", "b", "--no-arm", "--json"]);
    traced.arg(gybe.get_program()).args(gybe.get_args());
    let (_, said) = lab.measure(&traced)?;
    let cost = tally(&said)?;
    let text = fs::read_to_string(&lines).map_err(sample::words)?;
    lab::remove(&lines)?;
    // The kernel tells paths without links in them.
    let blobs = releases.blobs().canonicalize().map_err(sample::words)?;
    let reads = Reads::of(&text, &blobs.to_string_lossy())?;
    let (recipe, packs) = releases.recipe(pair.tag)?;
    let boot_bytes = recipe.only_in(BOOT).into_iter().map(|frame| {
        let pack = packs.get(frame.pack).and_then(|path| path.file_name());
        reads.overlap(&pack.unwrap_or_default().to_string_lossy(), frame.at, frame.len)
    });
    Ok(Install {
        bytes: reads.bytes(),
        requests: reads.requests(),
        boot_bytes: boot_bytes.sum(),
        told_bytes: number(&cost, "/fetched_bytes")?,
        written_blocks: number(&cost, "/written_bytes")? / BLOCK_LEN as u64,
    })
}

fn target_len(config: &Value, target: usize) -> Result<u64, String> {
    number(config, &format!("/targets/{target}/size"))
}

/// A partition of a device, as far as a release fills it.
fn target(
    lab: &Lab,
    device: &Device,
    tag: &str,
    (name, slot, target): (&str, &str, usize),
) -> Result<io::Take<File>, String> {
    let releases = lab.releases();
    let len = target_len(&releases.config(&releases.manifest(tag)?)?, target)?;
    let file = File::open(device.partition(name, slot)).map_err(sample::words)?;
    Ok(file.take(len))
}

/// Copies the root file system of a release out of a slot.
fn copy_root(lab: &Lab, device: &Device, tag: &str, slot: &str, to: &Path) -> Result<(), String> {
    let mut root = target(lab, device, tag, ("root", slot, ROOT))?;
    let mut to = File::create(to).map_err(sample::words)?;
    io::copy(&mut root, &mut to).map(drop).map_err(sample::words)
}

/// How many whole blocks slot B has whose bytes slot A has nowhere, zeros apart.
fn new_blocks(lab: &Lab, device: &Device, pair: &Pair) -> Result<u64, String> {
    let mut there: HashSet<[u8; 32]> = HashSet::from([Sha256::digest([0; BLOCK_LEN]).into()]);
    let mut count = 0;
    for (tag, slot) in [(BASE, "a"), (pair.tag, "b")] {
        for (name, number) in [("root", ROOT), ("boot", BOOT)] {
            let target = target(lab, device, tag, (name, slot, number))?;
            let mut reader = io::BufReader::with_capacity(1 << 20, target);
            let mut block = [0; BLOCK_LEN];
            while reader.read_exact(&mut block).is_ok() {
                let digest = Sha256::digest(block).into();
                if slot == "a" {
                    there.insert(digest);
                } else if !there.contains(&digest) {
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}

/// The blobs of a pair's release that `base`'s does not name.
fn pushed(lab: &Lab, pair: &Pair) -> Result<u64, String> {
    let releases = lab.releases();
    let base = releases.manifest(BASE)?;
    let there: HashSet<&str> =
        layers(&base).filter_map(|layer| text(layer, "/digest").ok()).collect();
    let manifest = releases.manifest(pair.tag)?;
    let mut sum = lab::len(&releases.blob(&manifest.digest))?;
    for blob in layers(&manifest).chain(manifest.json.get("config")) {
        if !there.contains(text(blob, "/digest")?) {
            sum += number(blob, "/size")?;
        }
    }
    Ok(sum)
}
