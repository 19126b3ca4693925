//! A root of busybox and the agent, and an initramfs that finds it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::super::bench::{Bench, Device, succeed, tool};
use super::machine;

/// What the kernel starts: it does what the hooks of dracut and initramfs-tools do.
const INITRAMFS_INIT: &str = r"#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
for module in $(cat /modules/order); do insmod /modules/$module; done
cp /script /run/script
gybe initramfs open || { echo open failed with $?; poweroff -f; }
mount -t erofs -o ro /dev/mapper/root /root || { echo no root; poweroff -f; }
gybe initramfs mount /root || { echo mount failed with $?; poweroff -f; }
for point in proc sys dev run; do mount --move /$point /root/$point; done
exec switch_root /root /sbin/init
";

/// What the root starts: the test's own words.
const ROOT_INIT: &str = r"#!/bin/sh
export PATH=/bin
echo the script begins
sh /run/script
echo the script ends
sync
poweroff -f
";

const MODULES: [&str; 14] = [
    "virtio_blk",
    "libcrc32c",
    "erofs",
    "overlay",
    "fat",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "nls_iso8859_1",
    "nls_utf8",
    "dm_mod",
    "dm_bufio",
    "reed_solomon",
    "dm_verity",
];

/// Writes what the image of a device has, and its configuration.
pub(super) fn write_root(bench: &Bench, root: &Path) {
    write_programs(bench, root);
    for folder in ["proc", "sys", "dev", "run", "tmp", "boot", "root", "usr/lib"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    put(root, "sbin/init", ROOT_INIT, 0o755);
    put(root, "etc/motd", "as the image has it\n", 0o644);
    put(root, "etc/untouched", "of version 1\n", 0o644);
    put(root, "var/lib/acme/default", "as the factory has it\n", 0o640);
    put(root, "usr/share/large", &"a file of several blocks\n".repeat(4000), 0o644);
    put(root, "usr/share/marked", &format!("the marked block{}", " ".repeat(5000)), 0o644);
    let device = Device::new(bench, "configuration");
    let folder = device.path("usr/lib/gybe");
    succeed(tool("cp").arg("-r").arg(folder).arg(root.join("usr/lib/gybe")));
    let mut config = String::from("compatible = \"acme-gateway\"\n");
    for slot in ["a", "b"] {
        config.push_str(&format!(
            "[slot.{slot}]\nroot = \"/dev/disk/by-partlabel/root_{slot}\"\n\
             boot = \"/dev/disk/by-partlabel/boot_{slot}\"\n"
        ));
    }
    config.push_str("[bootloader]\nkind = \"grub\"\nenvironment = \"/run/gybe/env/grubenv\"\n");
    fs::write(root.join("usr/lib/gybe/config.toml"), config).unwrap();
}

fn put(root: &Path, path: &str, content: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// busybox under its names, the agent, and the libraries that it needs.
fn write_programs(bench: &Bench, root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    succeed(tool("cp").arg("/bin/busybox").arg(root.join("bin/busybox")));
    for name in succeed(tool("busybox").arg("--list")).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let agent = bench.program("gybe").get_program().to_owned();
    let mut strip = tool("strip");
    succeed(strip.arg("-o").arg(root.join("bin/gybe")).arg(&agent));
    for line in succeed(tool("ldd").arg(&agent)).lines() {
        let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        succeed(tool("cp").arg("-L").arg(library).arg(&to));
    }
}

/// Writes the initramfs, with the programs of `root` and its configuration.
pub(super) fn write(bench: &Bench, root: &Path, to: &Path) {
    let folder = bench.path("initramfs-tree");
    for name in ["proc", "sys", "dev", "run", "root", "modules", "usr/lib"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64", "usr/lib/gybe"] {
        succeed(tool("cp").arg("-a").arg(root.join(name)).arg(folder.join(name)));
    }
    put(&folder, "init", INITRAMFS_INIT, 0o755);
    for name in MODULES {
        let file = format!("{name}.ko");
        fs::copy(machine().join("modules").join(&file), folder.join("modules").join(file)).unwrap();
    }
    let order: Vec<_> = MODULES.iter().map(|name| format!("{name}.ko\n")).collect();
    fs::write(folder.join("modules/order"), order.concat()).unwrap();
    let mut pack = tool("sh");
    pack.arg("-c").arg("cd \"$1\" && find . | cpio --quiet -o -H newc > \"$2\"").arg("sh");
    succeed(pack.arg(&folder).arg(to));
}
