//! A device whose partitions are files, and what happens when it is switched on.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use super::shell::{Shell, Trouble};
use crate::{
    run,
    sample::{DEVICE_FOLDER, Samples},
    say,
};

/// How often the sample configuration lets a new release try.
pub(super) const TRIES: u32 = 3;
const ROOT_LEN: u64 = 768 << 20;
const BOOT_LEN: u64 = 160 << 20;
const CHECKS: &str = "usr/lib/greenboot/check/required.d";

/// What the health checks of a system say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Userspace {
    /// All of them pass.
    Healthy,
    /// One of them fails.
    Broken,
}

/// Everything of the device lies below one folder.
pub(super) struct Device {
    root: PathBuf,
}

impl Device {
    /// A device as it leaves the board factory: empty partitions, no system, and the provisioning
    /// system's configuration, which is the image's own.
    pub(super) fn create(root: &Path, samples: &Samples) -> Result<Self, Trouble> {
        let partitions = root.join("dev/disk/by-partlabel");
        fs::create_dir_all(&partitions)?;
        for slot in ["a", "b"] {
            File::create_new(partitions.join(format!("root_{slot}")))?.set_len(ROOT_LEN)?;
            File::create_new(partitions.join(format!("boot_{slot}")))?.set_len(BOOT_LEN)?;
        }
        let folder = root.join(DEVICE_FOLDER);
        fs::create_dir_all(&folder)?;
        for (name, content) in samples.device_files()? {
            fs::write(folder.join(name), content)?;
        }
        for folder in ["boot/env", "proc", "var/lib/gybe", "etc/gybe"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(root.join("proc/cmdline"), "console=ttyS0 provisioning\n")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder that `gybe --root` takes.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Switches the device on: the loader chooses a slot, which must be `expected`, and the health
    /// checks that lie in this slot's own bytes run.
    pub(super) fn boot(
        &self,
        shell: &Shell,
        expected: &str,
        userspace: Userspace,
    ) -> Result<(), Trouble> {
        let root = self.root.to_string_lossy();
        shell.answer("gybe-loader-player", &["--root", &root])?;
        let line = fs::read_to_string(self.root.join("proc/cmdline"))?;
        let slot = word(&line, "gybe.slot=");
        if slot != Some(expected) {
            return Err(Trouble(format!("the loader chose {slot:?}, expected {expected}")));
        }
        let found = self.health(expected, &line)?;
        if found == userspace {
            return Ok(());
        }
        Err(Trouble(format!("slot {expected} is {found:?}, expected {userspace:?}")))
    }

    /// Runs the checks that lie in the slot's own bytes, as greenboot would.
    fn health(&self, slot: &str, command_line: &str) -> Result<Userspace, Trouble> {
        let root_hash = word(command_line, "roothash=");
        let hash = root_hash.ok_or_else(|| Trouble("the loader told no root hash".into()))?;
        // What this hash names does not change, so three boots of it unpack it once.
        let system = self.root.with_file_name("systems").join(hash);
        if !system.exists() {
            self.unpack(slot, &system)?;
        }
        let mut checks = Vec::new();
        for entry in fs::read_dir(system.join(CHECKS))? {
            checks.push(entry?.path());
        }
        checks.sort();
        for check in checks {
            let name = check.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let status = run::command("sh").arg(&check).env("ROOT", &system).status()?;
            if !status.success() {
                say::line(&format!("health check {name}: failed; the machine restarts"));
                return Ok(Userspace::Broken);
            }
            say::line(&format!("health check {name}: passed"));
        }
        Ok(Userspace::Healthy)
    }

    /// Unpacks the slot's root file system with a foreign reader.
    fn unpack(&self, slot: &str, system: &Path) -> Result<(), Trouble> {
        let image = self.root.join(format!("dev/disk/by-partlabel/root_{slot}"));
        fs::create_dir_all(system.parent().unwrap_or(system))?;
        let mut unpack = run::command("fsck.erofs");
        unpack.arg(format!("--extract={}", system.display())).arg("--no-preserve").arg(&image);
        let status = unpack.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(Trouble(format!("fsck.erofs: {status}"))) }
    }
}

/// The value of `key` on a kernel command line.
fn word<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    command_line.split_whitespace().find_map(|word| word.strip_prefix(key))
}
