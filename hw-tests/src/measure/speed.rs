//! How long an install takes, and what it takes of processor and memory, beside two floors.

use super::{
    cost::Runs,
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
    make_stream(lab, pair, &empty, &stream)?;
    lab.commands();

    let mut speed = Speed::default();
    let releases = lab.releases();
    // What a cable or a clock does to one run it does to all kinds alike: they take turns.
    for run in 1..=lab.run_count {
        say::heading(&format!("install, run {run} of {}", lab.run_count));
        let (cost, said) = timed(lab, &empty, &install(lab, &empty, pair))?;
        speed.full.0.push(cost);
        speed.release_bytes = number(&lab::tally(&said)?, "/total_bytes")?;
        let (cost, _) = timed(lab, &updated, &install(lab, &updated, pair))?;
        speed.update.0.push(cost);

        let file = empty.partition("root", "b");
        let mut bare = lab.program("bare-loop");
        bare.arg(&releases.0).arg(pair.tag).arg(&file);
        let (cost, said) = timed(lab, &empty, &bare)?;
        speed.bare.0.push(cost);
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

fn install(lab: &Lab, device: &Device, pair: &Pair) -> std::process::Command {
    let source = lab.releases().source(pair.tag);
    lab.gybe(device, &["install", &source, "--slot", "b", "--no-arm", "--json"])
}

/// Times what writes into slot B of a device, which is made empty first.
fn timed(
    lab: &Lab,
    device: &Device,
    command: &std::process::Command,
) -> Result<(super::cost::Cost, String), String> {
    device.wipe("b").map_err(sample::words)?;
    lab.measure(command)
}

/// The root file system of a release as one stream, as `zstd -3` makes it.
fn make_stream(
    lab: &Lab,
    pair: &Pair,
    device: &Device,
    stream: &std::path::Path,
) -> Result<(), String> {
    lab.measure(&install(lab, device, pair))?;
    let releases = lab.releases();
    let config = releases.config(&releases.manifest(pair.tag)?)?;
    let len = number(&config, "/targets/0/size")?;
    let mut make = lab.program("sh");
    let (from, to) = (device.partition("root", "b"), stream.display());
    make.arg("-c").arg(format!("head -c {len} {} | zstd -3 -qfo {to}", from.display()));
    lab.measure(&make).map(drop)
}
