//! The test guests as releases on a stick and as a factory disk.

mod busybox;
mod debian;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    machine::{Arch, Guest},
    qemu::Disks,
    trouble::Trouble,
};
use crate::{
    guest::built_in_variables,
    run,
    sample::{EPOCH, make_key},
    tree,
};

/// What the guests and their releases call themselves.
const COMPATIBLE: &str = "gybe-guest";
/// How many lines the canary has: so many that it fills blocks of its own.
const CANARY_LINES: u32 = 8_000;
/// The program of ours that runs on the build host.
const PUBLISH: &str = "gybe-publish";
/// Where the two copies of U-Boot's own environment lie, for Gybe and for `fw_setenv`.
const FW_ENV: &str = "/run/gybe/env/uboot.env 0 0x4000\n/run/gybe/env/uboot-redund.env 0 0x4000\n";
/// Room on the stick beside the releases.
const STICK_SPARE_MIB: u64 = 64;

/// A release that a case may install.
struct Release {
    tag: &'static str,
    version: &'static str,
    /// Whether its initramfs never ends.
    hangs: bool,
}

const RELEASES: [Release; 4] = [
    Release { tag: "v1", version: "1", hangs: false },
    Release { tag: "v2", version: "2", hangs: false },
    Release { tag: "v3", version: "3", hangs: false },
    Release { tag: "hang", version: "4", hangs: true },
];

/// What a guest is made from.
struct Parts {
    arch: Arch,
    guest: Guest,
    agent: PathBuf,
    /// The public key that its releases are signed with.
    public_key: PathBuf,
}

/// Makes releases, stick and factory disk in `folder`.
///
/// # Errors
/// What is missing, or the program that did not do its part.
pub(crate) fn make(
    arch: Arch,
    guest: Guest,
    programs: &Path,
    folder: &Path,
) -> Result<Disks, Trouble> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    make_key(&folder.join("release"))?;
    let parts =
        Parts { arch, guest, agent: arch.parts().agent()?, public_key: folder.join("release.pub") };
    let base = match guest {
        Guest::Busybox | Guest::Redundant => None,
        Guest::InitramfsTools | Guest::Dracut => Some(debian::base(&parts, folder)?),
    };
    let layout = folder.join("releases");
    let publish = programs.join(PUBLISH);
    for (number, release) in RELEASES.iter().enumerate() {
        let mut seal = run::command(&publish.to_string_lossy());
        seal.arg("seal");
        match &base {
            None => busybox::into_seal(&parts, folder, release, &mut seal)?,
            // The initramfs of a distribution does not hang.
            Some(_) if release.hangs => continue,
            Some(base) => debian::into_seal(base, folder, release, &mut seal)?,
        }
        let sequence = (number + 1).to_string();
        seal.args(["--arch", arch.parts().name(), "--compatible", COMPATIBLE]);
        seal.args(["--version", release.version, "--rollback-index", "1"]);
        seal.args(["--sequence", &sequence, "--level", "3"]);
        seal.arg("--key").arg(folder.join("release.pem"));
        let tag = release.tag;
        quietly(seal.arg("--output").arg(format!("oci:{}:{tag}", layout.display())))?;
    }
    let stick = folder.join("stick.raw");
    let size = size_mib(&layout)? + STICK_SPARE_MIB;
    let mut format = run::command("mke2fs");
    format.args(["-q", "-t", "ext4", "-L", "GYBESTICK", "-d"]).arg(&layout).arg(&stick);
    quietly(format.arg(format!("{size}M")))?;
    let bundle = bundle(&publish, &layout, folder)?;
    let factory = folder.join("factory.raw");
    let mut disk = run::command(&publish.to_string_lossy());
    disk.arg("disk").arg(format!("oci:{}:v1", layout.display()));
    disk.arg("--key").arg(&parts.public_key).arg("--output").arg(&factory);
    if guest == Guest::Redundant {
        let u_boot = tree::tools().join("machines/u-boot/redundant/u-boot.bin");
        let variables = built_in_variables(&fs::read(&u_boot)?);
        let variables = variables
            .ok_or_else(|| Trouble::harness(format!("{} has no variables", u_boot.display())))?;
        let text = folder.join("u-boot-initial-env");
        fs::write(&text, variables)?;
        disk.arg("--u-boot-env").arg(text).args(["--u-boot-env-len", "16K"]);
        disk.args(["--u-boot-env-at", "uboot.env,uboot-redund.env"]);
    }
    if matches!(guest, Guest::Busybox | Guest::Redundant) {
        disk.args(["--boot-size", "128M", "--root-size", "64M", "--state-size", "64M"]);
    }
    quietly(&mut disk)?;
    Ok(Disks { factory, written: None, both_good: None, stick, bundle, releases: layout })
}

