//! A disk for the factory, as the programs of other people see it, and as `gybe` does.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;
mod factory;

use std::fs;
use std::path::{Path, PathBuf};

use bench::{Bench, Device, FAILED, Parts, Small, image, native, run, succeed, tool};
use factory::{Disk, command, configure, put};
use serde_json::{Value, json};

const CONFIG: &str = "[[customizations.user]]\n\
    name = \"anna\"\npassword = \"$6$salt$hash\"\nkey = \"ssh-ed25519 AAAA anna\"\ngroups = [\"wheel\"]\n\
    [customizations.kernel]\nappend = \"mitigations=off\"\n\
    [[customizations.filesystem]]\nmountpoint = \"/var\"\nminsize = \"300 MiB\"\n";

/// Seals a small image for a disk with this loader; gives the report.
fn seal(bench: &Bench, name: &str, number: u32, loader: &str) -> Value {
    let stage = bench.path(&format!("{name}-stage"));
    Small { files: 8, changed: 4, ..Small::new(number) }.write(&stage);
    configure(bench, &stage, loader);
    bench.seal(&image(bench, &format!("image-{name}"), &stage, native()), name, number)
}

fn debugfs(state: &Path, command: &str) -> String {
    succeed(tool("debugfs").args(["-R", command]).arg(state))
}

fn customized(bench: &Bench) -> PathBuf {
    let path = bench.path("config.toml");
    fs::write(&path, CONFIG).unwrap();
    path
}

#[test]
fn a_disk_is_what_its_judges_expect_and_the_same_bytes_again() {
    let bench = Bench::new("factory-judges");
    let sealed = seal(&bench, "one", 1, "grub");
    let config = customized(&bench);
    let more = ["--config", config.to_str().unwrap()];
    let disk = Disk::make(&bench, "one", "disk.raw", &more);
    assert_eq!(disk.report["release"]["digest"], sealed["digest"]);
    assert_eq!(disk.report["users"], json!(["anna"]));
    assert_eq!(disk.report["warnings"], json!([]));

    let said = succeed(tool("sfdisk").arg("--verify").arg(&disk.path));
    assert!(said.contains("No errors detected"), "{said}");
    let said = succeed(tool("sgdisk").arg("--verify").arg(&disk.path));
    assert!(said.contains("No problems found"), "{said}");
    let table = succeed(tool("sfdisk").arg("--json").arg(&disk.path));
    let table: Value = serde_json::from_str(&table).unwrap();
    let table = &table["partitiontable"]["partitions"];
    let names: Vec<_> = table.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["esp", "bios", "gybe_env", "boot_a", "root_a", "boot_b", "root_b", "state"]);
    for (found, said) in
        table.as_array().unwrap().iter().zip(disk.report["partitions"].as_array().unwrap())
    {
        assert_eq!(found["start"].as_u64().unwrap() * 512, said["start"].as_u64().unwrap());
        assert_eq!(found["uuid"].as_str().unwrap().to_lowercase(), said["guid"].as_str().unwrap());
    }

    let cut = |name: &str| {
        let path = bench.path(&format!("{name}.part"));
        disk.cut(name, &path);
        path
    };
    for name in ["esp", "gybe_env", "boot_a"] {
        succeed(tool("fsck.vfat").arg("-n").arg(cut(name)));
    }
    for name in ["boot_b", "root_b"] {
        assert!(fs::read(cut(name)).unwrap().iter().all(|byte| *byte == 0), "{name}");
    }
    let root = &sealed["targets"][0];
    let padded = root["bytes"].as_u64().unwrap().next_multiple_of(4096).to_string();
    let (slot, hash) = (cut("root_a"), root["rootHash"].as_str().unwrap());
    let mut verity = tool("veritysetup");
    verity.arg("verify").args([&slot, &slot]).arg(hash);
    succeed(verity.arg(format!("--hash-offset={padded}")));

    let folder = bench.path("environment");
    fs::create_dir_all(&folder).unwrap();
    for name in ["grubenv", "grubenv.safe", "grub.cfg"] {
        let mut copy = tool("mcopy");
        succeed(copy.arg("-i").arg(cut("gybe_env")).arg(format!("::{name}")).arg(&folder));
    }
    for name in ["grubenv", "grubenv.safe"] {
        let said = succeed(tool("grub-editenv").arg(folder.join(name)).arg("list"));
        let expected = "gybe_order=a\ngybe_a=good\ngybe_b=bad\n\
            gybe_try=\ngybe_tries=\ngybe_failed=\ngybe_end=1\n";
        assert_eq!(said, expected, "{name}");
    }
    let script = fs::read_to_string(folder.join("grub.cfg")).unwrap();
    assert!(script.contains("\nset gybe_local=\"mitigations=off\"\n"));
    judge_state(&cut("state"), &sealed);

    Disk::make(&bench, "one", "again.raw", &more);
    succeed(tool("cmp").arg(&disk.path).arg(bench.path("again.raw")));
    // Another folder is another spelling of the same release.
    succeed(tool("cp").arg("-r").arg(bench.path("one")).arg(bench.path("elsewhere")));
    for name in ["one.qcow2", "two.qcow2"] {
        let made = Disk::make(&bench, "elsewhere", name, &more);
        assert_eq!(made.report["format"], "qcow2");
        succeed(tool("qemu-img").arg("compare").arg(&disk.path).arg(&made.path));
    }
    succeed(tool("cmp").arg(bench.path("one.qcow2")).arg(bench.path("two.qcow2")));
}

