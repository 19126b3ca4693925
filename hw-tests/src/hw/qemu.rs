//! QEMU as a machine: real loaders and real kernels on an emulated processor.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use super::{
    accelerator,
    console::Console,
    machine::{Access, Arch, Firmware, Guest, Loaded, Machine, Model, Plugged, Start},
    trouble::Trouble,
};
use crate::{
    registry::{Registry, SEEN_FROM_GUEST},
    run, tree,
};

/// Memory of a small guest in MiB: OVMF of Debian 13 with GRUB 2.06 needs more than 256.
const MEMORY_MIB: &str = "512";
/// Memory of a guest of a distribution, whose initramfs is there twice while it is unpacked.
const MEMORY_OF_DEBIAN_MIB: &str = "1024";
/// Room for what a machine writes while it is recorded, in bytes; only what is used takes any.
const RECORD_LEN_MAX: u64 = 4 << 30;
/// How long QEMU may take to answer on its control socket.
const QMP_LIMIT: Duration = Duration::from_secs(20);
/// How often, and how long apart, one looks whether QEMU is dead: for a second.
const DEATH_LOOKS: u32 = 10;
const DEATH_LOOK_EVERY: Duration = Duration::from_millis(100);

/// The disks that machines of one architecture begin with.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    /// The factory image.
    pub(crate) factory: PathBuf,
    /// A disk in the state [`Start::Written`], once it was made.
    pub(crate) written: Option<PathBuf>,
    /// A disk in the state [`Start::BothGood`], once it was made.
    pub(crate) both_good: Option<PathBuf>,
    /// The stick with every release.
    pub(crate) stick: PathBuf,
    /// The stick with a bundle.
    pub(crate) bundle: PathBuf,
    /// The layout with every release, which a registry is filled from.
    pub(crate) releases: PathBuf,
}

/// A machine that is emulated.
pub(crate) struct Qemu {
    model: Model,
    disks: Disks,
    /// Everything that this machine writes lies here.
    folder: PathBuf,
    child: Option<Child>,
    /// Runs beside the machine, from when it is first asked for.
    registry: Option<Registry>,
}

impl Qemu {
    /// A machine without power, which keeps its disk and its log in `folder`.
    pub(crate) fn new(model: Model, disks: &Disks, folder: &Path) -> Result<Self, Trouble> {
        fs::create_dir_all(folder)?;
        let log = folder.join("console.log");
        if log.exists() {
            fs::remove_file(log)?;
        }
        let (disks, folder) = (disks.clone(), folder.to_owned());
        Ok(Self { model, disks, folder, child: None, registry: None })
    }

    /// The disk of this machine.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }

    fn record(&self) -> PathBuf {
        self.folder.join("writes.log")
    }

    fn twin(&self) -> PathBuf {
        self.folder.join("twin.qcow2")
    }

    fn control(&self) -> PathBuf {
        // The path of a socket has at most 107 bytes, and folders may be deep.
        let name = self.folder.to_string_lossy().replace('/', "-");
        let tail = name.get(name.len().saturating_sub(60)..).unwrap_or(&name);
        std::env::temp_dir().join(format!("gybe-hw-{}{tail}", std::process::id()))
    }

