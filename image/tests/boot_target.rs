//! The boot target, as GRUB's and U-Boot's own tools read it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::boot::{self, BootError, Files};
use gybe_image::bootc::Bootable;
use gybe_image::content::Content;
use gybe_image::fat::SectorLen;
use gybe_image::tree::Kind;

mod fixture;

use fixture::{Fixture, bytes, judge, write_file};

fn bootable() -> (Fixture, Bootable) {
    let mut fixture = Fixture::new();
    let mut content = |bytes: &[u8]| -> Content {
        let Kind::File(content) = fixture.content(bytes) else { panic!("not a file") };
        content
    };
    let bootable = Bootable {
        kernel_version: "6.1.0".into(),
        kernel: content(&[b'k'; 9000]),
        initramfs: content(&[b'i'; 5000]),
        device_trees: BTreeMap::from([("acme/gateway.dtb".into(), content(b"tree"))]),
        kargs: vec!["console=ttyS0,115200n8  quiet".into(), "a=$b;c#d".into()],
    };
    (fixture, bootable)
}

fn root() -> boot::Root {
    boot::Root { hash: Digest::of(b"root"), blocks: 3 }
}

/// Takes the boot target apart with mtools.
fn unpacked() -> tempfile::TempDir {
    let (fixture, bootable) = bootable();
    let target =
        boot::layout(&bootable, &Files::kept(&bootable), &root(), SectorLen::B512).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("boot.fat");
    write_file(&target, &fixture, &image);
    judge(Command::new("fsck.fat").arg("-n").arg(&image));
    judge(Command::new("mcopy").args(["-s", "-n", "-i"]).arg(&image).arg("::/").arg(folder.path()));
    folder
}

fn command_line() -> String {
    format!(
        "panic=10 rd.emergency=reboot rd.shell=0 console=ttyS0,115200n8 quiet a=$b;c#d \
         root=/dev/mapper/root ro rootfstype=erofs roothash={} \
         systemd.verity_root_options=hash-offset=12288",
        Digest::of(b"root").hex()
    )
}

#[test]
fn the_layout_has_not_changed() {
    let (fixture, bootable) = bootable();
    let target =
        boot::layout(&bootable, &Files::kept(&bootable), &root(), SectorLen::B512).unwrap();
    let digest = "sha256:b0fe02c7713ff4d9e4f592b06f11752fa3eecacad4066de47394c380905f275b";
    assert_eq!(Digest::of(&bytes(&target, &fixture)).to_string(), digest);
}

#[test]
fn it_holds_what_the_image_boots_with() {
    let folder = unpacked();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("vmlinuz"), [b'k'; 9000]);
    assert_eq!(read("initrd.img"), [b'i'; 5000]);
    assert_eq!(read("dtb/acme/gateway.dtb"), b"tree");
    let said = judge(Command::new("sha256sum").args(["-c", "sha256.sum"]).current_dir(&folder));
    assert_eq!(said, "vmlinuz: OK\ninitrd.img: OK\n");
}

/// Lines in any order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn expected_variables() -> String {
    format!(
        "gybe_cmdline={}\ngybe_format=1\ngybe_initrd_sha256={}\ngybe_kernel_sha256={}",
        command_line(),
        Digest::of(&[b'i'; 5000]).hex(),
        Digest::of(&[b'k'; 9000]).hex(),
    )
}

#[test]
fn grub_reads_the_environment() {
    let folder = unpacked();
    let environment = folder.path().join("gybe.env");
    assert_eq!(fs::metadata(&environment).unwrap().len(), 1024);
    let said = judge(Command::new("grub-editenv").arg(&environment).arg("list"));
    assert_eq!(sorted(&said), sorted(&expected_variables()));
}

/// `mkenvimage` takes the text that `env import -t` takes, comments included.
#[test]
fn u_boot_reads_the_environment() {
    let folder = unpacked();
    let path = |name: &str| folder.path().join(name);
    let mut mkenvimage = Command::new("mkenvimage");
    mkenvimage.args(["-s", "0x4000", "-o"]).arg(path("env")).arg(path("gybe.env"));
    judge(&mut mkenvimage);
    let config = format!("{} 0 0x4000\n", Path::new(&path("env")).display());
    fs::write(path("fw_env.config"), config).unwrap();
    let said = judge(Command::new("fw_printenv").arg("-c").arg(path("fw_env.config")));
    assert_eq!(sorted(&said), sorted(&expected_variables()));
}

#[test]
fn a_command_line_beyond_the_limit_is_refused() {
    let (_, mut bootable) = bootable();
    let ours = boot::command_line(&[], &root()).unwrap().len();
    bootable.kargs = vec!["x".repeat(1536 - 1 - ours)];
    assert_eq!(boot::command_line(&bootable.kargs, &root()).unwrap().len(), 1536);
    bootable.kargs.push("y".into());
    let refused = boot::command_line(&bootable.kargs, &root()).unwrap_err();
    assert_eq!(refused, BootError::CommandLine { found: 1538, limit: 1536 });
}
