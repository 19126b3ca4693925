//! The test guest: a small system around a real kernel, busybox and Gybe, as releases on a stick
//! and as a factory disk.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine::Arch, qemu::Disks, trouble::Trouble};
use crate::{
    run,
    sample::{EPOCH, make_key},
    tree,
};

/// What the guests and their releases call themselves.
const COMPATIBLE: &str = "gybe-guest";
/// How many lines the canary has: so many that it fills blocks of its own.
const CANARY_LINES: u32 = 8_000;
/// Everything that a case may install: tag, version, whether its initramfs hangs.
const RELEASES: [(&str, &str, bool); 4] =
    [("v1", "1", false), ("v2", "2", false), ("v3", "3", false), ("hang", "4", true)];
/// Programs of ours that run on the build host, in the folder of what was built.
const PUBLISH: &str = "gybe-publish";
/// Room on the stick beside the releases.
const STICK_SPARE_MIB: u64 = 64;

/// Where the parts of a guest lie.
struct Parts {
    arch: Arch,
    folder: PathBuf,
    agent: PathBuf,
}

/// Makes releases, stick and factory disk of `arch` in `folder`.
///
/// # Errors
/// What is missing, or the program that did not do its part.
pub(crate) fn make(arch: Arch, programs: &Path, folder: &Path) -> Result<Disks, Trouble> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let parts = Parts {
        arch,
        folder: tree::tools().join("machines/guest").join(arch.oci_name()),
        agent: agent(arch, programs)?,
    };
    make_key(&folder.join("release"))?;
    let layout = folder.join("releases");
    let publish = programs.join(PUBLISH);
    for (number, (tag, version, hangs)) in RELEASES.iter().enumerate() {
        let root = parts.root(folder, version)?;
        let initramfs = parts.initramfs(folder, *hangs)?;
        let mut seal = run::command(&publish.to_string_lossy());
        seal.arg("seal").arg("--rootfs").arg(root).arg("--initramfs").arg(initramfs);
        seal.arg("--kernel").arg(parts.folder.join("vmlinuz"));
        seal.args(["--arch", arch.oci_name(), "--compatible", COMPATIBLE, "--version", version]);
        seal.args(["--rollback-index", "1", "--sequence", &(number + 1).to_string()]);
        seal.args(["--level", "3"]).arg("--key").arg(folder.join("release.pem"));
        quietly(seal.arg("--output").arg(format!("oci:{}:{tag}", layout.display())))?;
    }
    let stick = folder.join("stick.raw");
    let size = size_mib(&layout)? + STICK_SPARE_MIB;
    let mut format = run::command("mke2fs");
    format.args(["-q", "-t", "ext4", "-L", "GYBESTICK", "-d"]).arg(&layout).arg(&stick);
    quietly(format.arg(format!("{size}M")))?;
    let factory = folder.join("factory.raw");
    let mut disk = run::command(&publish.to_string_lossy());
    disk.arg("disk").arg(format!("oci:{}:v1", layout.display()));
    disk.arg("--key").arg(folder.join("release.pub")).arg("--output").arg(&factory);
    disk.args(["--boot-size", "128M", "--root-size", "64M", "--state-size", "64M"]);
    quietly(&mut disk)?;
    Ok(Disks { factory, written: None, both_good: None, stick })
}

/// The agent for `arch`, built from this tree.
fn agent(arch: Arch, programs: &Path) -> Result<PathBuf, Trouble> {
    let agent = match arch {
        Arch::X86_64 => programs.join("gybe"),
        Arch::Aarch64 => tree::target().join("aarch64/gybe"),
    };
    if agent.exists() {
        return Ok(agent);
    }
    Err(Trouble::harness(format!(
        "{} is missing: run cargo full-test --step aarch64",
        agent.display()
    )))
}

impl Parts {
    /// A folder with what initramfs and root have in common: busybox, Gybe, its libraries.
    fn programs_into(&self, stage: &Path) -> Result<(), Trouble> {
        for folder in ["bin", "usr/bin", "usr/lib/gybe", "dev", "proc", "sys", "run", "mnt", "tmp"]
        {
            fs::create_dir_all(stage.join(folder))?;
        }
        copy(&self.folder.join("busybox"), &stage.join("bin/busybox"), 0o755)?;
        let agent = stage.join("usr/bin/gybe");
        copy(&self.agent, &agent, 0o755)?;
        let strip = match self.arch {
            Arch::X86_64 => "strip",
            Arch::Aarch64 => "aarch64-linux-gnu-strip",
        };
        quietly(run::command(strip).arg(&agent))?;
        // Where the dynamic loader of either architecture looks without a cache.
        fs::create_dir_all(stage.join("lib"))?;
        for entry in fs::read_dir(self.folder.join("root/lib"))? {
            let entry = entry?;
            copy(&entry.path(), &stage.join("lib").join(entry.file_name()), 0o755)?;
        }
        symlink("lib", stage.join("lib64"))?;
        Ok(())
    }

    /// What lies in `/usr/lib/gybe`.
    fn device_files_into(&self, folder: &Path, stage: &Path) -> Result<(), Trouble> {
        let target = stage.join("usr/lib/gybe");
        fs::write(target.join("config.toml"), self.config())?;
        let trust = "threshold = 1\n\n[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
        fs::write(target.join("trust.toml"), trust)?;
        copy(&folder.join("release.pub"), &target.join("release.pub"), 0o644)
    }