    fn command(&self, plugged: Plugged) -> Command {
        let program = match self.model.arch {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Aarch64 => "qemu-system-aarch64",
        };
        let mut qemu = run::command(program);
        let memory = match self.model.guest {
            Guest::Busybox | Guest::Redundant => MEMORY_MIB,
            Guest::InitramfsTools | Guest::Dracut => MEMORY_OF_DEBIAN_MIB,
        };
        qemu.args(accelerator::arguments(self.model.arch));
        qemu.args(["-m", memory, "-display", "none"]);
        qemu.args(["-serial", "stdio", "-monitor", "none", "-no-user-config"]);
        qemu.args(["-nic", if plugged.network { "user,model=virtio-net-pci" } else { "none" }]);
        qemu.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", self.control().display()));
        match self.model.arch {
            Arch::X86_64 => qemu.args(["-M", "q35", "-cpu", "max"]),
            Arch::Aarch64 => qemu.args(["-M", "virt", "-cpu", "cortex-a57"]),
        };
        let machines = tree::tools().join("machines");
        match self.model.firmware {
            Firmware::Bios => {}
            Firmware::Uefi => {
                let ovmf = machines.join("ovmf");
                let part = |name: &str, how: &str| {
                    format!("if=pflash,format=raw,{how},file={}", ovmf.join(name).display())
                };
                qemu.arg("-drive").arg(part("OVMF_CODE_4M.fd", "readonly=on"));
                qemu.arg("-drive").arg(part("OVMF_VARS_4M.fd", "snapshot=on"));
            }
            Firmware::UBoot => {
                qemu.arg("-bios").arg(machines.join("u-boot/2025.01/u-boot.bin"));
            }
            Firmware::OwnUBoot => {
                qemu.arg("-bios").arg(machines.join("u-boot/redundant/u-boot.bin"));
            }
        }
        if plugged.recorded {
            // QEMU's blklogwrites stands between the machine and its disk.
            for node in [
                format!("driver=file,filename={},node-name=file", self.disk().display()),
                "driver=qcow2,file=file,node-name=image".to_owned(),
                format!("driver=file,filename={},node-name=log", self.record().display()),
                "driver=blklogwrites,file=image,log=log,node-name=disk".to_owned(),
            ] {
                qemu.arg("-blockdev").arg(node);
            }
            qemu.args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
        } else {
            drive(&mut qemu, &self.disk(), "qcow2", plugged.read_only, "disk");
        }
        if plugged.bundle {
            match self.model.guest {
                Guest::Busybox | Guest::Redundant => {
                    drive(&mut qemu, &self.disks.bundle, "raw", true, "bundle");
                }
                // These have a kernel that knows USB, and something that waits for sticks.
                Guest::InitramfsTools | Guest::Dracut => {
                    let bundle = self.disks.bundle.display();
                    let bundle = format!("if=none,id=bundle,format=raw,readonly=on,file={bundle}");
                    qemu.arg("-drive").arg(bundle).args(["-device", "qemu-xhci"]);
                    qemu.args(["-device", "usb-storage,drive=bundle"]);
                }
            }
        }
        if plugged.stick {
            drive(&mut qemu, &self.disks.stick, "raw", true, "stick");
        }
        if plugged.twin {
            drive(&mut qemu, &self.twin(), "qcow2", false, "twin");
        }
        qemu
    }

    /// A disk of its own over `base`, which stays as it is.
    fn overlay(base: &Path, disk: &Path) -> Result<(), Trouble> {
        let format = if base.extension().is_some_and(|end| end == "raw") { "raw" } else { "qcow2" };
        let mut make = run::command("qemu-img");
        make.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base).arg(disk);
        let output = make.output()?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Trouble::harness(format!("{}: {why}", run::shown(&make))))
    }
}

/// Adds a disk.
fn drive(qemu: &mut Command, path: &Path, format: &str, read_only: bool, id: &str) {
    let read_only = if read_only { "on" } else { "off" };
    // Nothing is lost when QEMU is killed: the host keeps what was written.
    qemu.arg("-drive").arg(format!(
        "if=none,id={id},format={format},readonly={read_only},cache=unsafe,file={}",
        path.display()
    ));
    // The firmware looks at the disk first.
    let first = if id == "disk" { ",bootindex=1" } else { "" };
    qemu.arg("-device").arg(format!("virtio-blk-pci,drive={id}{first}"));
}

impl Machine for Qemu {
    fn load(&mut self, start: Start) -> Result<Loaded, Trouble> {
        let wanted = match start {
            Start::Factory => Some(&self.disks.factory),
            Start::Written => self.disks.written.as_ref(),
            Start::BothGood => self.disks.both_good.as_ref(),
        };
        Self::overlay(wanted.unwrap_or(&self.disks.factory), &self.disk())?;
        Ok(if wanted.is_some() { Loaded::AsAsked } else { Loaded::Factory })
    }

