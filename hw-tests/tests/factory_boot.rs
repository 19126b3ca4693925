//! A disk for the factory starts in machines as they are: a PC with UEFI, one with BIOS, a board with a
//! stock U-Boot. What is started is a kernel that says its command line and goes off.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;
#[path = "factory/cpio.rs"]
mod cpio;
mod factory;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use bench::{Bench, MODULES, Parts, image, tool};
use cpio::Archive;
use factory::{Disk, configure, put};
use gybe_hw_tests::guest::built_in_variables;
use serde_json::{Value, json};

/// One machine at a time: two slow each other down more than they save.
static MACHINE: Mutex<()> = Mutex::new(());

/// How long a machine may take: emulated ones are slow, and several share a host.
const LIMIT_S: &str = "300";
const FLASH_LEN: u64 = 64 << 20;

const GRUBS: [&str; 3] = ["2.06", "2.12", "2.14"];
const U_BOOTS: [&str; 2] = ["2023.01", "2025.01"];

/// A part of the machines that `hw-tests/tools/machines.sh` unpacks.
fn machines(part: &str) -> PathBuf {
    let tools = std::env::var_os("GYBE_TOOLS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools"),
        PathBuf::from,
    );
    let path = tools.join("machines").join(part);
    assert!(path.exists(), "{} is missing; run: cargo full-test, which makes it", path.display());
    path
}

/// Seals an image with the kernel for `architecture`; gives the report.
fn seal(bench: &Bench, architecture: &'static str, loader: &str, console: &str) -> Value {
    let stage = bench.path("stage");
    let guest = machines(&format!("guest/{architecture}"));
    let read = |name: &str| fs::read(guest.join(name)).unwrap();
    let script = b"#!/bin/busybox sh\n/bin/busybox mount -t proc none /proc\n\
        echo \"LINE $(/bin/busybox cat /proc/cmdline) END\"\n/bin/busybox poweroff -f\n";
    let initramfs = Archive::default()
        .directory("bin")
        .directory("proc")
        .directory("dev")
        .device("dev/console", (5, 1))
        .file("bin/busybox", &read("busybox"))
        .file("init", script);
    put(&stage, &format!("{MODULES}/vmlinuz"), &read("vmlinuz"), 0o644);
    put(&stage, &format!("{MODULES}/initramfs.img"), &initramfs.finish(), 0o644);
    let kargs = format!("kargs = [\"console={console}\"]\n");
    put(&stage, "usr/lib/bootc/kargs.d/console.toml", kargs.as_bytes(), 0o644);
    configure(bench, &stage, loader);
    bench.seal(&image(bench, "image", &stage, architecture), "release", 1)
}

/// What the kernel must be told: what was signed, the slot, its root, and what `config.toml` adds.
fn expected(bench: &Bench, disk: &Disk, slot: &str) -> String {
    let config = Parts::read(&bench.path("release")).config;
    let signed = config["commandLine"].as_str().unwrap();
    let guid = disk.guid(&format!("root_{slot}"));
    let root = ["data", "hash"].map(|of| format!("systemd.verity_root_{of}=PARTUUID={guid}"));
    format!("{signed} gybe.slot={slot} gybe.loader=1 {} nosmt", root.join(" "))
}

/// The option that brings `nosmt` to the kernel.
fn config(bench: &Bench) -> String {
    let path = bench.path("config.toml");
    fs::write(&path, "[customizations.kernel]\nappend = \"nosmt\"\n").unwrap();
    path.display().to_string()
}

/// Runs a machine with the disk until it goes off; gives what the kernel was told, and all that was
/// said. Writes go nowhere.
fn boots(machine: &mut Command, disk: &Disk) -> (Option<String>, String) {
    let drive = format!("if=none,id=d0,format=raw,snapshot=on,file={}", disk.path.display());
    runs(machine.args(["-drive", &drive]))
}

/// The same, with a medium that cannot read the sectors at these places of the disk, and that cannot be
/// written.
fn boots_badly(machine: &mut Command, disk: &Disk, bad: &[u64]) -> (Option<String>, String) {
    let file = json!({
        "driver": "file", "filename": disk.path, "node-name": "f0", "read-only": true,
    });
    let errors = bad.iter().map(|at| {
        let sector = at / 512;
        json!({ "event": "none", "iotype": "read", "errno": 5, "sector": sector })
    });
    let errors: Vec<_> = errors.collect();
    let medium = json!({
        "driver": "blkdebug", "image": "f0", "node-name": "d0", "read-only": true,
        "inject-error": errors,
    });
    for node in [file, medium] {
        machine.args(["-blockdev", &node.to_string()]);
    }
    runs(machine)
}

