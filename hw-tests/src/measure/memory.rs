//! Whether the memory of an install grows with the image: two images, one eight times the other.

use super::{
    cost::Runs,
    lab::{self, Lab},
    layout::Layout,
    made::{self, Made},
};
use crate::{device::Device, run, sample, say};

/// How far the peaks of the two may lie apart, in KiB.
pub(super) const APART_MAX_KIB: u64 = 1024;
const FILE_LEN: usize = 1 << 20;
const MIB: u64 = 1 << 20;

/// Installs of one image.
#[derive(Debug)]
pub(super) struct Peak {
    pub(super) image_mib: u32,
    pub(super) runs: Runs,
}

/// Installs of both.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) peaks: Vec<Peak>,
    pub(super) commands: Vec<String>,
}

impl Memory {
    /// How far the highest peaks of the images lie apart.
    pub(super) fn apart_kib(&self) -> u64 {
        let peaks = || self.peaks.iter().map(|peak| peak.runs.peak_kib());
        peaks().max().unwrap_or(0) - peaks().min().unwrap_or(0)
    }
}

/// Installs images of so many MiB each onto empty devices.
pub(super) fn run(lab: &Lab, sizes: [u32; 2]) -> Result<Memory, String> {
    let mut memory = Memory::default();
    for image_mib in sizes {
        say::heading(&format!("memory: an image of {image_mib} MiB"));
        memory.peaks.push(one(lab, image_mib)?);
    }
    memory.commands = lab.commands();
    Ok(memory)
}

fn one(lab: &Lab, image_mib: u32) -> Result<Peak, String> {
    let (images, releases) = (Layout(lab.path("made")), Layout(lab.path("made-releases")));
    sample::succeed(run::command("umoci").arg("init").arg("--layout").arg(&images.0))?;
    let image = format!("{}:made", images.0.display());
    sample::succeed(run::command("umoci").args(["new", "--image", &image]))?;
    let layer = lab.path("made.tar");
    Made { file_count: image_mib, file_len: FILE_LEN, changed: 0 }.layer(&layer)?;
    made::finish(&image, &[layer])?;
    let tag = format!("made-{image_mib}");
    let mut seal = lab.seal(&images.source("made"), &releases, &tag);
    lab.measure(seal.args(["--sequence", "1", "--level", "3"]))?;
    lab::remove(&images.0)?;

    let mut runs = Runs::default();
    let partitions = (u64::from(image_mib + image_mib / 16 + 32) * MIB, 32 * MIB);
    for _ in 0..lab.run_count {
        let files = lab.inputs.device_files()?;
        let device = Device::with(&lab.path("made-device"), partitions, &files);
        let device = device.map_err(sample::words)?;
        let source = releases.source(&tag);
        let install = lab.gybe(&device, &["install", &source, "--slot", "a", "--json"]);
        runs.0.push(lab.measure(&install)?.0);
        lab::remove(device.root())?;
    }
    lab::remove(&releases.0)?;
    Ok(Peak { image_mib, runs })
}
