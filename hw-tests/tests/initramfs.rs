//! A Linux kernel unpacks the initramfs of the boot target as it unpacks that of the image, and the
//! initramfs of a real image hardly costs anything beside the root.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

mod bench;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Bench, Device, FAILED, MODULES, Small, image, native, run, succeed, tool};
use serde_json::Value;

/// What the kernel runs: it tells everything about every file that it unpacked.
const INIT: &str = r#"#!/bin/busybox sh
cd /
echo the begin of the list
/bin/busybox find . -xdev -type f -exec /bin/busybox sha256sum {} + | /bin/busybox sort -k 2
/bin/busybox find . -xdev ! -path './dev*' -exec /bin/busybox stat -c '%n %f %h %u %g %s %Y %T' {} + |
    /bin/busybox sort
echo the end of the list
/bin/busybox poweroff -f
"#;

/// Runs a line of the shell in a folder.
fn shell(folder: &Path, line: &str) {
    let line = format!("set -eu -o pipefail; {line}");
    succeed(tool("bash").args(["-c", &line]).current_dir(folder));
}

/// A file of the kernel's directory in the sample image `v1`, taken out of its layer.
fn of_sample(bench: &Bench, name: &str) -> PathBuf {
    let image = gybe_hw_tests::sample::images().unwrap().image("v1");
    let manifest = succeed(tool("skopeo").args(["inspect", "--raw", &image]));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layout = image.trim_start_matches("oci:").trim_end_matches(":v1");
    let digest = manifest["layers"][1]["digest"].as_str().unwrap().replace(':', "/");
    let path = bench.path(&format!("sample-{name}"));
    let mut tar = Command::new("bsdtar");
    tar.args(["--to-stdout", "-xf", &format!("{layout}/blobs/{digest}")]);
    let output = tar.arg(format!("./usr/lib/modules/*/{name}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::write(&path, output.stdout).unwrap();
    path
}

/// Takes a file out of the boot target of slot A.
fn of_boot_target(device: &Device<'_>, name: &str, to: &Path) {
    let mut copy = tool("mcopy");
    copy.arg("-n").arg("-i").arg(device.partition("boot_a")).arg(format!("::/{name}")).arg(to);
    succeed(&mut copy);
}

/// A device with a release in slot A, and room for kernels.
fn installed<'b>(bench: &'b Bench, name: &str, source: &str) -> Device<'b> {
    let device = Device::new(bench, name);
    device.resize("root_a", 768 << 20);
    device.resize("boot_a", 160 << 20);
    device.gybe(&["install", source, "--slot", "a"]).done();
    device
}

/// Starts the kernel with an initramfs, and gives what its init says.
fn booted(kernel: &Path, initramfs: &Path) -> Vec<String> {
    let mut qemu = tool("timeout");
    qemu.args(["240", "qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nographic"]);
    qemu.args(["-no-reboot", "-nic", "none", "-kernel"]).arg(kernel).arg("-initrd").arg(initramfs);
    let said = succeed(qemu.args(["-append", "console=ttyS0 panic=-1 quiet"]));
    // The firmware writes to the same line, more or less of it from one time to the next.
    let (_, list) = said.split_once("the begin of the list").unwrap_or_else(|| panic!("{said}"));
    let (list, _) = list.split_once("the end of the list").unwrap_or_else(|| panic!("{said}"));
    // What the kernel says in between has a time in front.
    let lines = list.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| line.contains("  ./") || line.starts_with('.')).collect()
}

/// An initramfs of all that Linux takes: an early archive, then three ways to compress, a file that
/// comes twice, links of both kinds, files of all lengths around a block.
fn write_initramfs(bench: &Bench, to: &Path) {
    let folder = bench.path("initramfs-parts");
    for tree in
        ["early/kernel/x86/microcode", "main/bin", "main/lib", "main/dev", "more/lib", "last"]
    {
        fs::create_dir_all(folder.join(tree)).unwrap();
    }
    fs::write(folder.join("main/init"), INIT).unwrap();
    shell(
        &folder,
        "cp /bin/busybox main/bin; chmod 755 main/init
         for len in 0 1 100 4095 4096 4097 8192 20000 300000; do
             openssl enc -aes-128-ctr -K $(printf %032d $len) -iv 0 -in /dev/zero 2>/dev/null |
                 head -c $len > main/lib/$len.ko || true
         done
         cp main/lib/20000.ko early/kernel/x86/microcode/GenuineIntel.bin
         ln main/lib/8192.ko main/lib/hard; ln -s 8192.ko main/lib/soft; chmod 4711 main/lib/4097.ko
         tac main/init > more/lib/20000.ko; ln more/lib/20000.ko more/again
         head -c 9000 main/lib/300000.ko > last/last
         pack() { (cd $1; find . | LC_ALL=C sort | cpio -o -H newc --reproducible --quiet); }
         pack early > packed; pack main | zstd -q >> packed; truncate -s %4 packed
         pack more | xz --check=crc32 >> packed; pack last | lz4 -q -l >> packed",
    );
    fs::copy(folder.join("packed"), to).unwrap();
}