/// What the state partition holds, and whose it is.
fn judge_state(state: &Path, sealed: &Value) {
    assert_eq!(fs::metadata(state).unwrap().len(), 300 << 20);
    succeed(tool("e2fsck").arg("-fn").arg(state));
    let provenance = debugfs(state, "cat /lib/gybe/install.json");
    let provenance: Value = serde_json::from_str(&provenance).unwrap();
    assert_eq!(provenance["digest"], sealed["digest"]);
    assert_eq!(provenance["image"], sealed["sourceDigest"]);
    assert_eq!(provenance["target-image"], "docker://registry.example/acme:1");
    assert_eq!(provenance["kernel"], "6.12.0-gybe");
    for key in ["labels", "version", "timestamp", "selinux"] {
        assert!(!provenance[key].is_null(), "{key}");
    }
    let upper = "/lib/gybe/etc/a/upper";
    for (file, expected) in [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/var/home/anna:/bin/sh\n"),
        ("group", "root:x:0:\nwheel:x:10:root,anna\nanna:x:1000:\n"),
        ("shadow", "root:*:20000:0:99999:7:::\nanna:$6$salt$hash::0:99999:7:::\n"),
        ("gshadow", "root:*::\nwheel:*::root,anna\nanna:!::\n"),
    ] {
        assert_eq!(debugfs(state, &format!("cat {upper}/{file}")), expected);
    }
    let key = debugfs(state, "cat /home/anna/.ssh/authorized_keys");
    assert_eq!(key, "ssh-ed25519 AAAA anna\n");
    for (path, mode, user) in [
        (format!("{upper}/passwd"), "0644", 0),
        (format!("{upper}/shadow"), "0640", 0),
        ("/home".to_owned(), "0755", 0),
        ("/home/anna".to_owned(), "0700", 1000),
        ("/home/anna/.ssh/authorized_keys".to_owned(), "0600", 1000),
    ] {
        let said = debugfs(state, &format!("stat {path}"));
        let words: Vec<_> = said.split_whitespace().collect();
        let after = |word: &str| words[words.iter().position(|it| *it == word).unwrap() + 1];
        let (user, found) = (user.to_string(), (after("Mode:"), after("User:"), after("Group:")));
        assert_eq!(found, (mode, user.as_str(), user.as_str()), "{path}: {said}");
    }
}

