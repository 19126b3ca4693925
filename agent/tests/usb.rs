//! Sticks, by the real binary: a folder below the device's stands for one that is mounted.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;

use ed25519_dalek::SigningKey;
use fixture::{Device, Ended, Recipe, Release, config};
use serde_json::Value;

const FAILED: i32 = 1;
const REFUSED: i32 = 3;
const REBOOT: i32 = 5;

/// Where the stick is, as the device sees it.
const STICK: &str = "/dev/stick";

/// A device that runs a release, and a stick that is plugged in.
struct Bench {
    device: Device,
}

impl Bench {
    fn new() -> Self {
        Self::with(&Recipe::new("1.0.0", 1).seal())
    }

    fn with(release: &Release) -> Self {
        let device = Device::with(release);
        fs::create_dir_all(device.path("dev/stick")).unwrap();
        Self { device }
    }

    /// Puts a release onto the stick, in a folder of this name.
    fn folder(&self, name: &str, release: &Release) {
        let to = self.device.path("dev/stick").join(name);
        run(Command::new("cp").arg("-r").arg(release.folder()).arg(to));
    }

    /// Puts a release onto the stick, in a file of this name.
    fn file(&self, name: &str, release: &Release) {
        let to = self.device.path("dev/stick").join(name);
        let mut tar = Command::new("tar");
        run(tar.arg("-C").arg(release.folder()).arg("-cf").arg(to).arg("."));
    }

    fn plug_in(&self) -> Ended {
        self.device.gybe(&["usb", STICK])
    }

    /// What may not change when nothing is installed.
    fn snapshot(&self) -> Vec<Vec<u8>> {
        let files = ["dev/root_a", "dev/boot_a", "dev/root_b", "dev/boot_b", "boot/env/grubenv"];
        files.iter().map(|file| fs::read(self.device.path(file)).unwrap()).collect()
    }

    /// Claims that plugging in ends with `code`, says `part`, and changes nothing.
    #[track_caller]
    fn changes_nothing(&self, code: i32, part: &str) {
        let before = self.snapshot();
        let ended = self.plug_in();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(said.contains(part), "{part:?} is not in {ended:#?}");
        assert!(before == self.snapshot(), "{part}: something was written");
    }

    fn installed(&self) -> Value {
        self.device.status()["b"]["release"]["version"].clone()
    }
}