#[test]
fn linux_unpacks_what_the_boot_target_holds_as_it_does_what_the_image_holds() {
    let bench = Bench::new("initramfs");
    let stage = bench.path("stage");
    Small::new(1).write(&stage);
    let modules = stage.join(MODULES);
    fs::copy(of_sample(&bench, "vmlinuz"), modules.join("vmlinuz")).unwrap();
    let before = modules.join("initramfs.img");
    write_initramfs(&bench, &before);
    let source = image(&bench, "image", &stage, native());
    let report = bench.seal(&source, "release", 1);
    assert_eq!(report["bootFiles"]["initramfs"], "unpacked from zstd and xz and lz4");
    assert_eq!(report["bootFiles"]["kernel"], "as in the image");
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{report}");
    assert!(warnings[0].as_str().unwrap().starts_with("the initramfs has no program gybe"));

    let device = installed(&bench, "device", &bench.source("release"));
    let [kernel, after] = ["vmlinuz", "initrd.img"].map(|name| {
        let path = bench.path(name);
        of_boot_target(&device, name, &path);
        path
    });
    of_boot_target(&device, "sha256.sum", &bench.path("sha256.sum"));
    let checked = succeed(tool("sha256sum").args(["-c", "sha256.sum"]).current_dir(bench.path("")));
    assert_eq!(checked, "vmlinuz: OK\ninitrd.img: OK\n");
    let seen = booted(&kernel, &before);
    assert!(seen.len() > 35, "{seen:#?}");
    assert_eq!(booted(&kernel, &after), seen);

    // The same image with another option: other bytes, which the configuration tells apart.
    let mut kept = bench.seal_command(&source, "kept", 1);
    let kept: Value = serde_json::from_str(&succeed(kept.arg("--keep-boot-files"))).unwrap();
    assert_eq!(kept["bootFiles"]["initramfs"], "as in the image");
    assert_eq!(kept["warnings"].as_array().map(Vec::len), Some(0), "nobody looked into it: {kept}");
    let mut twice = bench.seal_command(&source, "twice", 1);
    let twice: Value = serde_json::from_str(&succeed(twice.arg("--initramfs-in-root"))).unwrap();
    assert_eq!(kept["rootHash"], twice["rootHash"], "the root is the same bytes");
    assert_ne!(kept["rootHash"], report["rootHash"], "the root has no initramfs");
    let files = |layout: &str| {
        let config = bench::Parts::read(&bench.path(layout)).config;
        [config["converter"].clone(), config["targets"][1]["files"].clone()]
    };
    assert_eq!(files("release"), [Value::from(3), Value::from("unpacked")]);
    assert_eq!(files("kept"), [Value::from(3), Value::from("kept")]);
}

#[test]
fn a_damaged_initramfs_is_refused_unless_it_shall_be_kept() {
    let bench = Bench::new("initramfs-damaged");
    let stage = bench.path("stage");
    Small::new(1).write(&stage);
    let initramfs = stage.join(MODULES).join("initramfs.img");
    write_initramfs(&bench, &initramfs);
    let mut bytes = fs::read(&initramfs).unwrap();
    bytes[200_000] ^= 0x10;
    fs::write(&initramfs, bytes).unwrap();
    let source = image(&bench, "image", &stage, native());
    let refused = run(&mut bench.seal_command(&source, "release", 1));
    refused
        .ended(FAILED, &["initramfs: zstd stream at byte ", "is damaged: ", "--keep-boot-files"]);
    succeed(bench.seal_command(&source, "release", 1).arg("--keep-boot-files"));
}

#[test]
fn the_initramfs_of_a_real_image_has_little_that_its_root_has_not() {
    let bench = Bench::new("initramfs-real");
    let source = gybe_hw_tests::sample::images().unwrap().image("v1");
    let sealed = |output: &str, options: &[&str]| -> Value {
        let mut seal = bench.seal_command(&source, output, 1);
        seal.arg("--key").arg(bench.key("release")).args(options);
        serde_json::from_str(&succeed(&mut seal)).unwrap()
    };
    let kept = sealed("kept", &["--keep-boot-files"]);
    let lean = sealed("lean", &[]);
    let path = of_sample(&bench, "initramfs.img");
    let packed_len = fs::metadata(&path).unwrap().len();
    let bytes = |report: &Value| report["packBytes"].as_u64().unwrap();
    eprintln!("packs: {} with it, {} without; it has {packed_len}", bytes(&kept), bytes(&lean));
    assert!(bytes(&lean) + packed_len * 19 / 20 < bytes(&kept), "{lean} {kept}");
    let config = bench::Parts::read(&bench.path("lean")).config;
    let left_out = config["targets"][0]["leftOut"][0].as_str().unwrap();
    assert!(left_out.ends_with("/initramfs.img"), "{left_out}");

    // bsdtar sees the same in both, with owners, links, times and sizes.
    let device = installed(&bench, "device", &bench.source("lean"));
    of_boot_target(&device, "initrd.img", &bench.path("initrd.img"));
    let listed = |path: &Path| succeed(tool("bsdtar").arg("-tvf").arg(path));
    let [before, after] = [listed(&path), listed(&bench.path("initrd.img"))];
    assert!(before.lines().count() > 300, "{before}");
    assert_eq!(before, after);
}