/// The first update after the factory is as good as any: the slot is proven, and is copied from.
#[test]
fn the_first_update_copies_from_the_slot_of_the_factory() {
    let bench = Bench::new("factory-update");
    let sealed = seal(&bench, "one", 1, "grub");
    seal(&bench, "two", 2, "grub");
    let disk = Disk::make(&bench, "one", "disk.raw", &[]);
    let device = Device::new(&bench, "device");
    for name in ["root_a", "boot_a", "root_b", "boot_b"] {
        disk.cut(name, &device.partition(name));
    }
    let environment = bench.path("gybe_env.part");
    disk.cut("gybe_env", &environment);
    for name in ["grubenv", "grubenv.safe"] {
        let mut copy = tool("mcopy");
        let to = device.path("boot/env").join(name);
        succeed(copy.arg("-n").arg("-i").arg(&environment).arg(format!("::{name}")).arg(to));
    }
    device.boot();
    let status = device.status();
    assert_eq!((&status["running"], &status["trial"]), (&json!("a"), &json!(false)), "{status}");
    assert_eq!(
        (&status["a"]["state"], &status["b"]["state"]),
        (&json!("good"), &json!("unbootable"))
    );
    assert_eq!(status["a"]["release"]["digest"], sealed["digest"]);
    assert_eq!(status["environment"]["whole"], true);
    let slots = device.gybe(&["verify", "--slots", "--json"]).done().json();
    assert_eq!(
        (&slots["slots"][0]["slot"], &slots["slots"][0]["right"]),
        (&json!("a"), &json!(true))
    );

    let cost = &device.gybe(&["install", &bench.source("two"), "--json"]).done().json()["cost"];
    let [copied, unpacked] =
        ["copied_bytes", "unpacked_bytes"].map(|key| cost[key].as_u64().unwrap());
    assert!(copied > unpacked, "{cost}");
    device.boot();
    device.gybe(&["commit"]).done();
    assert_eq!(device.status()["b"]["state"], "good");
}

