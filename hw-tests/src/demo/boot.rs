//! Switches the device on: the loader chooses, and the health checks of what it chose run.

use std::{fs, path::Path, process::Stdio};

use super::{Demo, shell::Trouble};
use crate::{run, say};

/// How often the sample configuration lets a new release try.
pub(super) const TRIES: u32 = 3;
const CHECKS: &str = "usr/lib/greenboot/check/required.d";

/// What the health checks of a system say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Userspace {
    /// All of them pass.
    Healthy,
    /// One of them fails.
    Broken,
}

impl Demo {
    /// Switches the device on: the loader chooses a slot, which must be `expected`, and the health
    /// checks that lie in this slot's own bytes run.
    pub(super) fn boot(&self, expected: &str, userspace: Userspace) -> Result<(), Trouble> {
        let root = self.device.root().to_string_lossy();
        self.shell.answer("gybe-loader-player", &["--root", &root])?;
        let line = fs::read_to_string(self.device.command_line())?;
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
        let system = self.folder.join("systems").join(hash);
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
        let image = self.device.partition("root", slot);
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
