//! What the measurements share: the programs under test, a folder that may be filled, the images,
//! and the commands that were run, as the page shows them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use serde_json::Value;

use super::{
    cost::{self, Cost},
    inputs::{BASE, Inputs, Pair},
    layout::Layout,
};
use crate::{device::Device, run, sample, say, tree};

/// What every measurement uses.
#[derive(Debug)]
pub(super) struct Lab {
    /// The folder of the release builds.
    pub(super) programs: PathBuf,
    /// Everything that is made while measuring; gone afterwards.
    pub(super) folder: PathBuf,
    pub(super) inputs: Inputs,
    /// How often something is timed.
    pub(super) run_count: usize,
    commands: Mutex<Vec<String>>,
}

impl Lab {
    pub(super) fn new(programs: PathBuf, inputs: Inputs, run_count: usize) -> Result<Self, String> {
        let folder = tree::target().join("measure/run");
        let lab = Self { programs, folder, inputs, run_count, commands: Mutex::default() };
        lab.clean_up()?;
        fs::create_dir_all(&lab.folder).map_err(sample::words)?;
        Ok(lab)
    }

    /// Removes everything that was made while measuring.
    pub(super) fn clean_up(&self) -> Result<(), String> {
        if self.folder.exists() { remove(&self.folder) } else { Ok(()) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The releases that were sealed.
    pub(super) fn releases(&self) -> Layout {
        Layout(self.path("releases"))
    }

    /// A program under test, or a tool.
    pub(super) fn program(&self, name: &str) -> Command {
        let ours = self.programs.join(name);
        run::command(&if ours.exists() { ours.to_string_lossy() } else { name.into() })
    }

    /// Runs a command, keeps it for the page, and gives what it took and what it said.
    pub(super) fn measure(&self, command: &Command) -> Result<(Cost, String), String> {
        self.note(command);
        // Measurements may run side by side.
        let name = format!("time-{:?}", std::thread::current().id());
        cost::of(command, &self.path(&name.replace(['(', ')'], "-")))
    }

    /// Keeps a command for the page.
    pub(super) fn note(&self, command: &Command) {
        let line = plain(&run::shown(command));
        say::line(&format!("$ {line}"));
        let mut commands = self.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !commands.contains(&line) {
            commands.push(line);
        }
    }

    /// The commands since the last time this was asked, each once.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut commands = self.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut commands)
    }

    /// Whether `seal` can take the packs of an earlier release.
    pub(super) fn seals_on_a_base(&self) -> bool {
        let help = run::answer(self.program("gybe-publish").args(["seal", "--help"]));
        help.is_some_and(|help| help.contains("--base "))
    }

    /// The command that seals an image of this layout.
    pub(super) fn seal(&self, image: &str, to: &Layout, tag: &str) -> Command {
        let mut seal = self.program("gybe-publish");
        seal.args(["seal", "--image", image, "--output", &to.source(tag)]);
        seal.args(["--compatible", sample::COMPATIBLE, "--version", "1.0.0"]);
        seal.args(["--rollback-index", "1", "--key"]).arg(self.inputs.key());
        seal
    }

    /// Seals `base`, if no section has yet.
    pub(super) fn seal_base(&self) -> Result<(), String> {
        if self.releases().manifest(BASE).is_ok() {
            return Ok(());
        }
        let image = self.inputs.images().source(BASE);
        let mut seal = self.seal(&image, &self.releases(), BASE);
        self.measure(seal.args(["--sequence", "1"])).map(drop)
    }

    /// Seals the image of a pair, on `base` where that is possible, if no section has yet.
    pub(super) fn seal_pair(&self, pair: &Pair) -> Result<(), String> {
        self.seal_base()?;
        if self.releases().manifest(pair.tag).is_ok() {
            return Ok(());
        }
        let image = self.inputs.images().source(pair.tag);
        let mut seal = self.seal(&image, &self.releases(), pair.tag);
        seal.args(["--sequence", "2"]);
        if self.seals_on_a_base() {
            seal.args(["--base", &self.releases().source(BASE)]);
        }
        self.measure(&seal).map(drop)
    }

    /// A device that nothing was ever installed on.
    pub(super) fn empty_device(&self, name: &str) -> Result<Device, String> {
        let files = self.inputs.device_files()?;
        let device = Device::with(&self.path(name), self.inputs.partitions(), &files);
        device.map_err(|cause| format!("device {name}: {cause}"))
    }

    /// A device that runs `base` from slot A, committed.
    pub(super) fn device_with_base(&self, name: &str) -> Result<Device, String> {
        self.seal_base()?;
        let device = self.empty_device(name)?;
        let source = self.releases().source(BASE);
        self.measure(&self.gybe(&device, &["install", &source, "--slot", "a"]))?;
        let mut boot = self.program("gybe-loader-player");
        self.measure(boot.arg("--root").arg(device.root()))?;
        self.measure(&self.gybe(&device, &["commit"]))?;
        Ok(device)
    }

    pub(super) fn gybe(&self, device: &Device, arguments: &[&str]) -> Command {
        let mut gybe = self.program("gybe");
        gybe.arg("--root").arg(device.root()).args(arguments);
        gybe
    }
}

/// What an install says it cost.
pub(super) fn tally(said: &str) -> Result<Value, String> {
    let report: Value = serde_json::from_str(said).map_err(|cause| format!("{said}: {cause}"))?;
    report.get("cost").cloned().ok_or_else(|| format!("a report without cost: {said}"))
}

/// Removes a file or a folder.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|cause| format!("{}: {cause}", path.display()))
}

/// How long a file is.
pub(super) fn len(path: &Path) -> Result<u64, String> {
    let found = fs::metadata(path).map_err(|cause| format!("{}: {cause}", path.display()))?;
    Ok(found.len())
}

/// A command without the folders of this machine.
fn plain(line: &str) -> String {
    let target = format!("{}/", tree::target().display());
    line.replace(&target, "target/").replace(&format!("{}/", tree::root().display()), "")
}