fn runs(machine: &mut Command) -> (Option<String>, String) {
    machine.args(["-m", "512", "-display", "none", "-serial", "stdio", "-monitor", "none"]);
    machine.args(["-nic", "none", "-no-reboot", "-device", "virtio-blk-pci,drive=d0"]);
    let turn = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = machine.output().unwrap();
    drop(turn);
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let said = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let line = said.split_once("LINE ").and_then(|(_, rest)| rest.split_once(" END"));
    let line = line.map(|(line, _)| line.trim_end());
    // GRUB says in front which file it loaded.
    let line = line.map(|line| match line.strip_prefix("BOOT_IMAGE=") {
        Some(rest) => rest.split_once(' ').map_or(rest, |(_, line)| line).to_owned(),
        None => line.to_owned(),
    });
    (line, said)
}

fn qemu(name: &str) -> Command {
    let mut machine = tool("timeout");
    machine.args([LIMIT_S, name]);
    machine
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firmware {
    Bios,
    Uefi,
}

fn pc(firmware: Firmware) -> Command {
    let mut machine = qemu("qemu-system-x86_64");
    machine.args(["-accel", "tcg,thread=multi", "-cpu", "qemu64", "-M", "q35"]);
    if firmware == Firmware::Uefi {
        let ovmf = |part: &str| machines(&format!("ovmf/OVMF_{part}_4M.fd")).display().to_string();
        let flash = "if=pflash,format=raw";
        machine.args(["-drive", &format!("{flash},readonly=on,file={}", ovmf("CODE"))]);
        machine.args(["-drive", &format!("{flash},snapshot=on,file={}", ovmf("VARS"))]);
    }
    machine
}

/// A board whose U-Boot nobody configured.
fn board(bench: &Bench, version: &str) -> Command {
    let flash = ["u-boot", "environment"].map(|name| bench.path(name));
    fs::copy(machines(&format!("u-boot/{version}/u-boot.bin")), &flash[0]).unwrap();
    File::create(&flash[1]).unwrap();
    let mut board = qemu("qemu-system-aarch64");
    board.args(["-M", "virt", "-cpu", "cortex-a57"]);
    for path in &flash {
        File::options().write(true).open(path).unwrap().set_len(FLASH_LEN).unwrap();
        let drive = format!("if=pflash,format=raw,snapshot=on,file={}", path.display());
        board.args(["-drive", &drive]);
    }
    board
}

#[test]
fn every_grub_starts_slot_a_on_bios_and_on_uefi() {
    let bench = Bench::new("factory-pc");
    seal(&bench, "amd64", "grub", "ttyS0,115200");
    let config = config(&bench);
    for version in GRUBS {
        let grub = machines(&format!("grub/{version}")).display().to_string();
        let more = ["--config", &config, "--grub-dir", &grub];
        let disk = Disk::make(&bench, "release", "disk.raw", &more);
        let expected = expected(&bench, &disk, "a");
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let (line, said) = boots(&mut pc(firmware), &disk);
            assert_eq!(line.as_deref(), Some(&*expected), "GRUB {version} {firmware:?}:\n{said}");
            assert!(said.contains("gybe: slot a"), "GRUB {version} {firmware:?}:\n{said}");
            assert!(said.contains("initrd.img: OK"), "its digest was checked:\n{said}");
        }
    }
}

/// Its script has a copy, and without an environment the slots themselves say what can be loaded.
#[test]
fn a_pc_starts_without_the_partition_of_its_environment() {
    let bench = Bench::new("factory-lost");
    seal(&bench, "amd64", "grub", "ttyS0,115200");
    let config = config(&bench);
    let grub = machines("grub/2.06").display().to_string();
    let more = ["--config", &config, "--grub-dir", &grub];
    let disk = Disk::make(&bench, "release", "disk.raw", &more);
    disk.lose("gybe_env");
    let expected = expected(&bench, &disk, "a");
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let (line, said) = boots(&mut pc(firmware), &disk);
        assert_eq!(line.as_deref(), Some(&*expected), "{firmware:?}:\n{said}");
    }
    // With the slot lost too there is nothing to load, and the machine resets instead of waiting.
    disk.lose("boot_a");
    let (line, said) = boots(&mut pc(Firmware::Bios), &disk);
    assert_eq!(line, None);
    assert!(said.contains("gybe: no slot can be loaded"), "{said}");
}

