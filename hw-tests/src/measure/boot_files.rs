//! What it gains that the boot target has the initramfs unpacked: the same two images in each way.

use super::{
    inputs::{BASE, Pair},
    lab::{self, Lab},
    layout::{Layout, number},
};
use crate::say;

/// The ways, the usual one first.
const WAYS: [(&str, &[&str]); 3] = [
    ("unpacked in the boot target, not in the root", &[]),
    ("unpacked in the boot target, in the root as well", &["--initramfs-in-root"]),
    ("as the image has it, in both", &["--keep-boot-files"]),
];

/// A way, and what came of it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) options: String,
    pub(super) root_len: u64,
    pub(super) boot_len: u64,
    /// What a device that runs `base` would fetch, by its own plan.
    pub(super) update_bytes: u64,
    /// What an empty device would fetch.
    pub(super) full_bytes: u64,
}

/// Seals `base` and the image of `pair` in each way, and plans the update.
pub(super) fn run(lab: &Lab, pair: &Pair) -> Result<Vec<Way>, String> {
    WAYS.iter().map(|(name, options)| one(lab, pair, name, options)).collect()
}

fn one(lab: &Lab, pair: &Pair, name: &'static str, options: &[&str]) -> Result<Way, String> {
    say::heading(&format!("the initramfs {name}"));
    let releases = Layout(lab.path("ways"));
    for (tag, sequence) in [(BASE, "1"), (pair.tag, "2")] {
        let mut seal = lab.seal(&lab.inputs.images().source(tag), &releases, tag);
        seal.args(["--sequence", sequence]).args(options);
        if tag != BASE {
            seal.args(["--base", &releases.source(BASE)]);
        }
        lab.measure(&seal)?;
    }
    let config = releases.config(&releases.manifest(pair.tag)?)?;
    let device = lab.empty_device("way")?;
    let fetched = |source: &str, slot: &str| -> Result<u64, String> {
        let plan = lab.gybe(&device, &["plan", source, "--slot", slot, "--json"]);
        number(&lab::tally(&lab.measure(&plan)?.1)?, "/fetched_bytes")
    };
    let full_bytes = fetched(&releases.source(pair.tag), "b")?;
    lab.commit_base(&device, &releases)?;
    let way = Way {
        name,
        options: options.join(" "),
        root_len: number(&config, "/targets/0/size")?,
        boot_len: number(&config, "/targets/1/size")?,
        update_bytes: fetched(&releases.source(pair.tag), "b")?,
        full_bytes,
    };
    lab::remove(device.root())?;
    lab::remove(&releases.0)?;
    Ok(way)
}
