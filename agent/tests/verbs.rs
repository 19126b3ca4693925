//! The verbs, on a device below a folder, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;
use std::os::unix::fs::FileExt as _;

use fixture::{Device, Recipe, Signed, config};
use serde_json::json;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const NOTHING_NEW: i32 = 4;
const REBOOT: i32 = 5;

#[test]
fn a_new_device_says_that_nothing_is_in_it() {
    let status = Device::new().status();
    assert_eq!(status["version"], 1);
    assert_eq!(status["compatible"], "acme-gateway");
    assert_eq!(status["running"], json!(null));
    for slot in ["a", "b"] {
        assert_eq!(status[slot]["state"], "unbootable");
        assert_eq!(status[slot]["problem"], "no trailer");
    }
    assert_eq!(
        status["environment"],
        json!({
            "kind": "grub", "health": "as from the factory", "whole": true
        })
    );
}

#[test]
fn a_device_is_provisioned_updated_and_committed() {
    let device = Device::new();
    let one = Recipe::new("1.0.0", 1).seal();
    device.gybe(&["install", &one.source()]).ended(USAGE, "hint: name the slot to write");
    let report = device.gybe(&["install", &one.source(), "--slot", "a", "--json"]).done().json();
    assert_eq!(report["slot"], "a");
    assert_eq!(report["armed"], true);
    assert_eq!(report["release"]["version"], "1.0.0");
    assert_eq!(device.status()["a"]["state"], "trial");
    assert_eq!(device.status()["a"]["tries_left"], 3);

    device.boots("a", &one, true);
    assert!(device.gybe(&["commit"]).done().stdout.contains("slot a is committed"));
    assert_eq!(device.status()["a"]["state"], "good");
    assert!(device.gybe(&["mark-good"]).done().stdout.contains("slot a is good already"));

    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let plan = device.gybe(&["plan", &two.source(), "--json"]).done().json();
    let report = device.gybe(&["install", &two.source(), "--json"]).done().json();
    assert_eq!(report["slot"], "b");
    for cost in [&plan["cost"], &report["cost"]] {
        // Three chunks of the root, and one of two of the boot target, are new.
        assert_eq!(cost["copied_bytes"], (22 + 1) * 8 * 4096);
        assert_eq!(cost["unpacked_bytes"], (3 + 1) * 8 * 4096);
        assert_eq!(cost["total_bytes"], (25 + 2) * 8 * 4096);
    }
    let held = fs::read(device.partition("root_b")).unwrap();
    assert_eq!(&held[..two.root.len() * 4096], two.root.as_flattened());
    let status = device.status();
    assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!("trial"), &json!("b")));
    assert_eq!(status["a"]["state"], "good");
    device.gybe(&["verify", "--slots"]).done();
}

#[test]
fn a_reboot_is_told_only_when_asked_for() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    device.gybe(&["install", &two.source(), "--reboot-exit-code"]).ended(REBOOT, "");
    device.gybe(&["install", &two.source(), "--no-arm", "--reboot-exit-code"]).done();
}

#[test]
fn what_is_not_meant_for_the_device_is_refused_and_changes_nothing() {
    let one = Recipe::new("1.0.0", 5).seal();
    let device = Device::with(&one);
    let before = device.status();
    let two = Recipe::new("2.0.0", 6).changed(1);
    let other = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    for (release, why) in [
        (Recipe { key: other, ..two.clone() }, "0 of 1 required signatures"),
        (Recipe { compatible: "acme-camera", ..two.clone() }, "release is for \"acme-camera\""),
        (Recipe { architecture: "s390x", ..two.clone() }, "linux/s390x"),
        (Recipe { rollback_index: 0, ..two.clone() }, "rollback index of the release is 0"),
    ] {
        let release = release.seal();
        for verb in ["install", "plan", "verify", "switch"] {
            device.gybe(&[verb, &release.source()]).ended(REFUSED, why);
        }
    }
    assert_eq!(device.status(), before);
    let slot = fs::read(device.partition("root_b")).unwrap();
    assert!(slot.iter().all(|&byte| byte == 0), "something was written to the inactive slot");
}