fn run(command: &mut Command) {
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn a_stick_with_a_release_for_this_device_installs_it_and_what_is_tracked_stays() {
    for place in ["gybe", "GYBE", "", "update.gybe.tar", "gybe/update.GYBE.TAR"] {
        let bench = Bench::new();
        let online = Recipe::new("0.9.0", 0).seal();
        let tracked = format!("reference = \"{}\"\n", online.source());
        bench.device.write("etc/gybe/config.toml", &tracked);
        let two = Recipe::new("2.0.0", 2).changed(3).seal();
        match place {
            "" => {
                fs::remove_dir(bench.device.path("dev/stick")).unwrap();
                bench.folder("", &two);
            }
            file if file.ends_with("ar") || file.ends_with("AR") => {
                fs::create_dir_all(bench.device.path("dev/stick/gybe")).unwrap();
                bench.file(file, &two);
            }
            folder => bench.folder(folder, &two),
        }
        let report = bench.device.gybe(&["usb", STICK, "--json"]).done().json();
        assert_eq!(report["armed"], true, "{place}");
        assert!(report["cost"]["copied_bytes"].as_u64().unwrap() > 0);
        let status = bench.device.status();
        assert_eq!(status["b"]["state"], "trial", "{place}");
        assert_eq!(status["reference"], online.source(), "{place}");
        let state = fs::read_to_string(bench.device.path("var/lib/gybe/state")).unwrap();
        assert!(state.contains(r#""reference":null"#), "{state}");
        // Plugged in again, as by a boot with the stick still in.
        let again = bench.device.gybe(&["usb", STICK, "--json"]).done().json();
        assert_eq!(again["installed"], false);
        assert_eq!(again["why"], "2.0.0 is armed in slot b already");
        bench.device.boots("b", &two, true);
        bench.device.gybe(&["commit"]).done();
        let ended = bench.plug_in().done();
        assert!(ended.stdout.contains("2.0.0: it is running already"), "{ended:?}");
    }
}

#[test]
fn a_corrupt_stick_is_reported_before_the_slot_is_touched() {
    let bench = Bench::new();
    let two = Recipe::new("2.0.0", 2).changed(2).seal();
    // A chunk that this device would not even read: the whole bundle counts.
    let file = fs::OpenOptions::new().read(true).write(true).open(two.blob(two.pack)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 17).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 17).unwrap();
    bench.folder("gybe", &two);
    bench.changes_nothing(FAILED, "is corrupt");
    // And one that ends early.
    file.set_len(4096).unwrap();
    fs::remove_dir_all(bench.device.path("dev/stick/gybe")).unwrap();
    bench.folder("gybe", &two);
    bench.changes_nothing(FAILED, "is 4096 bytes, its descriptor says");
}

#[test]
fn a_stick_without_a_bundle_is_none_of_our_business() {
    let bench = Bench::new();
    bench.changes_nothing(0, "nothing is installed: there is no bundle on it");
    bench.device.write("dev/stick/holiday/photo.jpg", "x");
    bench.device.write("dev/stick/._update.gybe.tar", "left by another system");
    bench.device.write("dev/stick/gybe/readme.txt", "x");
    bench.changes_nothing(0, "there is no bundle on it");
    bench.device.write("dev/plain", "x");
    bench.device.gybe(&["usb", "/dev/plain"]).ended(FAILED, "/dev/plain is not a block device");
    bench.device.gybe(&["usb", "/dev/none"]).ended(FAILED, "/dev/none: No such file");
}

#[test]
fn an_unsigned_or_foreign_stick_changes_nothing_and_says_why() {
    let stranger = SigningKey::from_bytes(&[8; 32]);
    let two = || Recipe::new("2.0.0", 2).changed(1);
    for (recipe, why) in [
        (Recipe { key: stranger, ..two() }, "not made by a trusted key"),
        (Recipe { compatible: "other-gateway", ..two() }, "other-gateway"),
        (Recipe { architecture: "s390x", ..two() }, "a release for linux/s390x"),
        (Recipe { rollback_index: 0, ..two() }, "rollback"),
    ] {
        let bench = Bench::new();
        bench.folder("gybe", &recipe.seal());
        bench.changes_nothing(REFUSED, why);
    }
    let bench = Bench::new();
    let unsigned = two().seal();
    let index = unsigned.folder().join("index.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let tag = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    json["manifests"].as_array_mut().unwrap().retain(|entry| tag(entry) == "release");
    fs::write(&index, json.to_string()).unwrap();
    // Nor may a small blob that nothing names be one.
    for entry in fs::read_dir(unsigned.folder().join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        if String::from_utf8_lossy(&text).contains("simplesigning") {
            fs::remove_file(path).unwrap();
        }
    }
    bench.folder("gybe", &unsigned);
    bench.changes_nothing(REFUSED, "0 of 1 required signatures");
    bench.device.write("dev/stick/gybe/index.json", "{");
    bench.changes_nothing(REFUSED, "index.json");
}

#[test]
fn a_stick_goes_only_forward_and_by_hand_one_may_go_back() {
    let bench = Bench::with(&Recipe::new("2.0.0", 2).seal());
    let one = Recipe::new("1.0.0", 1).changed(1).seal();
    bench.folder("gybe", &one);
    bench.changes_nothing(REFUSED, "1.0.0 is not installed: its sequence 1 is not above 2");
    bench.device.gybe(&["install", &one.source()]).done();
    assert_eq!(bench.installed(), "1.0.0");
}

#[test]
fn of_several_bundles_the_newest_for_this_device_is_taken() {
    let bench = Bench::new();
    let stranger = SigningKey::from_bytes(&[8; 32]);
    bench.folder("gybe", &Recipe::new("2.0.0", 2).changed(1).seal());
    bench.file("b.gybe.tar", &Recipe::new("3.0.0", 3).changed(2).seal());
    bench.file("c.gybe.tar", &Recipe { key: stranger, ..Recipe::new("4.0.0", 4) }.seal());
    bench.device.write("dev/stick/a.gybe.tar", "no archive at all");
    bench.plug_in().ended(0, "release passed over");
    assert_eq!(bench.installed(), "3.0.0");
}

#[test]
fn nothing_is_installed_during_a_trial() {
    let one = Recipe::new("1.0.0", 1).seal();
    let bench = Bench::with(&one);
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    bench.device.gybe(&["install", &two.source()]).done();
    bench.device.boots("b", &two, true);
    bench.folder("gybe", &Recipe::new("3.0.0", 3).changed(2).seal());
    bench.changes_nothing(FAILED, "hint: keep what runs with gybe commit");
    bench.device.gybe(&["commit"]).done();
    bench.plug_in().done();
    assert_eq!(bench.device.status()["a"]["release"]["version"], "3.0.0");
}

#[test]
fn sticks_are_switched_off_in_either_file_and_not_on_in_etc() {
    let image = config("acme-gateway");
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    for (ours, etc) in [("", "enabled = false"), ("[usb]\nenabled = false\n", "enabled = true")] {
        let bench = Bench::new();
        bench.device.write("usr/lib/gybe/config.toml", &format!("{image}{ours}"));
        bench.device.write("etc/gybe/config.toml", &format!("[usb]\n{etc}\n"));
        bench.folder("gybe", &two);
        bench.changes_nothing(0, "usb.enabled is false in the configuration");
    }
    let bench = Bench::new();
    bench.device.write("etc/gybe/config.toml", "[usb]\nreboot = \"later\"\n");
    bench.plug_in().ended(FAILED, "config.toml:2: usb.reboot is not now or wait");
    bench.device.write("etc/gybe/config.toml", "[usb]\nenabled = \"yes\"\n");
    bench.plug_in().ended(FAILED, "usb.enabled is not true or false but of type string");
}

#[test]
fn what_follows_is_what_the_configuration_says() {
    for (text, reboots) in [("", false), ("[usb]\nreboot = \"now\"\n", true)] {
        let bench = Bench::new();
        bench.device.write("etc/gybe/config.toml", text);
        bench.folder("gybe", &Recipe::new("2.0.0", 2).changed(1).seal());
        let ended = bench.device.gybe(&["usb", STICK, "--reboot-exit-code", "--progress=lines"]);
        let ended = ended.ended(REBOOT, "verify    [##############################] 100 %");
        assert_eq!(ended.stderr.contains("below a folder nothing reboots"), reboots, "{ended:?}");
    }
}

#[test]
fn links_on_a_stick_lead_nowhere() {
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let bench = Bench::new();
    symlink(two.folder(), bench.device.path("dev/stick/gybe")).unwrap();
    bench.changes_nothing(0, "there is no bundle on it");
    let elsewhere = bench.device.path("elsewhere.tar");
    bench.file("../../elsewhere.tar", &two);
    assert!(Path::new(&elsewhere).exists());
    symlink(&elsewhere, bench.device.path("dev/stick/a.gybe.tar")).unwrap();
    bench.changes_nothing(REFUSED, "a.gybe.tar: cannot open the directory: is a symbolic link");
    run(Command::new("mkfifo").arg(bench.device.path("dev/stick/b.gybe.tar")));
    bench.changes_nothing(REFUSED, "is neither a folder nor a regular file");
}

#[test]
fn names_that_a_stranger_chose_do_not_reach_the_console_as_they_are() {
    let bench = Bench::new();
    bench.device.write("dev/stick/\u{1b}[2J.gybe.tar", "no archive");
    let ended = bench.plug_in().ended(REFUSED, "\u{fffd}[2J.gybe.tar");
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains('\u{1b}'), "{ended:?}");
}

#[test]
fn looking_at_a_stick_has_limits() {
    let bench = Bench::new();
    for number in 0..40 {
        bench.device.write(&format!("dev/stick/{number:02}.gybe.tar"), "no archive");
    }
    let ended = bench.plug_in().ended(REFUSED, "nothing on it is for this device");
    assert_eq!(ended.stderr.matches("bundle passed over").count(), 16, "{ended:?}");
    let bench = Bench::new();
    bench.device.write("dev/stick/gybe/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let file = fs::File::create(bench.device.path("dev/stick/gybe/index.json")).unwrap();
    // A hole: only a reader without a limit would read a terabyte.
    file.set_len(1 << 40).unwrap();
    bench.changes_nothing(REFUSED, "index.json is 1099511627776 bytes, limit 1048576");
}
