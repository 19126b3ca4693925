//! The small guest: a kernel of Debian, busybox, Gybe.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Parts, Release, copy, pack, pack_initramfs, release_files_into, write};
use crate::{guest::Architecture, hw::trouble::Trouble, run};

/// Adds what `gybe-publish seal` makes this release from.
pub(super) fn into_seal(
    parts: &Parts,
    folder: &Path,
    release: &Release,
    seal: &mut Command,
) -> Result<(), Trouble> {
    seal.arg("--rootfs").arg(root(parts, folder, release)?);
    seal.arg("--kernel").arg(parts.arch.parts().kernel());
    seal.arg("--initramfs").arg(initramfs(parts, folder, release)?);
    Ok(())
}

/// What initramfs and root have in common: busybox, Gybe, its libraries and its configuration.
fn programs_into(parts: &Parts, stage: &Path) -> Result<(), Trouble> {
    for folder in ["bin", "usr/bin", "lib", "dev", "proc", "sys", "run", "mnt", "tmp"] {
        fs::create_dir_all(stage.join(folder))?;
    }
    copy(&parts.arch.parts().busybox(), &stage.join("bin/busybox"), 0o755)?;
    parts.agent_into(stage)?;
    parts.device_files_into(stage)?;
    for (at, from) in parts.arch.parts().libraries() {
        let at = stage.join(at);
        fs::create_dir_all(at.parent().unwrap_or(stage))?;
        copy(&from, &at, 0o755)?;
    }
    Ok(())
}

/// The root, as a tar file.
fn root(parts: &Parts, folder: &Path, release: &Release) -> Result<PathBuf, Trouble> {
    let stage = tempfile::tempdir_in(folder)?;
    let root = stage.path();
    programs_into(parts, root)?;
    parts.guest_files_into(root)?;
    release_files_into(root, release)?;
    // The guest's busybox may be of the other architecture, but is of the same version.
    let here = Architecture::Amd64.busybox();
    let applets = run::answer(run::command(&here.to_string_lossy()).arg("--list"));
    let applets = applets.ok_or_else(|| Trouble::harness(format!("{} --list", here.display())))?;
    for name in applets.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name))?;
    }
    for (name, text) in [
        ("connect.sh", include_str!("../../../guest/busybox/connect.sh")),
        ("dhcp.sh", include_str!("../../../guest/busybox/dhcp.sh")),
    ] {
        write(root, &format!("usr/lib/guest/{name}"), text, 0o755)?;
    }
    write(root, "etc/inittab", include_str!("../../../guest/busybox/inittab"), 0o644)?;
    write(root, "etc/init.d/rcS", include_str!("../../../guest/busybox/rcS"), 0o755)?;
    write(root, "etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0o644)?;
    write(root, "etc/group", "root:x:0:\n", 0o644)?;
    let version = parts.arch.parts().release()?;
    fs::create_dir_all(root.join("usr/lib/modules").join(version))?;
    fs::create_dir_all(root.join("var/lib"))?;
    fs::create_dir_all(root.join("sbin"))?;
    symlink("../bin/busybox", root.join("sbin/init"))?;
    let tar = folder.join("root.tar");
    pack(root, &tar)?;
    Ok(tar)
}

/// The initramfs: busybox, Gybe, the modules in their order.
fn initramfs(parts: &Parts, folder: &Path, release: &Release) -> Result<PathBuf, Trouble> {
    let stage = tempfile::tempdir_in(folder)?;
    let root = stage.path();
    programs_into(parts, root)?;
    for name in ["modules", "sysroot"] {
        fs::create_dir_all(root.join(name))?;
    }
    let mut order = String::new();
    for module in parts.arch.parts().modules()? {
        let name = module.file_name().unwrap_or_default();
        copy(&module, &root.join("modules").join(name), 0o644)?;
        order.push_str(&format!("{}\n", name.to_string_lossy()));
    }
    write(root, "modules/order", &order, 0o644)?;
    let init = root.join("init");
    fs::write(&init, include_str!("../../../guest/busybox/init"))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    if release.hangs {
        fs::write(root.join("hang"), "")?;
    }
    let file = folder.join("initrd.img");
    pack_initramfs(root, &file)?;
    Ok(file)
}
