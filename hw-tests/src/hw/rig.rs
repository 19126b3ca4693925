//! A machine with the test guest on it: what a person at its console would do and see.

use std::time::{Duration, Instant};

use super::{
    console::Console,
    machine::{Access, Loaded, Machine, Plugged, Start},
    phases::Phases,
    trouble::Trouble,
};

/// From power to userspace, on a good PC; see [`Machine::slowness`].
const BOOT_LIMIT_S: u64 = 60;
/// From userspace to the verdict of `gybe health`.
const HEALTH_LIMIT_S: u64 = 60;
/// A command at the console.
const COMMAND_LIMIT_S: u64 = 120;
/// The environment, seen from the guest.
pub(crate) const ENVIRONMENT: &str = "/run/gybe/env";

/// What the guest says when it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Up {
    /// Which release runs.
    pub(crate) release: String,
    /// From which slot.
    pub(crate) slot: String,
    /// Whether the loader tries it.
    pub(crate) trial: bool,
    /// Whether `/var` is the one that was there before.
    pub(crate) state_kept: bool,
}

impl Up {
    fn of_line(line: &str) -> Option<Self> {
        let (_, words) = line.split_once("guest: up ")?;
        let word = |name: &str| {
            let mut words = words.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        Some(Self {
            release: word("release")?,
            slot: word("slot")?,
            trial: word("trial")? == "1",
            state_kept: word("state")? == "kept",
        })
    }
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its lines, stdout and stderr.
    pub(crate) text: String,
    /// Its exit code.
    pub(crate) code: i32,
}

/// A machine and its console.
pub(crate) struct Rig {
    machine: Box<dyn Machine>,
    console: Option<Console>,
    /// What is plugged in at the next power-on.
    pub(crate) plugged: Plugged,
    /// How long each part of each boot took.
    pub(crate) phases: Phases,
    commands: u32,
}

impl Rig {
    /// A rig without power.
    pub(crate) fn new(machine: Box<dyn Machine>) -> Self {
        let (plugged, phases) = (Plugged::default(), Phases::default());
        Self { machine, console: None, plugged, phases, commands: 0 }
    }

    /// Puts `start` onto the disk; what a target cannot flash is done on it.
    pub(crate) fn load(&mut self, start: Start) -> Result<(), Trouble> {
        self.cut_power()?;
        if self.machine.load(start)? == Loaded::AsAsked || start == Start::Factory {
            return Ok(());
        }
        self.write_release_2()?;
        if start == Start::BothGood {
            self.commit_release_2()?;
        }
        Ok(())
    }

    /// From a factory disk to [`Start::Written`].
    pub(crate) fn write_release_2(&mut self) -> Result<(), Trouble> {
        let plugged = Plugged { stick: true, ..Plugged::default() };
        let plugged = std::mem::replace(&mut self.plugged, plugged);
        self.start("1", "a")?;
        self.mount_stick()?;
        self.must("gybe install --no-arm oci:/run/stick:v2")?;
        self.power_off()?;
        self.plugged = plugged;
        Ok(())
    }

    /// From [`Start::Written`] to [`Start::BothGood`].
    pub(crate) fn commit_release_2(&mut self) -> Result<(), Trouble> {
        let plugged = Plugged { stick: true, ..Plugged::default() };
        let plugged = std::mem::replace(&mut self.plugged, plugged);
        self.start("1", "a")?;
        self.install("v2")?;
        self.reboot()?;
        self.expect_up("2", "b", true)?;
        self.health_done()?;
        self.power_off()?;
        self.plugged = plugged;
        Ok(())
    }

    fn limit(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * self.machine.slowness()
    }

    fn console(&mut self) -> Result<&mut Console, Trouble> {
        self.console.as_mut().ok_or_else(|| Trouble::harness("the machine has no power"))
    }

    /// Power comes on.
    pub(crate) fn power_on(&mut self) -> Result<(), Trouble> {
        self.console = None;
        self.phases.begin(Instant::now());
        self.console = Some(self.machine.power_on(self.plugged)?);
        Ok(())
    }

    /// Power comes on, and a release that is kept runs from this slot and is found healthy.
    pub(crate) fn start(&mut self, release: &str, slot: &str) -> Result<(), Trouble> {
        self.power_on()?;
        self.expect_up(release, slot, false)?;
        self.health_done()
    }

