//! `gybe doctor` on devices below a folder, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use boots::{ENVIRONMENT, REQUIRED, script};
use fixture::{Device, Recipe};
use serde_json::Value;

const FAILED: i32 = 1;

/// A device that lacks nothing.
fn fit() -> Device {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    device.gybe(&["commit"]).done();
    for name in ["boot_a", "boot_b"] {
        fs::OpenOptions::new()
            .write(true)
            .open(device.partition(name))
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
    }
    let line = fs::read_to_string(device.path("proc/cmdline")).unwrap();
    device.write("proc/cmdline", &format!("panic=10 rd.emergency=reboot {line}"));
    let systems = "nodev\toverlay\n\text4\n\tvfat\n";
    device.write("proc/filesystems", systems);
    device.write("proc/sys/kernel/osrelease", "6.12.0-gybe\n");
    let list =
        "kernel/fs/erofs/erofs.ko.zst: kernel/lib/x.ko\nkernel/drivers/md/dm-verity.ko: a.ko\n";
    device.write("lib/modules/6.12.0-gybe/modules.dep", list);
    device.write("sys/module/pstore/parameters/backend", "ramoops\n");
    device.write("dev/watchdog0", "");
    device.write("sys/class/watchdog/watchdog0/identity", "i6300ESB timer\n");
    script(&device, &format!("{REQUIRED}/10_ok.sh"), "exit 0");
    for unit in [
        "basic.target.wants/gybe-health.service",
        "boot-complete.target.requires/gybe-health.service",
        "sysinit.target.wants/gybe-trial-deadline.service",
    ] {
        let path = device.path("etc/systemd/system").join(unit);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(Path::new("/usr/lib/systemd/system").join(path.file_name().unwrap()), path)
            .unwrap();
    }
    device
}