/// A U-Boot with a redundant environment and the command `hash`.
#[test]
fn a_u_boot_with_an_environment_of_its_own_starts_slot_a_checked() {
    let bench = Bench::new("factory-redundant-board");
    seal(&bench, "arm64", "uboot", "ttyAMA0");
    let text = bench.path("u-boot-initial-env");
    fs::write(
        &text,
        built_in_variables(&fs::read(machines("u-boot/redundant/u-boot.bin")).unwrap()).unwrap(),
    )
    .unwrap();
    let (config, text) = (config(&bench), text.display().to_string());
    let more = ["--config", &config, "--u-boot-env", &text, "--u-boot-env-len", "16K"];
    let at = ["--u-boot-env-at", "uboot.env,uboot-redund.env"];
    let disk = Disk::make(&bench, "release", "disk.raw", &[&more[..], &at].concat());
    let (line, said) = boots(&mut board(&bench, "redundant"), &disk);
    assert_eq!(line, Some(expected(&bench, &disk, "a")), "{said}");
    assert!(said.contains("gybe: slot a"), "{said}");
    assert!(said.contains("sha256 for "), "its digests were checked:\n{said}");
    // A kernel with another digest is not started, and there is nothing else.
    disk.damage("boot_a", 4 << 20);
    let (line, said) = boots(&mut board(&bench, "redundant"), &disk);
    assert_eq!(line, None, "{said}");
    assert!(said.contains("gybe: slot a cannot be loaded"), "{said}");
}

/// A sector that cannot be read costs a file, and the next thing that serves is taken.
#[test]
fn a_pc_takes_the_next_best_where_it_cannot_read() {
    let bench = Bench::new("factory-bad-pc");
    seal(&bench, "amd64", "grub", "ttyS0,115200");
    let config = config(&bench);
    let grub = machines("grub/2.06").display().to_string();
    let more = ["--config", &config, "--grub-dir", &grub];
    let disk = Disk::make(&bench, "release", "disk.raw", &more);
    disk.fill_b();
    let [a, b] = ["a", "b"].map(|slot| expected(&bench, &disk, slot));
    let kernel = disk.place("boot_a").0 + (4 << 20);
    let script = disk.find("gybe_env", b"# Gybe's boot script");
    let live = disk.find("gybe_env", b"# GRUB Environment Block\n");
    let initramfs = disk.find("boot_b", b"07070100000001") + 512 * 1024;
    for (firmware, bad, slot) in [
        (Firmware::Bios, &[kernel][..], Some(&b)),
        (Firmware::Uefi, &[kernel], Some(&b)),
        (Firmware::Bios, &[script + 1024, live], Some(&a)),
        (Firmware::Uefi, &[script + 1024, live, kernel], Some(&b)),
        (Firmware::Bios, &[kernel, initramfs], None),
    ] {
        let (line, said) = boots_badly(&mut pc(firmware), &disk, bad);
        assert_eq!(line.as_ref(), slot, "{bad:?} {firmware:?}:\n{said}");
    }
}

#[test]
fn a_board_takes_the_next_best_where_it_cannot_read() {
    let bench = Bench::new("factory-bad-board");
    seal(&bench, "arm64", "uboot", "ttyAMA0");
    let disk = Disk::make(&bench, "release", "disk.raw", &["--config", &config(&bench)]);
    disk.fill_b();
    let [a, b] = ["a", "b"].map(|slot| expected(&bench, &disk, slot));
    let kernel = disk.place("boot_a").0 + (4 << 20);
    let live = disk.find("gybe_env", b"gybe_a=good");
    let script = disk.find("gybe_env", b"# Gybe's boot script");
    let initramfs = disk.find("boot_b", b"07070100000001") + 512 * 1024;
    for (bad, slot) in [
        (&[kernel][..], Some(&b)),
        (&[live], Some(&a)),
        (&[script + 1024, live, kernel], Some(&b)),
        (&[kernel, initramfs], None),
    ] {
        let (line, said) = boots_badly(&mut board(&bench, "2025.01"), &disk, bad);
        assert_eq!(line.as_ref(), slot, "{bad:?}:\n{said}");
    }
}

#[test]
fn a_stock_u_boot_starts_slot_a_also_without_its_environment() {
    let bench = Bench::new("factory-board");
    seal(&bench, "arm64", "uboot", "ttyAMA0");
    let disk = Disk::make(&bench, "release", "disk.raw", &["--config", &config(&bench)]);
    let expected = expected(&bench, &disk, "a");
    for version in U_BOOTS {
        let (line, said) = boots(&mut board(&bench, version), &disk);
        assert_eq!(line.as_deref(), Some(&*expected), "U-Boot {version}:\n{said}");
        assert!(said.contains("gybe: slot a"), "U-Boot {version}:\n{said}");
    }
    // Its script has a copy, too.
    disk.lose("gybe_env");
    for version in U_BOOTS {
        let (line, said) = boots(&mut board(&bench, version), &disk);
        assert_eq!(line.as_deref(), Some(&*expected), "U-Boot {version}:\n{said}");
    }
}
