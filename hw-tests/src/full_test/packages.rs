//! The Debian packages that the tests and the demo use, installed when they are missing.

use std::path::Path;

use crate::{run, say};

/// Every package a test, a judge or the demo calls; the versions of Debian 12 are enough.
const PACKAGES: &[&str] = &[
    "attr",
    "ca-certificates",
    "cryptsetup-bin",
    "debian-archive-keyring",
    "docker-registry",
    "dosfstools",
    "e2fsprogs",
    "erofs-utils",
    "fakechroot",
    "fakeroot",
    "fdisk",
    "git",
    "grub-common",
    "grub-emu",
    "libarchive-tools",
    "libcap2-bin",
    "libubootenv-tool",
    "mmdebstrap",
    "mtools",
    "openssl",
    "python3",
    "skopeo",
    "u-boot-tools",
    "uidmap",
    "umoci",
    "zstd",
];

/// Packages are missing and we may not install them.
pub(crate) struct Missing {
    /// The line a person has to run.
    pub(crate) line: String,
}

/// Installs what is missing: as root, or through sudo where it asks for nothing.
pub(crate) fn install() -> Result<(), Missing> {
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|name| !is_installed(name)).collect();
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
