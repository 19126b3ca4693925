//! A real board as a machine: commands of the user for its console, its power and its disk.
//!
//! A JSON file says how; docs/integrate.md describes it:
//!
//! ```json
//! {"arch": "aarch64", "slowness": 2,
//!  "console": "socat - /dev/ttyUSB0,b115200,raw,echo=0",
//!  "power_on": "relay on 3", "power_off": "relay off 3", "reset": "relay pulse 4",
//!  "flash": "bmaptool copy factory.raw /dev/sdx", "stick": true,
//!  "registry": {"address": "10.0.0.1:5000", "authority": "ca.pem", "credentials": "auth.json"}}
//! ```

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

use super::{
    console::Console,
    machine::{Access, Arch, Loaded, Machine, Plugged, Start},
    trouble::Trouble,
};
use crate::tree;

/// Longest description of a board, in bytes.
const FILE_LEN_MAX: u64 = 65_536;

/// How a board is worked with. Every command is given to `sh -c`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    arch: String,
    /// Every deadline is multiplied by this.
    #[serde(default = "one")]
    slowness: u32,
    /// Runs as long as the console is open: its stdout is what the board says, its stdin what is
    /// typed.
    console: String,
    power_on: String,
    power_off: String,
    /// Pulls the reset line; without it power is cut and given again.
    #[serde(default)]
    reset: Option<String>,
    /// Puts the factory image onto the board's disk, without power on the board.
    flash: String,
    /// Whether the stick with the releases is plugged in.
    #[serde(default)]
    stick: bool,
    /// Whether the stick with the bundle is plugged in.
    #[serde(default)]
    bundle: bool,
    /// The registry that the board reaches over its network, with the releases in `guest`.
    #[serde(default)]
    registry: Option<RegistryDescription>,
}

/// A registry that the user runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryDescription {
    /// Host and port.
    address: String,
    /// A file with the certificate of who vouches for it, in PEM.
    authority: PathBuf,
    /// A file with credentials, as `podman login` writes it.
    credentials: PathBuf,
}

const fn one() -> u32 {
    1
}

/// A board without power.
#[derive(Debug)]
pub(crate) struct Board {
    arch: Arch,
    how: Description,
    console: Option<Child>,
}

impl Clone for Board {
    fn clone(&self) -> Self {
        Self { arch: self.arch, how: self.how.clone(), console: None }
    }
}

impl Board {
    /// Reads the description of a board.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(file: &Path) -> Result<Self, Trouble> {
        let told = |what: String| Trouble::harness(format!("{}: {what}", file.display()));
        let len = fs::metadata(file).map_err(|cause| told(cause.to_string()))?.len();
        if len > FILE_LEN_MAX {
            return Err(told(format!("{len} bytes, limit {FILE_LEN_MAX}")));
        }
        let text = fs::read_to_string(file).map_err(|cause| told(cause.to_string()))?;
        let how: Description =
            serde_json::from_str(&text).map_err(|cause| told(cause.to_string()))?;
        let arch = Arch::ALL.into_iter().find(|arch| arch.name() == how.arch);
        let arch = arch.ok_or_else(|| told(format!("no architecture `{}`", how.arch)))?;
        Ok(Self { arch, how, console: None })
    }

    /// Its architecture.
    pub(crate) const fn arch(&self) -> Arch {
        self.arch
    }

    fn shell(command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(tree::root());
        shell
    }

    fn run(command: &str) -> Result<(), Trouble> {
        let status = Self::shell(command).stdin(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        Err(Trouble::harness(format!("`{command}`: {status}")))
    }
}

impl Machine for Board {
    fn load(&mut self, _: Start) -> Result<Loaded, Trouble> {
        Self::run(&self.how.flash)?;
        Ok(Loaded::Factory)
    }