    fn power_on(&mut self, plugged: Plugged) -> Result<Console, Trouble> {
        self.cut_power()?;
        if plugged.twin && !self.twin().exists() {
            Self::overlay(&self.disks.factory, &self.twin())?;
        }
        if plugged.recorded {
            // One record is one time with power; QEMU does not make the file longer.
            fs::File::create(self.record())?.set_len(RECORD_LEN_MAX)?;
        }
        let errors =
            OpenOptions::new().create(true).append(true).open(self.folder.join("qemu.log"))?;
        let mut command = self.command(plugged);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let child = command.spawn();
        let child = child
            .map_err(|cause| Trouble::harness(format!("{}: {cause}", run::shown(&command))))?;
        let child = self.child.insert(child);
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(Trouble::harness("QEMU has no console"));
        };
        let log =
            OpenOptions::new().create(true).append(true).open(self.folder.join("console.log"))?;
        Ok(Console::new(output, input, log))
    }

    fn cut_power(&mut self) -> Result<(), Trouble> {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself: a guest can switch its machine off.
            drop(child.kill());
            child.wait()?;
            drop(fs::remove_file(self.control()));
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Trouble> {
        let socket = UnixStream::connect(self.control())
            .map_err(|cause| Trouble::harness(format!("QEMU's control socket: {cause}")))?;
        socket.set_read_timeout(Some(QMP_LIMIT))?;
        let mut answers = BufReader::new(socket.try_clone()?).lines();
        let mut asked = socket;
        // The greeting, then one answer for each command; events may come between.
        answers.next().transpose()?;
        for command in ["qmp_capabilities", "system_reset"] {
            writeln!(asked, "{{\"execute\":\"{command}\"}}")?;
            loop {
                let answer = answers.next().transpose()?.unwrap_or_default();
                if answer.contains("\"return\"") {
                    break;
                }
                if answer.is_empty() || answer.contains("\"error\"") {
                    return Err(Trouble::harness(format!("QEMU, {command}: {answer}")));
                }
            }
        }
        Ok(())
    }

    fn registry(&mut self) -> Result<Access, Trouble> {
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => {
                let registry = Registry::start(&self.folder.join("registry"))?;
                registry.put(&self.disks.releases, "guest")?;
                registry
            }
        };
        let registry = self.registry.insert(registry);
        let address = format!("{SEEN_FROM_GUEST}:{}", registry.port());
        let (authority, credentials) = registry.papers(&address)?;
        Ok(Access { address, authority, credentials })
    }

    fn judge_writes(&mut self) -> Result<String, Trouble> {
        let mut replay = run::command(&tree::target().join("debug/gybe-replay").to_string_lossy());
        let output = replay.arg(&self.disks.factory).arg(self.record()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(said.lines().last().unwrap_or_default().to_owned()),
            Some(1) => Err(Trouble::Case(said)),
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Trouble::Harness(errors))
            }
        }
    }

    fn broke_down(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        // Its console ends a little before it does.
        for _ in 0..DEATH_LOOKS {
            if let Ok(Some(status)) = child.try_wait() {
                return breakdown(status, &self.folder.join("qemu.log"));
            }
            thread::sleep(DEATH_LOOK_EVERY);
        }
        None
    }

    fn slowness(&self) -> u32 {
        4
    }
}

/// What is to be said of a QEMU that ended like this. A guest that switches its machine off makes it
/// end with 0.
fn breakdown(status: ExitStatus, log: &Path) -> Option<String> {
    if status.success() {
        return None;
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().last().unwrap_or("nothing");
    Some(format!("QEMU ended with {status} and said {last}"))
}

impl Drop for Qemu {
    fn drop(&mut self) {
        drop(self.cut_power());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_that_breaks_down_is_told_from_a_guest_that_switches_off() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("qemu.log");
        fs::write(&log, "one\ncannot map memory\n").unwrap();
        let ended = |script: &str| {
            let status = run::command("sh").args(["-c", script]).status().unwrap();
            breakdown(status, &log)
        };
        assert_eq!(ended("exit 0"), None);
        let killed = ended("kill -SEGV $$").unwrap();
        assert!(killed.contains("signal: 11") && killed.ends_with("cannot map memory"), "{killed}");
        assert!(ended("exit 1").unwrap().contains("exit status: 1"));
    }
}
