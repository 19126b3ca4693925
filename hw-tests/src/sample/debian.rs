//! A Debian root as a tar file, made by mmdebstrap without root where it can.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::{ARCHITECTURE, EPOCH};
use crate::{run, say};

/// Which day's packages.
#[derive(Clone, Copy)]
pub(crate) enum Age {
    /// As the release has them.
    Released,
    /// With the updates and security updates since.
    Updated,
    /// As the release has them, but for a kernel with the security updates since.
    NewKernel,
}

/// What a root is made of.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a> {
    /// The release of Debian.
    pub(crate) suite: &'a str,
    /// What is installed beside the essential packages, with commas between.
    pub(crate) include: &'a str,
    pub(crate) age: Age,
}

/// A small machine that runs containers: systemd, a kernel, ssh, podman.
pub(super) const SMALL_MACHINE: &str = "systemd,systemd-sysv,dbus,udev,linux-image-cloud-amd64,\
    initramfs-tools,zstd,openssh-server,podman,crun,iproute2,ca-certificates,python3-minimal";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What a device does not read.
const EXCLUDED: &[&str] = &["man", "doc", "locale", "info", "lintian"];
/// Kernel and initramfs lie where bootc looks for them, and nothing is made once for all devices.
const HOOK: &str = r#"set -eu; cd "$1"
for modules in usr/lib/modules/*; do
    version=${modules##*/}
    mv "boot/vmlinuz-$version" "$modules/vmlinuz"
    mv "boot/initrd.img-$version" "$modules/initramfs.img"
done
rm -rf boot/* vmlinuz* initrd.img* etc/ssh/ssh_host_* etc/apt/apt.conf.d/99mmdebstrap
rm -f etc/hostname etc/resolv.conf var/log/*.log var/log/apt/* var/cache/ldconfig/aux-cache
: > etc/machine-id"#;

/// Lets apt take the kernel, and nothing else, from the security updates; gone when the root is done.
const PIN_KERNEL: &str = r#"set -eu; cd "$1"; mkdir -p etc/apt/preferences.d
printf '%s\n' 'Package: *' 'Pin: release l=Debian-Security' 'Pin-Priority: -1' '' \
    'Package: src:linux src:linux-signed-amd64' 'Pin: release l=Debian-Security' \
    'Pin-Priority: 990' > etc/apt/preferences.d/kernel"#;
const UNPIN: &str = r#"rm "$1/etc/apt/preferences.d/kernel""#;

/// Writes the root to `tar`.
pub(crate) fn root(tar: &Path, root: &Root<'_>) -> Result<(), String> {
    root_with(tar, root, &[])
}

/// Writes the root to `tar`, after these hooks of mmdebstrap have changed it.
pub(crate) fn root_with(tar: &Path, root: &Root<'_>, hooks: &[String]) -> Result<(), String> {
    let mirror = mirror()?;
    let Root { suite, include, age } = *root;
    let mut make = run::command("mmdebstrap");
    make.env("SOURCE_DATE_EPOCH", EPOCH);
    make.args(["--quiet", "--variant=minbase", "--format=tar"]);
    make.arg(format!("--architectures={ARCHITECTURE}")).arg(format!("--include={include}"));
    make.arg(format!("--keyring={KEYRING}"));
    make.arg("--aptopt=APT::Install-Recommends \"false\"");
    make.arg("--aptopt=Acquire::Languages \"none\"");
    make.arg("--aptopt=Acquire::Retries \"3\"");
    // A mirror may be a frozen one; the signature counts, not the day.
    make.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    for folder in EXCLUDED {
        make.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    if matches!(age, Age::NewKernel) {
        make.arg(format!("--setup-hook={PIN_KERNEL}"));
        make.arg(format!("--customize-hook={UNPIN}"));
    }
    make.args(hooks.iter().map(|hook| format!("--customize-hook={hook}")));
    make.arg(format!("--customize-hook={HOOK}")).arg(suite).arg(tar);
    make.arg(format!("deb {mirror} {suite} main"));
    if matches!(age, Age::Updated) {
        make.arg(format!("deb {mirror} {suite}-updates main"));
    }
    if matches!(age, Age::Updated | Age::NewKernel) {
        let security = format!("{}-security/", mirror.trim_end_matches('/'));
        make.arg(format!("deb {security} {suite}-security main"));
    }
    let log = tar.with_extension("log");
    let file = std::fs::File::create(&log).map_err(|cause| cause.to_string())?;
    let shown = tar.file_name().unwrap_or_default().to_string_lossy();
    say::line(&format!("$ mmdebstrap … {suite} {shown}"));
    let status = make.stdout(Stdio::null()).stderr(file).status();
    let status = status.map_err(|cause| format!("cannot run mmdebstrap: {cause}"))?;
    if status.success() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
    Err(format!("mmdebstrap: {status}:\n{last}"))
}

/// The mirror of Debian that this machine uses.
fn mirror() -> Result<String, String> {
    let mut ask: Command = run::command("apt-get");
    ask.args(["indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"]);
    let answer = run::answer(ask.arg("Created-By: Packages")).unwrap_or_default();
    let first = answer.lines().next().map(str::to_owned);
    first.ok_or_else(|| "apt knows no Debian mirror: run apt-get update".into())
}
