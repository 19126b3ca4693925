//! Whether the processor can run guests itself: asked by booting a kernel, since a `/dev/kvm` that is
//! there may not carry a guest to its first line.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use super::{console::Console, machine::Arch, trouble::Trouble};
use crate::{guest::Architecture, run};

/// How long a kernel may take to its first program.
const LIMIT: Duration = Duration::from_secs(20);
/// What the first program of the probe says.
const ANSWER: &str = "the guest runs by itself";

/// What QEMU is told about processor and acceleration.
pub(crate) fn arguments(arch: Arch) -> &'static [&'static str] {
    const EMULATED: &[&str] = &["-accel", "tcg,thread=multi"];
    const BY_ITSELF: &[&str] = &["-accel", "kvm"];
    static PROBED: OnceLock<bool> = OnceLock::new();
    let native = match arch {
        Arch::X86_64 => cfg!(target_arch = "x86_64"),
        Arch::Aarch64 => false,
    };
    // Emulation is the safe answer to everything that can go wrong.
    if native && *PROBED.get_or_init(|| Path::new("/dev/kvm").exists() && probe("kvm").is_ok()) {
        BY_ITSELF
    } else {
        EMULATED
    }
}

/// Boots the guest's kernel with this accelerator of QEMU, and waits for its first program.
fn probe(accelerator: &str) -> Result<(), Trouble> {
    let folder = tempfile::tempdir()?;
    let stage = folder.path().join("stage");
    fs::create_dir_all(stage.join("bin"))?;
    fs::copy(Architecture::Amd64.busybox(), stage.join("bin/busybox"))?;
    let init = format!("#!/bin/busybox sh\necho '{ANSWER}' > /dev/console\n");
    super::guest::write(&stage, "init", &init, 0o755)?;
    let initramfs = folder.path().join("initrd.img");
    super::guest::pack_initramfs(&stage, &initramfs)?;
    let mut qemu = run::command("qemu-system-x86_64");
    qemu.args(["-accel", accelerator, "-cpu", "max", "-M", "q35", "-m", "256", "-display", "none"]);
    qemu.args(["-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(Architecture::Amd64.kernel()).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
    let mut child =
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(Trouble::harness("QEMU has no console"));
    };
    let log = File::create(folder.path().join("console.log"))?;
    let mut console = Console::new(output, input, log);
    let mut meaning = |line: &str| line.contains(ANSWER).then_some(());
    let answered = console.wait(ANSWER, LIMIT, &mut meaning);
    drop(child.kill());
    child.wait()?;
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_hears_a_kernel_that_starts_and_no_other() {
        probe("tcg").unwrap();
        assert!(probe("no-such-accelerator").is_err());
    }
}