    /// Power goes, at once.
    pub(crate) fn cut_power(&mut self) -> Result<(), Trouble> {
        self.console = None;
        self.machine.cut_power()
    }

    /// Asks what would have booted after each of the writes that were recorded.
    pub(crate) fn judge_writes(&mut self) -> Result<String, Trouble> {
        self.cut_power()?;
        self.machine.judge_writes()
    }

    /// Everything is written, then power goes.
    pub(crate) fn power_off(&mut self) -> Result<(), Trouble> {
        self.run("sync")?;
        self.cut_power()
    }

    /// What a hardware watchdog does.
    pub(crate) fn reset(&mut self) -> Result<(), Trouble> {
        self.phases.begin(Instant::now());
        self.machine.reset()
    }

    /// Lets the device work for a while: only power cuts at random moments need this.
    pub(crate) fn wait_ms(&mut self, milliseconds: u32) {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }

    /// A kernel that breaks down is what the case wants, or no longer.
    pub(crate) fn want_crash(&mut self, wanted: bool) -> Result<(), Trouble> {
        self.console()?.want_crash(wanted);
        Ok(())
    }

    /// What really ended a case: its trouble means nothing when the machine itself broke down.
    pub(crate) fn cause_of(&mut self, trouble: Trouble) -> Trouble {
        match (trouble, self.machine.broke_down()) {
            (Trouble::Case(what) | Trouble::Harness(what), Some(how)) => {
                Trouble::GuestCrash(format!("{how}; {what}"))
            }
            (other, _) => other,
        }
    }

    /// Waits until a line contains `text`.
    pub(crate) fn see(&mut self, text: &str, seconds: u64) -> Result<String, Trouble> {
        let limit = self.limit(seconds);
        let mut meaning = |line: &str| line.contains(text).then(|| line.to_owned());
        self.console()?.wait(&format!("`{text}`"), limit, &mut meaning)
    }

    /// Waits until the kernel of the next boot starts userspace.
    pub(crate) fn see_initramfs(&mut self) -> Result<String, Trouble> {
        let line = self.see("guest: initramfs", BOOT_LIMIT_S)?;
        let at = self.console()?.seen_at;
        self.phases.kernel(at);
        Ok(line)
    }

    /// Waits until the guest is up.
    pub(crate) fn up(&mut self) -> Result<Up, Trouble> {
        let limit = self.limit(BOOT_LIMIT_S);
        let console = self.console()?;
        let mut early = None;
        let mut meaning = |line: &str| {
            if line.contains("guest: initramfs") {
                early = Some(Instant::now());
            }
            Up::of_line(line)
        };
        let up = console.wait("the guest", limit, &mut meaning)?;
        let at = console.seen_at;
        if let Some(early) = early {
            self.phases.kernel(early);
        }
        self.phases.up(at);
        Ok(up)
    }

    /// Waits until the guest is up, and this must be what runs.
    pub(crate) fn expect_up(
        &mut self,
        release: &str,
        slot: &str,
        trial: bool,
    ) -> Result<Up, Trouble> {
        let up = self.up()?;
        if up.release == release && up.slot == slot && up.trial == trial {
            return Ok(up);
        }
        let kind = |trial| if trial { " on trial" } else { "" };
        Err(Trouble::case(format!(
            "release {} runs from slot {}{}, expected release {release} from slot {slot}{}",
            up.release,
            up.slot,
            kind(up.trial),
            kind(trial),
        )))
    }

    /// Waits until `gybe health` has judged what runs.
    pub(crate) fn health_done(&mut self) -> Result<(), Trouble> {
        self.see("guest: health done", HEALTH_LIMIT_S)?;
        let at = self.console()?.seen_at;
        self.phases.healthy(at);
        Ok(())
    }

    /// Runs a command at the guest's shell.
    pub(crate) fn run(&mut self, command: &str) -> Result<Answer, Trouble> {
        self.commands += 1;
        let number = self.commands;
        let (begin, end) = (format!("<{number}<"), format!(">{number}>"));
        let limit = self.limit(COMMAND_LIMIT_S);
        let console = self.console()?;
        // The marks are put together by the shell, so that an echo of what is typed is no answer.
        console.type_line(&format!(
            "printf '\\n<%d<\\n' {number}; {{ {command}; }} 2>&1; printf '\\n>%d>%d\\n' {number} $?"
        ))?;
        let (mut begun, mut text) = (false, String::new());
        let mut meaning = |line: &str| {
            if let Some(code) = line.strip_prefix(&end) {
                return code.parse().ok();
            }
            if begun && !line.is_empty() {
                text.push_str(line);
                text.push('\n');
            }
            begun |= line == begin;
            None
        };
        let code = console.wait(&format!("the answer of `{command}`"), limit, &mut meaning)?;
        Ok(Answer { text, code })
    }

