//! Guests with systemd: a Debian root with its own initramfs and our hook in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Parts, Release, copy, pack, quietly, release_files_into, write};
use crate::{
    hw::{machine::Guest, trouble::Trouble},
    run,
    sample::debian,
    tree,
};

/// Units of ours in the image, beside those of the test guest.
const SYSTEM: &str = "agent/system";
/// Units of the test guest.
const UNITS: [(&str, &str); 3] = [
    ("guest-up.service", include_str!("../../../guest/systemd/guest-up.service")),
    ("guest-done.service", include_str!("../../../guest/systemd/guest-done.service")),
    ("guest-shell.service", include_str!("../../../guest/systemd/guest-shell.service")),
];
/// Drivers and protocols that no machine of ours has: most of a kernel's modules.
const LEFT_OUT: &str = "drivers/gpu drivers/infiniband drivers/isdn drivers/media drivers/net/wireless \
    drivers/net/ethernet drivers/staging net/wireless net/bluetooth sound";
/// What a test guest does not need, and waits for.
const MASKED: &str = "getty@tty1.service serial-getty@ttyS0.service fstrim.timer \
    systemd-networkd.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer";

/// Adds what `gybe-publish seal` makes this release from.
pub(super) fn into_seal(
    base: &Path,
    folder: &Path,
    release: &Release,
    seal: &mut Command,
) -> Result<(), Trouble> {
    let stage = tempfile::tempdir_in(folder)?;
    release_files_into(stage.path(), release)?;
    let own = folder.join("own.tar");
    pack(stage.path(), &own)?;
    let root = folder.join("root.tar");
    fs::copy(base, &root)?;
    let mut join = run::command("tar");
    quietly(join.arg("--concatenate").arg("--file").arg(&root).arg(&own))?;
    seal.arg("--rootfs").arg(root);
    Ok(())
}

/// The root that all releases have in common, as a tar file: installed, with Gybe, and with the
/// initramfs that the distribution's own tool made.
pub(super) fn base(parts: &Parts, folder: &Path) -> Result<PathBuf, Trouble> {
    let stage = tempfile::tempdir_in(folder)?;
    let root = stage.path();
    fs::create_dir_all(root.join("usr/bin"))?;
    parts.agent_into(root)?;
    parts.device_files_into(root)?;
    parts.guest_files_into(root)?;
    for (name, text) in UNITS {
        write(root, &format!("usr/lib/systemd/system/{name}"), text, 0o644)?;
    }
    let connect = include_str!("../../../guest/systemd/connect.sh");
    write(root, "usr/lib/guest/connect.sh", connect, 0o755)?;
    let system = tree::root().join(SYSTEM);
    copy_tree(&system.join("udev"), &root.join("usr/lib/udev/rules.d"))?;
    for entry in fs::read_dir(system.join("systemd"))? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|end| ["service", "timer"].iter().any(|e| end == *e))
        {
            let target = root.join("usr/lib/systemd/system");
            copy(&entry.path(), &target.join(entry.file_name()), 0o644)?;
        }
    }
    let (suite, kernel, include, rebuild) = match parts.guest {
        Guest::Dracut => {
            copy_tree(&system.join("dracut"), &root.join("usr/lib/dracut/modules.d"))?;
            (
                "trixie",
                "linux-image-cloud-amd64",
                // Without dmsetup dracut leaves our module out; veritysetup is in the third.
                "dracut,dmsetup,systemd-cryptsetup",
                "dracut --force --no-hostonly --quiet --kver \"$v\" \"/boot/initrd.img-$v\"",
            )
        }
        _ => {
            copy_tree(&system.join("initramfs-tools"), &root.join("usr/share/initramfs-tools"))?;
            // The kernel for clouds has no driver of any hardware watchdog.
            ("bookworm", "linux-image-amd64", "initramfs-tools", "update-initramfs -u -k \"$v\"")
        }
    };
    let own = folder.join("guest.tar");
    pack(root, &own)?;
    let include = format!("systemd,systemd-sysv,udev,dbus,kmod,{kernel},zstd,{include}");
    let enable = format!(
        "systemctl enable guest-up.service guest-done.service guest-shell.service \
         gybe-health.service gybe-trial-deadline.service gybe-grow-state.service && \
         systemctl mask {MASKED}"
    );
    let hooks = [
        format!("tar-in {} /", own.display()),
        format!(
            "chroot \"$1\" sh -c 'set -e; {enable}; for v in $(ls /lib/modules); do \
             (cd \"/lib/modules/$v/kernel\" && rm -rf {LEFT_OUT}); depmod \"$v\"; {rebuild}; done'"
        ),
    ];
    let tar = folder.join("base.tar");
    let wanted = debian::Root { suite, include: &include, age: debian::Age::Released };
    debian::root_with(&tar, &wanted, &hooks).map_err(Trouble::Harness)?;
    Ok(tar)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(to)?;
    quietly(run::command("cp").arg("--recursive").arg(from.join(".")).arg(to))
}