#[test]
fn a_signature_over_an_index_is_one_over_the_release_in_the_slot_too() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe { signed: Signed::Index, ..Recipe::new("2.0.0", 2).changed(1) }.seal();
    let device = Device::with(&one);
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    device.gybe(&["commit"]).done();
    device.gybe(&["verify", "--slots"]).done();
}

#[test]
fn a_running_trial_is_kept_or_given_up_before_the_next() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    let three = Recipe::new("3.0.0", 3).changed(2).seal();
    let hint = "hint: keep what runs with gybe commit";
    device.gybe(&["install", &three.source()]).ended(FAILED, hint);
    assert_eq!(device.status()["a"]["release"]["version"], "1.0.0");
}

#[test]
fn a_release_for_a_newer_loader_is_refused() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    let line = fs::read_to_string(device.path("proc/cmdline")).unwrap();
    device.write("proc/cmdline", &line.replace("gybe.loader=1", "gybe.loader=0"));
    let part = "needs version 1 of the loader script, version 0 is running";
    device.gybe(&["install", &two.source()]).ended(REFUSED, part);
    assert_eq!(device.status()["b"]["state"], "unbootable");
}

#[test]
fn the_running_slot_is_never_the_one_to_write() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    let two = Recipe::new("2.0.0", 2).seal();
    let hint = "hint: leave out --slot";
    device.gybe(&["install", &two.source(), "--slot", "a"]).ended(REFUSED, hint);
    // A mistake in the configuration does not make it writable either.
    fs::remove_file(device.partition("root_b")).unwrap();
    std::os::unix::fs::symlink("root_a", device.partition("root_b")).unwrap();
    device.gybe(&["install", &two.source()]).ended(REFUSED, "belongs to the running slot");
    let held = fs::read(device.partition("root_a")).unwrap();
    assert_eq!(&held[..one.root.len() * 4096], one.root.as_flattened());
}

#[test]
fn a_slot_that_cannot_be_written_is_left_alone() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    device.write("proc/mounts", "/dev/root_b /mnt erofs ro 0 0\n");
    let mounted = device.gybe(&["install", &two.source()]).ended(FAILED, "is mounted at /mnt");
    assert!(mounted.stderr.ends_with("hint: unmount it first\n"), "{mounted:#?}");
    device.write("proc/mounts", "");
    let held = fs::File::open(device.partition("root_b")).unwrap();
    held.lock().unwrap();
    device.gybe(&["install", &two.source()]).ended(FAILED, "is held by another program");
    drop(held);
    device.resize("root_b", 150);
    let small = device.gybe(&["install", &two.source()]);
    small.ended(FAILED, "slot too small: root needs").ended(FAILED, "the partition has 614400");
    assert_eq!(device.status()["b"]["state"], "unbootable");
    assert_eq!(device.status()["a"]["state"], "good");
}

#[test]
fn a_trial_that_is_not_what_was_signed_is_not_committed() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &one, true);
    device.gybe(&["commit"]).ended(FAILED, "the kernel was told roothash");
    device.boots("b", &two, true);
    let boot = fs::OpenOptions::new().write(true).open(device.partition("boot_b")).unwrap();
    boot.write_all_at(b"x", 5000).unwrap();
    device.gybe(&["commit"]).ended(FAILED, "the boot target of slot b is not what was signed");
    assert_eq!(device.status()["b"]["state"], "trial");
    let found = device.gybe(&["verify", "--slots", "--json"]).ended(FAILED, "").json();
    let right = |at: usize| found["slots"][at]["right"].clone();
    assert_eq!((right(0), right(1)), (json!(true), json!(false)));
    boot.write_all_at(&two.boot.as_flattened()[5000..5001], 5000).unwrap();
    device.gybe(&["commit"]).done();
    assert_eq!(device.status()["b"]["state"], "good");
}

