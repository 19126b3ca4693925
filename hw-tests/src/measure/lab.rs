//! What the measurements share: the programs under test, a folder that may be filled, the images,
//! and the commands that were run, as the page shows them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    cost::{self, Cost},
    inputs::{BASE, Inputs, Pair},
    layout::Layout,
};
use crate::{device::Device, programs, run, sample, say, tree};

/// Runs a test that prints what it measured, with the programs in a folder if one is given; gives what
/// it printed.
pub(super) fn test(line: &str, programs: Option<&Path>) -> Result<String, String> {
    let mut test = run::cargo();
    test.args(line.split(' ').skip(1)).env("GYBE_TOOLS", tree::tools());
    if let Some(programs) = programs {
        test.env(programs::FOLDER, programs);
    }
    let mut said = String::new();
    match run::watched(&mut test, |printed| said.extend([printed, "\n"])) {
        Ok(status) if status.success() => Ok(said),
        Ok(status) => Err(format!("{line}: {status}")),
        Err(cause) => Err(format!("{line}: {cause}")),
    }
}

/// What every measurement uses.
#[derive(Debug)]
pub(super) struct Lab {
    /// The folder of the release builds.
    pub(super) programs: PathBuf,
    /// Everything that is made while measuring; gone afterwards, and when something fails.
    folder: TempDir,
    pub(super) inputs: Inputs,
    /// How often something is timed.
    pub(super) run_count: usize,
    commands: Mutex<Vec<String>>,
    /// How the releases were sealed that sections share.
    seals: Mutex<Vec<String>>,
}

impl Lab {
    pub(super) fn new(programs: PathBuf, inputs: Inputs, run_count: usize) -> Result<Self, String> {
        let parent = tree::target().join("measure");
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(parent);
        let folder = folder.map_err(sample::words)?;
        let (commands, seals) = (Mutex::default(), Mutex::default());
        Ok(Self { programs, folder, inputs, run_count, commands, seals })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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
        note(&self.commands, self.plain(command));
        self.cost(command)
    }

    fn cost(&self, command: &Command) -> Result<(Cost, String), String> {
        // Measurements may run side by side.
        let name = format!("time-{:?}", std::thread::current().id());
        cost::of(command, &self.path(&name.replace(['(', ')'], "-")))
    }

    /// The commands since the last time this was asked, each once.
    pub(super) fn commands(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.commands))
    }

    /// How the releases were sealed.
    pub(super) fn seals(&self) -> Vec<String> {
        locked(&self.seals).clone()
    }

    /// A command as the page shows it: without the folders of this machine.
    fn plain(&self, command: &Command) -> String {
        let line = run::shown(command);
        let folders = [
            (self.folder.path(), "run/"),
            (self.inputs.folder(), "images/"),
            (&*self.programs, ""),
        ];
        folders.into_iter().fold(line, |line, (folder, short)| {
            line.replace(&format!("{}/", folder.display()), short)
        })
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
        seal.args(["--sequence", "1"]);
        note(&self.seals, self.plain(&seal));
        self.cost(&seal).map(drop)
    }

    /// Seals the image of a pair, on `base`, if no section has yet.
    pub(super) fn seal_pair(&self, pair: &Pair) -> Result<(), String> {
        self.seal_base()?;
        if self.releases().manifest(pair.tag).is_ok() {
            return Ok(());
        }
        let image = self.inputs.images().source(pair.tag);
        let mut seal = self.seal(&image, &self.releases(), pair.tag);
        seal.args(["--sequence", "2"]);
        seal.args(["--base", &self.releases().source(BASE)]);
        note(&self.seals, self.plain(&seal));
        self.cost(&seal).map(drop)
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
        self.commit_base(&device, &self.releases())?;
        Ok(device)
    }

    /// Brings `base` to slot A of an empty device, which runs it then.
    pub(super) fn commit_base(&self, device: &Device, releases: &Layout) -> Result<(), String> {
        let source = releases.source(BASE);
        self.measure(&self.gybe(device, &["install", &source, "--slot", "a"]))?;
        let mut boot = self.program("gybe-loader-player");
        self.measure(boot.arg("--root").arg(device.root()))?;
        self.measure(&self.gybe(device, &["commit"])).map(drop)
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

/// Shows a command and keeps it, once.
fn note(commands: &Mutex<Vec<String>>, line: String) {
    say::line(&format!("$ {line}"));
    let mut commands = locked(commands);
    if !commands.contains(&line) {
        commands.push(line);
    }
}

fn locked(commands: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    commands.lock().unwrap_or_else(PoisonError::into_inner)
}
