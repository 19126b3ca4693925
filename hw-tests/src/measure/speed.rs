//! How long an install takes, and what it takes of processor and memory, beside two floors.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::Command,
};

use sha2::{Digest as _, Sha256};

use super::{
    cost::{Cost, Runs},
    inputs::Pair,
    lab::{self, Lab},
    layout::number,
};
use crate::{device::Device, sample, say};

/// What was timed, on the first of the pairs.
#[derive(Debug, Default)]
pub(super) struct Speed {
    /// Onto a device that has nothing.
    pub(super) full: Runs,
    /// Onto a device that runs `base`.
    pub(super) update: Runs,
    /// Decode, hash, write and flush of the same frames.
    pub(super) bare: Runs,
    /// How many bytes that wrote.
    pub(super) bare_bytes: u64,
    /// `zstd -d` into `dd`, for root alone.
    pub(super) piped: Runs,
    /// Bytes of the release's targets.
    pub(super) release_bytes: u64,
    pub(super) commands: Vec<String>,
}

pub(super) fn run(lab: &Lab) -> Result<Speed, String> {
    let pair = lab.inputs.pairs().first().ok_or("no pair")?;
    lab.seal_pair(pair)?;
    let updated = lab.device_with_base("updated")?;
    let empty = lab.empty_device("empty")?;
    let stream = lab.path("root.zst");
    let releases = lab.releases();
    let config = releases.config(&releases.manifest(pair.tag)?)?;
    let root_len = number(&config, "/targets/0/size")?;
    make_stream(lab, pair, (&empty, root_len), &stream)?;
    lab.commands();

    let mut speed = Speed::default();
    // They take turns, so that a slow minute of the machine is slow for all of them.
    for run in 1..=lab.run_count {
        say::heading(&format!("install, run {run} of {}", lab.run_count));
        let (cost, said) = timed(lab, &empty, &install(lab, &empty, pair))?;
        speed.full.0.push(cost);
        let installed = root_digest(&empty, root_len)?;
        speed.release_bytes = number(&lab::tally(&said)?, "/total_bytes")?;
        let (cost, _) = timed(lab, &updated, &install(lab, &updated, pair))?;
        speed.update.0.push(cost);

        let file = empty.partition("root", "b");
        let mut bare = lab.program("bare-loop");
        bare.arg(&releases.0).arg(pair.tag).arg(&file).arg(empty.partition("boot", "b"));
        let (cost, said) = timed(lab, &empty, &bare)?;
        speed.bare.0.push(cost);
        if root_digest(&empty, root_len)? != installed {
            return Err("the bare loop wrote something else than the install".into());
        }
        speed.bare_bytes = said.trim().parse().map_err(|_| format!("bare-loop said {said:?}"))?;

        let mut piped = lab.program("sh");
        let (from, to) = (stream.display(), file.display());
        let dd = "status=none bs=1M conv=fsync,notrunc";
        piped.arg("-c").arg(format!("zstd -dc {from} | dd of={to} {dd}"));
        let (cost, _) = timed(lab, &empty, &piped)?;
        speed.piped.0.push(cost);
    }
    speed.commands = lab.commands();
    for spent in [updated.root(), empty.root(), &stream] {
        lab::remove(spent)?;
    }
    Ok(speed)
}

fn install(lab: &Lab, device: &Device, pair: &Pair) -> Command {
    let source = lab.releases().source(pair.tag);
    lab.gybe(device, &["install", &source, "--slot", "b", "--no-arm", "--json"])
}

/// Times what writes into slot B of a device, which is made empty first.
fn timed(lab: &Lab, device: &Device, command: &Command) -> Result<(Cost, String), String> {
    device.wipe("b").map_err(sample::words)?;
    lab.measure(command)
}

/// The digest of the root file system in slot B.
fn root_digest(device: &Device, len: u64) -> Result<[u8; 32], String> {
    let file = File::open(device.partition("root", "b")).map_err(sample::words)?;
    let mut reader = BufReader::with_capacity(1 << 20, file).take(len);
    let mut hasher = Sha256::new();
    loop {
        let bytes = reader.fill_buf().map_err(sample::words)?;
        if bytes.is_empty() {
            return Ok(hasher.finalize().into());
        }
        hasher.update(bytes);
        let len = bytes.len();
        reader.consume(len);
    }
}

/// The root file system of a release as one stream, as `zstd -3` makes it.
fn make_stream(
    lab: &Lab,
    pair: &Pair,
    (device, root_len): (&Device, u64),
    stream: &Path,
) -> Result<(), String> {
    lab.measure(&install(lab, device, pair))?;
    let mut make = lab.program("sh");
    let (from, to) = (device.partition("root", "b"), stream.display());
    make.arg("-c").arg(format!("head -c {root_len} {} | zstd -3 -qfo {to}", from.display()));
    lab.measure(&make).map(drop)
}