#[test]
fn a_rollback_says_what_happens_next() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    device.gybe(&["rollback"]).ended(FAILED, "No rollback available");
    device.gybe(&["install", &two.source()]).done();
    let cancelled = device.gybe(&["rollback", "--json", "--reboot-exit-code"]).done().json();
    assert_eq!(cancelled["done"], "trial-cancelled");
    assert_eq!(device.status()["b"]["state"], "proven");

    // What is proven is armed without writing it again.
    let again = device.gybe(&["install", &two.source(), "--json"]).done().json();
    assert_eq!((&again["armed"], &again["cost"]), (&json!(true), &json!(null)));
    device.boots("b", &two, true);
    device.gybe(&["commit"]).done();
    let back = device.gybe(&["rollback", "--json", "--reboot-exit-code"]).ended(REBOOT, "").json();
    assert_eq!((&back["done"], &back["next_boot"]), (&json!("preferred"), &json!("a")));
    let taken = device.gybe(&["rollback", "--json"]).done().json();
    assert_eq!((&taken["done"], &taken["next_boot"]), (&json!("taken-back"), &json!("b")));
}

#[test]
fn a_given_up_release_is_not_taken_again_unless_asked_for() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    device.gybe(&["switch", &two.source()]).done();
    device.boots("b", &two, true);
    device.gybe(&["rollback"]).done();
    device.boots("a", &one, false);
    let status = device.status();
    assert_eq!(
        (&status["b"]["state"], &status["b"]["reason"]),
        (&json!("failed"), &json!("operator"))
    );
    assert_eq!(status["last_fallback"]["from"]["version"], "2.0.0");
    assert_eq!(status["last_fallback"]["to"]["version"], "1.0.0");
    assert_eq!(status["last_fallback"]["tries"], 3);

    let check = device.gybe(&["check", "--json"]).ended(NOTHING_NEW, "").json();
    assert_eq!(check["why"], "it failed on this device before: operator");
    assert!(device.gybe(&["upgrade"]).done().stdout.contains("No update available: it failed"));
    // The state is a cache: without it the environment and the trailer still know.
    fs::remove_file(device.path("var/lib/gybe/state")).unwrap();
    device.write("etc/gybe/config.toml", &format!("reference = \"{}\"\n", two.source()));
    device.gybe(&["upgrade", "--check"]).ended(NOTHING_NEW, "");
    device.gybe(&["upgrade", "--retry-failed"]).done();
    assert_eq!(device.status()["b"]["state"], "trial");
}

#[test]
fn the_tracked_reference_only_leads_forward() {
    let one = Recipe::new("1.0.0", 10).seal();
    let older = Recipe::new("0.9.0", 9).changed(1).seal();
    let newer = Recipe::new("1.1.0", 11).changed(1).seal();
    let device = Device::with(&one);
    device.gybe(&["check"]).ended(FAILED, "hint: run gybe switch REF once");
    let track = |source: &str| {
        device.write("etc/gybe/config.toml", &format!("reference = \"{source}\"\n"));
    };
    for (release, why) in
        [(&one, "it is running already"), (&older, "its sequence 9 is not above 10")]
    {
        track(&release.source());
        let nothing = device.gybe(&["upgrade"]).done();
        assert!(nothing.stdout.contains(&format!("No update available: {why}")), "{nothing:#?}");
        device.gybe(&["check"]).ended(NOTHING_NEW, "");
    }
    track(&newer.source());
    assert!(device.gybe(&["check"]).done().stdout.starts_with("Update available for: oci:"));
    assert_eq!(device.status()["b"]["state"], "unbootable");
    device.gybe(&["upgrade", "--download-only"]).done();
    assert_eq!(device.status()["b"]["state"], "proven");
    let armed = device.gybe(&["upgrade", "--json"]).done().json();
    assert_eq!((&armed["armed"], &armed["cost"]), (&json!(true), &json!(null)));
    let twice = device.gybe(&["upgrade", "--reboot-exit-code"]).ended(REBOOT, "");
    assert!(twice.stdout.contains("it is armed in slot b already"));
    // By hand one may go back, as far as the rollback index allows.
    device.gybe(&["install", &older.source()]).done();
    assert_eq!(device.status()["b"]["release"]["version"], "0.9.0");
}

