//! The Debian packages that the tests and the demo use, installed when they are missing.

use std::path::Path;

use crate::{run, say};

/// What makes the sample images and looks into slots: all that the demo needs.
const FOR_IMAGES: &[&str] = &[
    "ca-certificates",
    "debian-archive-keyring",
    "erofs-utils",
    "fakechroot",
    "fakeroot",
    "libarchive-tools",
    "mmdebstrap",
    "openssl",
    "skopeo",
    "uidmap",
    "umoci",
];
/// What tests and judges call beside it; the versions of Debian 12 are enough.
const FOR_JUDGES: &[&str] = &[
    "attr",
    "bc",
    "bison",
    "buildah",
    "busybox-static",
    "cpio",
    "cryptsetup-bin",
    "docker-registry",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "flex",
    "gcc-aarch64-linux-gnu",
    "gcc-arm-none-eabi",
    "gdisk",
    "git",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-emu",
    "grub-pc-bin",
    "initramfs-tools-core",
    "libc6-dev-arm64-cross",
    "libcap2-bin",
    "libnewlib-arm-none-eabi",
    "libssl-dev",
    "libubootenv-tool",
    "lz4",
    "mtools",
    "ostree",
    "ovmf",
    "podman",
    "procps",
    "python3",
    "python3-prometheus-client",
    "qemu-system-arm",
    "qemu-system-x86",
    "qemu-user-static",
    "strace",
    "systemd",
    "time",
    "u-boot-qemu",
    "u-boot-tools",
    "udev",
    "xz-utils",
    "zstd",
];

/// What `cargo measure` calls beside the tools of the images.
const FOR_MEASURING: &[&str] =
    &["casync", "docker-registry", "iproute2", "iptables", "strace", "time", "zchunk", "zstd"];

/// What the packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The sample images and the demo.
    Images,
    /// Every test.
    Judges,
    /// `cargo measure`.
    Measure,
}

impl Purpose {
    fn packages(self) -> impl Iterator<Item = &'static str> {
        let others = match self {
            Self::Images => &[],
            Self::Judges => FOR_JUDGES,
            Self::Measure => FOR_MEASURING,
        };
        FOR_IMAGES.iter().chain(others).copied()
    }
}

/// Packages are missing and we may not install them.
pub(crate) struct Missing {
    /// The line a person has to run.
    pub(crate) line: String,
}

/// Installs what is missing: as root, or through sudo where it asks for nothing.
pub(crate) fn install(purpose: Purpose) -> Result<(), Missing> {
    let missing: Vec<&str> = purpose.packages().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --yes --no-install-recommends {}", missing.join(" "));
    let line = format!("sudo apt-get update && sudo {install}");
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Missing {
            line: format!("{line}    # or your system's packages of these names"),
        });
    }
    let root = run::is_root();
    if !root && run::answer(run::command("sudo").args(["-n", "true"])).is_none() {
        return Err(Missing { line });
    }
    say::heading("packages");
    let privileged = |arguments: &str| {
        let mut command = if root {
            run::command("env")
        } else {
            let mut sudo = run::command("sudo");
            sudo.args(["-n", "env"]);
            sudo
        };
        command.arg("DEBIAN_FRONTEND=noninteractive").args(arguments.split(' '));
        run::to_end(&mut command).is_ok_and(|status| status.success())
    };
    // Lists may be old, and they may be new enough while the network is away: only the
    // installation itself decides.
    let wait = "-o DPkg::Lock::Timeout=300";
    privileged(&format!("apt-get update -qq {wait}"));
    if privileged(&format!("{install} -qq {wait}")) { Ok(()) } else { Err(Missing { line }) }
}

fn is_installed(package: &str) -> bool {
    let mut query = run::command("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    query.stderr(std::process::Stdio::null());
    run::answer(&mut query).is_some_and(|state| state == "installed")
}