    /// Runs a command that must succeed.
    pub(crate) fn must(&mut self, command: &str) -> Result<String, Trouble> {
        let Answer { text, code } = self.run(command)?;
        if code == 0 {
            return Ok(text);
        }
        Err(Trouble::case(format!("`{command}` ended with {code}: {}", text.trim_end())))
    }

    /// Reads a command's report.
    pub(crate) fn json(&mut self, command: &str) -> Result<serde_json::Value, Trouble> {
        let text = self.must(command)?;
        let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(line)
            .map_err(|cause| Trouble::case(format!("`{command}` said no JSON ({cause}): {text}")))
    }

    /// Mounts the stick and installs the release with this tag from it.
    pub(crate) fn install(&mut self, tag: &str) -> Result<String, Trouble> {
        self.mount_stick()?;
        self.must(&format!("gybe install oci:/run/stick:{tag}"))
    }

    /// Begins to install the release with this tag, and kills the agent when it has written
    /// something, long before it has written everything.
    pub(crate) fn kill_install(&mut self, tag: &str) -> Result<(), Trouble> {
        self.mount_stick()?;
        self.must(&format!(
            "gybe install oci:/run/stick:{tag} --progress=json > /tmp/progress 2>&1 & \
             until grep -q '\"fetch\\|\"copy' /tmp/progress; do usleep 100000; done; sleep 1; \
             killall -9 gybe; wait; true"
        ))?;
        Ok(())
    }

    /// The stick at `/run/stick`, read-only.
    pub(crate) fn mount_stick(&mut self) -> Result<(), Trouble> {
        self.must(
            "mkdir -p /run/stick && { grep -q ' /run/stick ' /proc/mounts || \
             mount -o ro,nosuid,nodev,noexec $(findfs LABEL=GYBESTICK) /run/stick; }",
        )?;
        Ok(())
    }

    /// Brings the network up, and lets the guest know the registry. Returns the name of the
    /// repository with the releases, spelt as a source.
    pub(crate) fn connect(&mut self) -> Result<String, Trouble> {
        let Access { address, authority, credentials } = self.machine.registry()?;
        self.must("/usr/lib/guest/connect.sh")?;
        let folder = format!("/etc/containers/certs.d/{address}");
        self.must(&format!("mkdir -p {folder} /etc/gybe"))?;
        self.write_text(&format!("{folder}/ca.crt"), &authority)?;
        self.write_text("/etc/gybe/auth.json", &credentials)?;
        Ok(format!("docker://{address}/guest"))
    }

    /// Writes a small text into a file of the guest, a line at a time.
    pub(crate) fn write_text(&mut self, path: &str, text: &str) -> Result<(), Trouble> {
        self.must(&format!(": > {path}"))?;
        for line in text.lines() {
            self.must(&format!("echo '{line}' >> {path}"))?;
        }
        Ok(())
    }

    /// Makes the next trial fail as `guest/check.sh` and `guest/rcS` know it.
    pub(crate) fn ask_for_fault(&mut self, fault: &str) -> Result<(), Trouble> {
        self.must(&format!("echo {fault} > /var/guest/fault && sync"))?;
        Ok(())
    }

    /// Asks the guest to reboot, and waits until its loader is at work again.
    pub(crate) fn reboot(&mut self) -> Result<(), Trouble> {
        self.run("sync")?;
        self.phases.begin(Instant::now());
        self.console()?.type_line("reboot -f")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_of_itself_is_read_behind_what_the_kernel_says() {
        let line = "[ 4.2] guest: up release=2 slot=b trial=1 state=kept";
        let (release, slot) = ("2".to_owned(), "b".to_owned());
        assert_eq!(Up::of_line(line), Some(Up { release, slot, trial: true, state_kept: true }));
        assert_eq!(Up::of_line("guest: up release=2 slot=b"), None);
        assert_eq!(Up::of_line("guest: initramfs gybe.slot=b"), None);
    }
}