/// What is not as it should be: level, and what it is about.
fn complaints(diagnosis: &Value) -> Vec<String> {
    let findings = diagnosis["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["level"] != "ok");
    findings
        .map(|it| format!("{} {}", it["level"].as_str().unwrap(), it["what"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_fit_device_is_found_fit_and_nothing_is_changed() {
    let device = fit();
    let files = [ENVIRONMENT, "boot/env/grubenv.safe", "var/lib/gybe/state"];
    let times = || files.map(|file| fs::metadata(device.path(file)).unwrap().modified().unwrap());
    let before = times();
    let diagnosis = device.gybe(&["doctor", "--json"]).done().json();
    assert_eq!((complaints(&diagnosis), &diagnosis["fit"]), (vec![], &Value::Bool(true)));
    let shown = device.gybe(&["doctor"]).done().stdout;
    for line in
        ["ok    loader: contract version 1\n", "ok    watchdog: /dev/watchdog0 i6300ESB timer\n"]
    {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert_eq!(times(), before);
}

fn enable(device: &Device, unit: &str) {
    let path = device.path("etc/systemd/system").join(unit);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(Path::new("/usr/lib/systemd/system").join(path.file_name().unwrap()), path).unwrap();
}

/// Makes the daemon look, as `pull` says.
fn looks(device: &Device, pull: &str) {
    enable(device, "multi-user.target.wants/gybe.service");
    let config = format!("reference = \"oci:/media/stick\"\n[pull]\n{pull}");
    device.write("etc/gybe/config.toml", &config);
}

#[test]
fn who_looks_and_has_all_it_needs_is_fit() {
    let device = fit();
    looks(&device, "seed = \"1\"\nreboot = \"window\"\nwindows = [\"02:00-04:00\"]\n");
    device.write("run/systemd/timesync/synchronized", "");
    let shown = device.gybe(&["doctor"]).done().stdout;
    assert!(shown.contains("ok    looks: gybe.service looks at oci:/media/stick\n"), "{shown}");
    assert_eq!(complaints(&device.gybe(&["doctor", "--json"]).done().json()), [""; 0]);
}

#[test]
fn each_thing_that_is_missing_is_named_with_what_to_do() {
    let edit = |device: &Device, path: &str, from: &str, to: &str| {
        let text = fs::read_to_string(device.path(path)).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        device.write(path, &text.replace(from, to));
    };
    let remove = |device: &Device, path: &str| {
        let path = device.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&Device));
    let cases: &[Case<'_>] = &[
        ("fail panic", &|it| edit(it, "proc/cmdline", "panic=10 ", "")),
        ("fail panic", &|it| edit(it, "proc/cmdline", "panic=10", "panic=10 panic=0")),
        ("warn initramfs", &|it| edit(it, "proc/cmdline", "rd.emergency=reboot", "")),
        ("fail loader", &|it| edit(it, "proc/cmdline", "gybe.loader=1", "gybe.loader=2")),
        ("fail root hash", &|it| edit(it, "proc/cmdline", "roothash=", "x=")),
        ("fail running slot", &|it| it.write("proc/cmdline", "panic=1 rd.emergency=reboot")),
        ("fail configuration", &|it| remove(it, "usr/lib/gybe/config.toml")),
        ("fail trust", &|it| remove(it, "usr/lib/gybe/trust.toml")),
        ("fail partitions", &|it| remove(it, "dev/boot_a")),
        ("warn partitions", &|it| it.resize("root_a", 400)),
        ("warn environment", &|it| it.write("boot/env/grubenv.safe", "")),
        ("fail kernel", &|it| remove(it, "lib/modules")),
        ("warn kernel", &|it| edit(it, "proc/filesystems", "overlay", "x")),
        ("warn pstore", &|it| it.write("sys/module/pstore/parameters/backend", "(null)\n")),
        ("warn watchdog", &|it| remove(it, "dev/watchdog0")),
        ("warn watchdog", &|it| it.write("sys/class/watchdog/watchdog0/nowayout", "1\n")),
        ("warn watchdog", &|it| {
            it.write("etc/gybe/config.toml", "[health]\nwatchdog = \"none\"\n")
        }),
        ("fail checks", &|it| remove(it, REQUIRED)),
        ("warn checks", &|it| remove(it, &format!("{REQUIRED}/10_ok.sh"))),
        ("warn health unit", &|it| remove(it, "etc/systemd/system/basic.target.wants")),
        ("fail health unit", &|it| {
            remove(it, "etc/systemd/system/basic.target.wants");
            remove(it, "etc/systemd/system/boot-complete.target.requires");
        }),
        ("warn deadline", &|it| remove(it, "etc/systemd/system/sysinit.target.wants")),
        ("fail health unit", &|it| {
            it.write("usr/lib/systemd/system/greenboot-healthcheck.service", "");
        }),
        ("fail state", &|it| it.write("run/gybe/state-lost", "no file system\n")),
        ("fail state", &|it| it.write("run/gybe/ambiguous", "sda sdb\n")),
        ("warn looks", &|it| {
            enable(it, "multi-user.target.wants/gybe.service");
            enable(it, "timers.target.wants/gybe-upgrade.timer");
        }),
        ("warn looks", &|it| enable(it, "timers.target.wants/gybe-upgrade.timer")),
        ("warn rollout", &|it| looks(it, "")),
        ("warn windows", &|it| looks(it, "seed = \"1\"\nreboot = \"window\"\n")),
        ("warn windows", &|it| {
            looks(it, "seed = \"1\"\nreboot = \"window\"\nwindows = [\"02:00-04:00\"]\n");
        }),
    ];
    for (index, (expected, change)) in cases.iter().enumerate() {
        let device = fit();
        change(&device);
        let ended = device.gybe(&["doctor", "--json"]);
        let diagnosis = ended.json();
        let found = complaints(&diagnosis);
        assert!(found.contains(&(*expected).to_owned()), "case {index}: {expected}: {diagnosis}");
        let code = if found.iter().any(|it| it.starts_with("fail")) { FAILED } else { 0 };
        assert_eq!(ended.code, code, "case {index}: {found:?}");
        let named = |it: &&Value| it["level"] != "ok";
        for finding in diagnosis["findings"].as_array().unwrap().iter().filter(named) {
            assert!(finding["todo"].is_string(), "{finding}");
        }
    }
}