#[test]
fn a_damaged_source_is_named_and_the_device_goes_on() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(2).seal();
    let device = Device::with(&one);
    let pack = fs::OpenOptions::new().write(true).open(two.blob(two.pack)).unwrap();
    // The last chunk of the root: one of those that are fetched.
    let at = 24 * 8 * 4096 + 17;
    pack.write_all_at(&[two.root.as_flattened()[at] ^ 1], at as u64).unwrap();
    device.gybe(&["verify", &two.source()]).ended(FAILED, "is corrupt");
    device.gybe(&["install", &two.source()]).ended(FAILED, "frame 24 is damaged");
    let status = device.status();
    assert_eq!(
        (&status["a"]["state"], &status["b"]["state"]),
        (&json!("good"), &json!("unbootable"))
    );
    assert_eq!(status["b"]["interrupted"], true);
    assert_eq!(status["next_boot"], "a");
    pack.write_all_at(&[two.root.as_flattened()[at]], at as u64).unwrap();
    let report = device.gybe(&["install", &two.source(), "--json"]).done().json();
    assert!(report["cost"]["skipped_bytes"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(device.status()["b"]["state"], "trial");
}

#[test]
fn an_environment_in_one_copy_works_and_in_none_says_so() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    fs::write(device.path("boot/env/grubenv"), "").unwrap();
    let status = device.status();
    assert_eq!(status["environment"]["whole"], false);
    assert_eq!(status["a"]["state"], "good");
    device.gybe(&["install", &two.source()]).done();
    assert_eq!(device.status()["environment"]["health"], "whole");

    for copy in ["boot/env/grubenv", "boot/env/grubenv.safe"] {
        fs::write(device.path(copy), "").unwrap();
    }
    let status = device.status();
    assert_eq!(status["environment"]["whole"], false);
    assert_eq!(status["a"]["state"], "unknown");
    assert_eq!(status["next_boot"], json!(null));
    let hint = "hint: make both files anew with grub-editenv";
    device.gybe(&["install", &two.source()]).ended(FAILED, hint);
    device.gybe(&["commit"]).ended(FAILED, "boot environment");
    // A running device whose environment is not there at all has lost it.
    for copy in ["boot/env/grubenv", "boot/env/grubenv.safe"] {
        fs::remove_file(device.path(copy)).unwrap();
    }
    device.gybe(&["install", &two.source()]).ended(FAILED, "boot environment");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let device = Device::new();
    device.write("usr/lib/gybe/config.toml", &config("x").replace("kind", "knd"));
    let part = "config.toml:9: unknown key bootloader.knd, did you mean kind?";
    device.gybe(&["status"]).ended(FAILED, part);
    device.write("usr/lib/gybe/config.toml", &config("x"));
    device.write("etc/gybe/config.toml", "compatible = \"y\"\n");
    device.gybe(&["status"]).ended(FAILED, "compatible may only be set in the verified image");
}

#[test]
fn a_folder_that_is_no_device_stays_as_it_is() {
    let device = Device::new();
    fs::remove_dir_all(device.path("usr")).unwrap();
    device.gybe(&["commit"]).ended(FAILED, "config.toml does not exist");
    assert!(!device.path("var").exists());
}

#[test]
fn a_healthy_device_is_not_written_to() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    let files = ["boot/env/grubenv", "boot/env/grubenv.safe", "var/lib/gybe/state", "dev/root_a"];
    let times = || files.map(|file| fs::metadata(device.path(file)).unwrap().modified().unwrap());
    let before = times();
    device.gybe(&["status"]).done();
    device.gybe(&["commit"]).done();
    device.gybe(&["verify", "--slots"]).done();
    device.write("etc/gybe/config.toml", &format!("reference = \"{}\"\n", one.source()));
    device.gybe(&["upgrade"]).done();
    device.gybe(&["check"]).ended(NOTHING_NEW, "");
    assert_eq!(times(), before);
}

#[test]
fn progress_is_json_lines_before_the_report() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::new();
    let arguments = ["install", &one.source(), "--slot", "b", "--json", "--progress=json"];
    let ended = device.gybe(&arguments).done();
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, progress) = lines.split_last().unwrap();
    assert_eq!(report["slot"], "b");
    assert!(progress.len() > 2);
    assert!(progress.iter().all(|line| line["event"] == "progress" && line["version"] == 1));
    let done = |line: &serde_json::Value| line["done_bytes"].as_u64().unwrap();
    for pair in progress.windows(2) {
        assert!(pair[0]["phase"] != pair[1]["phase"] || done(&pair[0]) <= done(&pair[1]));
    }
    assert_eq!(device.gybe(&["status"]).done().stdout.matches("\u{1b}").count(), 0);
}