#[test]
fn a_disk_for_u_boot_is_what_its_tools_expect() {
    let bench = Bench::new("factory-uboot");
    seal(&bench, "one", 1, "uboot");
    let firmware = bench.path("firmware.bin");
    fs::write(&firmware, [0xa5; 70_000]).unwrap();
    let at = |place: &str| format!("{}@{place}", firmware.display());
    let place = at("1500K");
    let more = ["--loader", "uboot", "--firmware", &place, "--dtb", "acme/board.dtb"];
    let disk = Disk::make(&bench, "one", "disk.raw", &more);
    let names: Vec<_> =
        disk.report["partitions"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    let expected =
        ["gybe_env", "boot_a", "root_a", "boot_b", "root_b", "state", "boot_script", "firmware"];
    assert_eq!(names, expected);
    assert_eq!(disk.place("boot_script").0, 2 << 20, "behind the firmware");
    let said = succeed(tool("sgdisk").arg("--verify").arg(&disk.path));
    assert!(said.contains("No problems found"), "{said}");
    let said = succeed(tool("sfdisk").arg("--json").arg(&disk.path));
    let table: Value = serde_json::from_str(&said).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap().iter();
    let bootable =
        partitions.filter(|it| it["attrs"] == "LegacyBIOSBootable").map(|it| &it["name"]);
    // U-Boot looks for its script there.
    assert_eq!(bootable.collect::<Vec<_>>(), ["gybe_env", "boot_script"]);
    let bytes = fs::read(&disk.path).unwrap();
    assert_eq!(bytes[1500 << 10..][..70_000], [0xa5; 70_000]);

    let environment = bench.path("gybe_env.part");
    disk.cut("gybe_env", &environment);
    let folder = bench.path("environment");
    fs::create_dir_all(&folder).unwrap();
    for name in ["gybe.env", "gybe2.env", "boot.scr"] {
        succeed(tool("mcopy").arg("-i").arg(&environment).arg(format!("::{name}")).arg(&folder));
    }
    for (name, number) in [("gybe.env", "1"), ("gybe2.env", "0")] {
        let config = bench.path("fw_env.config");
        fs::write(&config, format!("{} 0x0 0x1000\n", folder.join(name).display())).unwrap();
        let said = succeed(tool("fw_printenv").arg("--config").arg(&config));
        let mut lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        let number = format!("gybe_seq={number}");
        assert_eq!(lines, ["gybe_a=good", "gybe_b=bad", "gybe_end=1", "gybe_order=a", &number]);
    }
    let said = succeed(tool("mkimage").arg("-l").arg(folder.join("boot.scr")));
    assert!(said.contains("Linux Script (uncompressed)"), "{said}");
    let script = String::from_utf8_lossy(&fs::read(folder.join("boot.scr")).unwrap()).into_owned();
    assert!(script.contains("\ngybe_kind=files\n"));
    assert!(script.contains("\ngybe_dtb=\"dtb/acme/board.dtb\"\n"));

    for (place, expected) in [("8K", "overlaps the partition table"), ("1000", "multiple of 512")] {
        let mut disk = command(&bench, "one", "refused.raw");
        disk.args(["--loader", "uboot", "--firmware", &at(place)]);
        run(&mut disk).ended(FAILED, &[expected]);
    }
    assert!(!bench.path("refused.raw").exists());
}

#[test]
fn a_redundant_environment_has_what_the_board_had_and_our_state() {
    let bench = Bench::new("factory-redundant");
    seal(&bench, "one", 1, "uboot");
    let text = bench.path("u-boot-initial-env");
    fs::write(&text, "bootcmd=run distro_bootcmd\nbootdelay=0\n").unwrap();
    let text = text.display().to_string();
    let more = ["--loader", "uboot", "--u-boot-env", &text, "--u-boot-env-len", "16K"];
    let at = ["--u-boot-env-at", "512K,528K"];
    let disk = Disk::make(&bench, "one", "disk.raw", &[&more[..], &at].concat());
    let warnings = disk.report["warnings"].to_string();
    assert!(warnings.contains("bootloader.fw_env is not set"), "{warnings}");
    let said = succeed(tool("sgdisk").arg("--verify").arg(&disk.path));
    assert!(said.contains("No problems found"), "{said}");

    let config = bench.path("fw_env.config");
    let path = disk.path.display();
    let print = || {
        let said = succeed(tool("fw_printenv").arg("--config").arg(&config));
        let mut lines: Vec<_> =
            said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let board = ["bootcmd=run distro_bootcmd", "bootdelay=0"];
    let state = ["gybe_a=good", "gybe_b=bad", "gybe_end=1", "gybe_order=a"];
    let expected = [&board[..], &state].concat();
    fs::write(&config, format!("{path} 0x80000 0x4000\n{path} 0x84000 0x4000\n")).unwrap();
    assert_eq!(print(), expected);
    // Whichever is lost, the other says the same.
    let bytes = fs::read(&disk.path).unwrap();
    for at in [0x8_0000, 0x8_4000] {
        let mut damaged = bytes.clone();
        damaged[at + 100] ^= 1;
        fs::write(&disk.path, damaged).unwrap();
        assert_eq!(print(), expected, "{at:#x}");
    }

    let refuse = |at: &str, expected: &str| {
        let mut disk = command(&bench, "one", "refused.raw");
        run(disk.args(more).args(["--u-boot-env-at", at])).ended(FAILED, &[expected]);
    };
    refuse("512K", "names 1 places, 2 are needed");
    refuse("512K,520K", "overlaps u-boot_env");
    refuse("8K,512K", "overlaps the partition table");
    refuse("boot.scr,uboot.env", "boot.scr is the same name on FAT");
}

#[test]
fn what_cannot_become_a_disk_is_refused_and_leaves_nothing() {
    let bench = Bench::new("factory-refusals");
    seal(&bench, "one", 1, "grub");
    let config = bench.path("config.toml");
    let refuse = |more: &[&str], expected: &str| {
        run(command(&bench, "one", "refused.raw").args(more)).ended(FAILED, &[expected]);
    };
    let stranger = bench.public_key("stranger");
    refuse(&["--key", stranger.to_str().unwrap()], "1 of 2 required signatures");
    refuse(&["--root-size", "1M"], "--root-size is 1048576 bytes, at least ");
    refuse(&["--boot-size", "16K"], "--boot-size is 16384 bytes, at least ");
    refuse(&["--loader", "uboot"], "bootloader.kind is \"grub\", but the disk is for \"uboot\"");
    refuse(&["--dtb", "a b"], "--dtb: \"a b\" is no path");
    refuse(
        &["--grub-dir", "/nowhere"],
        "/nowhere/x86_64-efi is missing; Debian has it in the package grub-efi-amd64-bin",
    );
    for (text, expected) in [
        ("[customizations]\ntimezone = 1\n", "unknown field `timezone`"),
        ("[customizations.kernel]\nappend = \"init=/bin/sh\"\n", "init=/bin/sh"),
        ("[[customizations.user]]\nname = \"anna\"\ngroups = [\"x\"]\n", "has no group x"),
    ] {
        fs::write(&config, text).unwrap();
        refuse(&["--config", config.to_str().unwrap()], expected);
    }
    let mut disk = command(&bench, "one", "refused.raw");
    disk.env("PATH", "/nowhere");
    // Programs of administrators are found all the same; GRUB's are not among them.
    run(&mut disk)
        .ended(FAILED, &["grub-mkimage is missing; Debian has it in the package grub-common"]);

    // An image that does not trust who signed it.
    let stage = bench.path("own-stage");
    Small { files: 4, changed: 2, ..Small::new(3) }.write(&stage);
    configure(&bench, &stage, "grub");
    put(&stage, "usr/lib/gybe/release.pub", &fs::read(&stranger).unwrap(), 0o644);
    bench.seal(&image(&bench, "image-own", &stage, native()), "own", 3);
    let mut disk = command(&bench, "own", "refused.raw");
    run(&mut disk).ended(FAILED, &["the image does not trust its own release"]);

    // What only a warning is due to: the image may bring what is needed.
    let config = fs::read_to_string(stage.join("usr/lib/gybe/config.toml")).unwrap();
    let config = config.replace("/run/gybe/env", "/boot").replace("by-partlabel/root_b", "by-id/b");
    put(&stage, "usr/lib/gybe/config.toml", config.as_bytes(), 0o644);
    fs::remove_file(stage.join("usr/lib/gybe/trust.toml")).unwrap();
    bench.seal(&image(&bench, "image-odd", &stage, native()), "odd", 4);
    let warnings = Disk::make(&bench, "odd", "odd.raw", &[]).report["warnings"].to_string();
    for expected in [
        "bootloader.environment is /boot/grubenv, but this disk has it at /run/gybe/env/grubenv",
        "slot.b.root is /dev/disk/by-id/b, but",
        "has no /usr/lib/gybe/trust.toml",
    ] {
        assert!(warnings.contains(expected), "{warnings}");
    }

    // A pack that was damaged on its way.
    let parts = Parts::read(&bench.path("one"));
    parts.damage("pack", |bytes| bytes[100] ^= 1);
    run(&mut command(&bench, "one", "refused.raw")).ended(FAILED, &["slot a: "]);
    let left = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.starts_with(".gybe-") || name.starts_with("refused")
    };
    assert!(!fs::read_dir(bench.path("")).unwrap().any(|it| left(&it.unwrap().file_name())));
}
