//! A disk with two sealed slots, and a kernel that is started on it with an initramfs of ours.
//!
//! The kernel is started by QEMU and not by a loader: what the loader would say stands on the
//! command line as it would say it.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod disk;
mod initramfs;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use disk::Disk;

use super::bench::{Bench, Device, succeed, tool};

/// The folder of kernels and their modules, made by `hw-tests/tools/machines.sh`.
pub(crate) fn machine() -> PathBuf {
    let tools = std::env::var_os("GYBE_TOOLS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools"),
        PathBuf::from,
    );
    tools.join("machines/guest/amd64")
}

/// Two releases, one in each slot of a device below a folder.
pub(crate) struct Releases<'b> {
    pub(crate) bench: &'b Bench,
    pub(crate) device: Device<'b>,
    initramfs: PathBuf,
}

impl<'b> Releases<'b> {
    /// Seals both, from one root in which `changed` makes the second another one.
    pub(crate) fn new(bench: &'b Bench, changed: impl FnOnce(&Path)) -> Self {
        let root = bench.path("root");
        initramfs::write_root(bench, &root);
        let device = Device::new(bench, "device");
        for slot in ["a", "b"] {
            device.resize(&format!("root_{slot}"), disk::ROOT_LEN);
            device.resize(&format!("boot_{slot}"), disk::BOOT_LEN);
        }
        let seal = |output: &str, number: u32| {
            let mut seal = bench.program("gybe-publish");
            seal.arg("seal").arg("--rootfs").arg(&root).args(["--arch", "amd64"]);
            for option in ["kernel", "initramfs"] {
                // The loader's part is done by QEMU, which has the real ones.
                fs::write(bench.path(option), format!("no {option}")).unwrap();
                seal.arg(format!("--{option}")).arg(bench.path(option));
            }
            seal.args(["--output", &bench.source(output), "--level", "1", "--json"]);
            seal.args(["--compatible", super::bench::COMPATIBLE, "--rollback-index", "1"]);
            seal.args(["--version", &format!("{number}"), "--sequence", &format!("{number}")]);
            succeed(seal.arg("--key").arg(bench.key("release")));
        };
        seal("v1", 1);
        device.gybe(&["install", &bench.source("v1"), "--slot", "a"]).done();
        device.boot();
        device.gybe(&["commit"]).done();
        changed(&root);
        seal("v2", 2);
        device.gybe(&["install", &bench.source("v2")]).done();
        let initramfs = bench.path("initramfs.cpio");
        initramfs::write(bench, &root, &initramfs);
        Self { bench, device, initramfs }
    }

    /// The command line that was signed for a slot.
    pub(crate) fn signed_line(&self, slot: &str) -> String {
        let mut read = tool("mtype");
        read.arg("-i").arg(self.device.partition(&format!("boot_{slot}"))).arg("::/gybe.env");
        let text = succeed(&mut read);
        let line = text.lines().find_map(|line| line.strip_prefix("gybe_cmdline=")).unwrap();
        line.to_owned()
    }

    /// Starts the kernel as the loader would, with these disks, and runs `script` in the root. What
    /// comes back is what it said, and how it ended.
    pub(crate) fn boot(&self, disks: &[&Disk], line: &str, script: &str) -> String {
        self.boot_with(disks, line, script, &["-no-reboot"])
    }

    /// The same, on a machine with these options.
    pub(crate) fn boot_with(
        &self,
        disks: &[&Disk],
        line: &str,
        script: &str,
        options: &[&str],
    ) -> String {
        let folder = self.bench.path("script");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("script"), script).unwrap();
        let initramfs = self.bench.path("initrd");
        let mut pack = tool("sh");
        pack.arg("-c").arg(
            "cat \"$1\" > \"$2\" && cd \"$3\" && echo script |
             cpio --quiet -o -H newc >> \"$2\"",
        );
        succeed(pack.arg("sh").arg(&self.initramfs).arg(&initramfs).arg(&folder));
        let mut qemu = tool("timeout");
        qemu.args(["150", "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", "512"]);
        qemu.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none"]);
        qemu.args(options).arg("-kernel").arg(machine().join("vmlinuz"));
        qemu.arg("-initrd").arg(&initramfs).args(["-append", line]);
        for disk in disks {
            let file = disk.path().display();
            qemu.args(["-drive", &format!("if=virtio,format=raw,file={file}")]);
        }
        let said = super::bench::run(&mut qemu);
        assert_eq!(said.code, 0, "{said:#?}");
        said.stdout.replace('\r', "")
    }
}