    fn power_on(&mut self, plugged: Plugged) -> Result<Console, Trouble> {
        if plugged.read_only || plugged.twin || plugged.recorded {
            let what = "a second disk, or one that takes no writes, or records them";
            return Err(Trouble::Cannot(what.to_owned()));
        }
        if plugged.stick && !self.how.stick {
            return Err(Trouble::Cannot("no stick is plugged in".to_owned()));
        }
        if plugged.bundle && !self.how.bundle {
            return Err(Trouble::Cannot("no stick with a bundle is plugged in".to_owned()));
        }
        if plugged.network && self.how.registry.is_none() {
            return Err(Trouble::Cannot("no registry is described".to_owned()));
        }
        self.cut_power()?;
        // The console first: nothing that the loader says is lost. A group of its own, so that what
        // the shell started ends with it.
        let mut console = Self::shell(&self.how.console);
        console.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let child = self.console.insert(console.spawn()?);
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(Trouble::harness("the console has no streams"));
        };
        let log = tree::target().join("hw/board.log");
        fs::create_dir_all(log.parent().unwrap_or(&log))?;
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Self::run(&self.how.power_on)?;
        Ok(Console::new(output, input, log))
    }

    fn cut_power(&mut self) -> Result<(), Trouble> {
        Self::run(&self.how.power_off)?;
        if let Some(mut console) = self.console.take() {
            Self::run(&format!("kill -- -{} 2> /dev/null || true", console.id()))?;
            console.wait()?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Trouble> {
        match &self.how.reset {
            Some(reset) => Self::run(reset),
            None => {
                Self::run(&self.how.power_off)?;
                Self::run(&self.how.power_on)
            }
        }
    }

    fn registry(&mut self) -> Result<Access, Trouble> {
        let Some(registry) = &self.how.registry else {
            return Err(Trouble::Cannot("no registry is described".to_owned()));
        };
        let address = registry.address.clone();
        let authority = fs::read_to_string(&registry.authority)?;
        let credentials = fs::read_to_string(&registry.credentials)?;
        Ok(Access { address, authority, credentials })
    }

    fn judge_writes(&mut self) -> Result<String, Trouble> {
        Err(Trouble::Cannot("writes are not recorded".to_owned()))
    }

    fn slowness(&self) -> u32 {
        self.how.slowness
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if self.console.is_some() {
            drop(self.cut_power());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::rig::Rig;

    /// A board that is a shell: it says what the guest says, runs what is typed, and keeps a file as
    /// long as it has power.
    fn dummy(folder: &Path, said: &str) -> Board {
        let at = folder.display();
        let console =
            format!("until [ -e {at}/power ]; do sleep 0.01; done; echo '{said}'; exec sh");
        let how = serde_json::json!({
            "arch": "aarch64", "console": console, "slowness": 1, "stick": true,
            "power_on": format!("touch {at}/power"), "power_off": format!("rm -f {at}/power"),
            "flash": format!("echo flashed >> {at}/flashed"),
        });
        let file = folder.join("board.json");
        fs::write(&file, how.to_string()).unwrap();
        Board::read(&file).unwrap()
    }

    #[test]
    fn a_board_is_flashed_switched_on_worked_with_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let up = "guest: up release=1 slot=a trial=0 state=kept";
        let mut rig = Rig::new(Box::new(dummy(folder.path(), up)));
        rig.load(Start::Factory).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("flashed")).unwrap(), "flashed\n");
        rig.power_on().unwrap();
        assert!(folder.path().join("power").exists());
        rig.expect_up("1", "a", false).unwrap();
        let answer = rig.run("echo two; (exit 3)").unwrap();
        assert_eq!((answer.text.as_str(), answer.code), ("two\n", 3));
        rig.cut_power().unwrap();
        assert!(!folder.path().join("power").exists());
        let trouble = rig.run("true").unwrap_err();
        assert!(trouble.to_string().contains("no power"), "{trouble}");
    }

    #[test]
    fn a_board_that_runs_another_release_fails_the_case() {
        let folder = tempfile::tempdir().unwrap();
        let up = "guest: up release=2 slot=b trial=1 state=kept";
        let mut rig = Rig::new(Box::new(dummy(folder.path(), up)));
        rig.power_on().unwrap();
        let trouble = rig.expect_up("1", "a", false).unwrap_err();
        assert!(matches!(&trouble, Trouble::Case(what) if what.contains("release 2")), "{trouble}");
    }

    #[test]
    fn what_a_board_cannot_do_is_said_and_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(Box::new(dummy(folder.path(), "")));
        rig.plugged.read_only = true;
        assert!(matches!(rig.power_on().unwrap_err(), Trouble::Cannot(_)));
    }

    #[test]
    fn a_description_with_an_unknown_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("board.json");
        fs::write(&file, "{\"arch\": \"aarch64\", \"relay\": 1}").unwrap();
        let told = Board::read(&file).unwrap_err().to_string();
        assert!(told.contains("relay") && told.contains("board.json"), "{told}");
    }
}