/// Makes a stick as people make them: FAT32, and a bundle of release 2 in one file.
fn bundle(publish: &Path, layout: &Path, folder: &Path) -> Result<PathBuf, Trouble> {
    let file = folder.join("guest.gybe.tar");
    let mut make = run::command(&publish.to_string_lossy());
    make.arg("bundle").arg(format!("oci:{}:v2", layout.display()));
    quietly(make.arg("--output").arg(format!("oci-archive:{}", file.display())))?;
    let stick = folder.join("bundle.raw");
    let size = (size_mib(&file)? + STICK_SPARE_MIB) * 1024;
    let mut format = run::command("mkfs.vfat");
    format.args(["-F", "32", "-n", "GYBEBUNDLE", "-C"]).arg(&stick).arg(size.to_string());
    quietly(&mut format)?;
    let mut fill = run::command("mcopy");
    quietly(fill.arg("-i").arg(&stick).arg(&file).arg("::"))?;
    Ok(stick)
}

impl Parts {
    /// What lies in `/usr/lib/gybe`.
    fn device_files_into(&self, stage: &Path) -> Result<(), Trouble> {
        let target = stage.join("usr/lib/gybe");
        fs::create_dir_all(&target)?;
        fs::write(target.join("config.toml"), self.config())?;
        let trust = "threshold = 1\n\n[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
        fs::write(target.join("trust.toml"), trust)?;
        if self.guest == Guest::Redundant {
            // In the initramfs it is read as well.
            write(stage, "etc/fw_env.config", FW_ENV, 0o644)?;
        }
        copy(&self.public_key, &target.join("release.pub"), 0o644)
    }

    fn config(&self) -> String {
        let bootloader = match (self.arch, self.guest) {
            (Arch::X86_64, _) => "kind = \"grub\"\nenvironment = \"/run/gybe/env/grubenv\"",
            (_, Guest::Redundant) => "kind = \"uboot\"\nfw_env = \"/etc/fw_env.config\"",
            _ => "kind = \"uboot\"\nfile = \"/run/gybe/env/gybe.env\"",
        };
        let slot = |name: &str| {
            let device =
                |target| format!("{target} = \"/dev/disk/by-partlabel/{target}_{name}\"\n");
            format!("[slot.{name}]\n{}{}", device("root"), device("boot"))
        };
        format!(
            "compatible = \"{COMPATIBLE}\"\nreference = \"oci:/run/stick:v2\"\n\n{}\n{}\n\
             [bootloader]\n{bootloader}\ntries = 3\n\n\
             [health]\ndeadline_s = 30\nwatchdog_timeout_s = 10\n",
            slot("a"),
            slot("b"),
        )
    }

    /// The agent, as small as it is on a device.
    fn agent_into(&self, stage: &Path) -> Result<(), Trouble> {
        fs::create_dir_all(stage.join("usr/bin"))?;
        copy(&self.agent, &stage.join("usr/bin/gybe"), 0o755)
    }

    /// Arguments of the kernel.
    fn kernel_arguments(&self) -> String {
        let own = match self.arch {
            // An emulated timer on a busy machine may be late, which this check takes for a fault.
            Arch::X86_64 => "\"console=ttyS0,115200\", \"no_timer_check\"",
            Arch::Aarch64 => "\"console=ttyAMA0\"",
        };
        format!("kargs = [{own}, \"quiet\"]\n")
    }

    /// What every guest has: what it says, its checks, the kernel's arguments.
    fn guest_files_into(&self, stage: &Path) -> Result<(), Trouble> {
        let check = "usr/lib/greenboot/check/required.d/10-guest.sh";
        for (path, text) in [
            ("usr/bin/part", include_str!("../../guest/part")),
            ("usr/lib/guest/up.sh", include_str!("../../guest/up.sh")),
            (check, include_str!("../../guest/check.sh")),
            ("usr/lib/greenboot/red.d/10-say.sh", include_str!("../../guest/red.sh")),
            ("usr/lib/greenboot/green.d/10-say.sh", include_str!("../../guest/green.sh")),
        ] {
            write(stage, path, text, 0o755)?;
        }
        write(stage, "usr/lib/bootc/kargs.d/10-console.toml", &self.kernel_arguments(), 0o644)
    }
}

/// What differs between two releases.
fn release_files_into(stage: &Path, release: &Release) -> Result<(), Trouble> {
    write(stage, "usr/share/guest/version", release.version, 0o644)?;
    write(stage, "usr/share/guest/canary", &canary(release.version), 0o644)
}

/// Packs `stage` as a tar file of files that belong to root.
fn pack(stage: &Path, tar: &Path) -> Result<(), Trouble> {
    let mut pack = run::command("tar");
    pack.arg("--create").arg("--file").arg(tar).arg("--directory").arg(stage);
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    quietly(pack.arg("--mode=u=rwX,go=rX").arg(format!("--mtime=@{EPOCH}")).arg("."))
}

/// Packs `stage` as an initramfs whose files belong to root.
pub(super) fn pack_initramfs(stage: &Path, file: &Path) -> Result<(), Trouble> {
    let pack = "cd \"$1\" && find . -print0 | sort -z | \
                cpio --quiet --null --create --format=newc --owner=0:0 > \"$2\"";
    let mut shell = run::command("sh");
    quietly(shell.args(["-c", pack, "sh"]).arg(stage).arg(file))
}

/// Writes a file below `stage`, and the folders that lead to it.
pub(super) fn write(stage: &Path, path: &str, text: &str, mode: u32) -> Result<(), Trouble> {
    let path = stage.join(path);
    fs::create_dir_all(path.parent().unwrap_or(stage))?;
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
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