    fn config(&self) -> String {
        let bootloader = match self.arch {
            Arch::X86_64 => "kind = \"grub\"\nenvironment = \"/run/gybe/env/grubenv\"",
            Arch::Aarch64 => "kind = \"uboot\"\nfile = \"/run/gybe/env/gybe.env\"",
        };
        let slot = |name: &str| {
            let device =
                |target| format!("{target} = \"/dev/disk/by-partlabel/{target}_{name}\"\n");
            format!("[slot.{name}]\n{}{}", device("root"), device("boot"))
        };
        format!(
            "compatible = \"{COMPATIBLE}\"\nreference = \"oci:/tmp/stick:v2\"\n\n{}\n{}\n\
             [bootloader]\n{bootloader}\ntries = 3\n\n\
             [health]\ndeadline_s = 60\nwatchdog_timeout_s = 10\n",
            slot("a"),
            slot("b"),
        )
    }

    /// The root of the release with this version, as a tar file.
    fn root(&self, folder: &Path, version: &str) -> Result<PathBuf, Trouble> {
        let stage = tempfile::tempdir_in(folder)?;
        let root = stage.path();
        self.programs_into(root)?;
        self.device_files_into(folder, root)?;
        let applets = run::answer(run::command(&self.applets()?).arg("--list"))
            .ok_or_else(|| Trouble::harness("busybox --list says nothing"))?;
        for name in applets.lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(name))?;
        }
        let release = fs::read_to_string(self.folder.join("release"))?;
        let console = match self.arch {
            Arch::X86_64 => "ttyS0,115200",
            Arch::Aarch64 => "ttyAMA0",
        };
        let texts: [(&str, &str, u32); 11] = [
            ("etc/inittab", include_str!("../../guest/inittab"), 0o644),
            ("etc/init.d/rcS", include_str!("../../guest/rcS"), 0o755),
            ("etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0o644),
            ("etc/group", "root:x:0:\n", 0o644),
            ("bin/part", include_str!("../../guest/part"), 0o755),
            (
                "usr/lib/greenboot/check/required.d/10-guest.sh",
                include_str!("../../guest/check.sh"),
                0o755,
            ),
            ("usr/lib/greenboot/red.d/10-say.sh", include_str!("../../guest/red.sh"), 0o755),
            ("usr/lib/greenboot/green.d/10-say.sh", include_str!("../../guest/green.sh"), 0o755),
            ("usr/share/guest/version", version, 0o644),
            (
                "usr/lib/bootc/kargs.d/10-console.toml",
                &format!("kargs = [\"console={console}\", \"quiet\"]\n"),
                0o644,
            ),
            ("usr/share/guest/canary", &canary(version), 0o644),
        ];
        for (path, text, mode) in texts {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        fs::create_dir_all(root.join("sbin"))?;
        symlink("../bin/busybox", root.join("sbin/init"))?;
        fs::create_dir_all(root.join("usr/lib/modules").join(release.trim()))?;
        fs::create_dir_all(root.join("var/lib"))?;
        let tar = folder.join("root.tar");
        let mut pack = run::command("tar");
        pack.arg("--create").arg("--file").arg(&tar).arg("--directory").arg(root);
        pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
        quietly(pack.arg(format!("--mtime=@{EPOCH}")).arg("."))?;
        Ok(tar)
    }

    /// A busybox that this machine can run: it has the same programs as the guest's.
    fn applets(&self) -> Result<String, Trouble> {
        let mine = tree::tools().join("machines/guest").join(Arch::X86_64.oci_name());
        Ok(mine.join("busybox").to_string_lossy().into_owned())
    }

    /// The initramfs: busybox, Gybe, the modules in their order.
    fn initramfs(&self, folder: &Path, hangs: bool) -> Result<PathBuf, Trouble> {
        let stage = tempfile::tempdir_in(folder)?;
        let root = stage.path();
        self.programs_into(root)?;
        self.device_files_into(folder, root)?;
        for name in ["modules", "sysroot"] {
            fs::create_dir_all(root.join(name))?;
        }
        for entry in fs::read_dir(self.folder.join("modules"))? {
            let entry = entry?;
            copy(&entry.path(), &root.join("modules").join(entry.file_name()), 0o644)?;
        }
        let init = root.join("init");
        fs::write(&init, include_str!("../../guest/init"))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        if hangs {
            fs::write(root.join("hang"), "")?;
        }
        let file = folder.join("initrd.img");
        let pack = "cd \"$1\" && find . -print0 | sort -z | \
                    cpio --quiet --null --create --format=newc --owner=0:0 > \"$2\"";
        let mut shell = run::command("sh");
        shell.args(["-c", pack, "sh"]).arg(root).arg(&file);
        quietly(&mut shell)?;
        Ok(file)
    }
}

/// Lines that are found in a partition, and that differ between releases.
fn canary(version: &str) -> String {
    let line = |number| format!("GYBE-CANARY-LINE {number:08} of release {version}\n");
    (0..CANARY_LINES).map(line).collect()
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Trouble> {
    let copied = fs::copy(from, to);
    copied.map_err(|cause| Trouble::harness(format!("{}: {cause}", from.display())))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn size_mib(folder: &Path) -> Result<u64, Trouble> {
    let size = run::answer(run::command("du").args(["-sm"]).arg(folder));
    let size = size.and_then(|text| text.split_whitespace().next()?.parse().ok());
    size.ok_or_else(|| Trouble::harness(format!("du {}", folder.display())))
}

/// Runs a command to its end; what it says is told only when it fails.
fn quietly(command: &mut Command) -> Result<(), Trouble> {
    let shown = run::shown(command);
    let output = command.output();
    let output = output.map_err(|cause| Trouble::harness(format!("{shown}: {cause}")))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::harness(format!("{shown}: {}: {}", output.status, errors.trim())))
}
