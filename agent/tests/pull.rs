//! Releases taken without anybody asking, on a device below a folder, as a timer would have it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;

use boots::{Booted, REQUIRED};
use fixture::{Device, Ended, Recipe, Release};
use serde_json::{Value, json};

const FAILED: i32 = 1;
const REFUSED: i32 = 3;
const REBOOT: i32 = 5;
/// What makes the clock of a device below a folder one that can be believed.
const SYNCHRONISED: &str = "run/systemd/timesync/synchronized";

/// Makes the device follow `source`, with more of its own configuration.
fn follow(device: &Device, source: &str, more: &str) {
    let config = format!("reference = \"{source}\"\n[pull]\n{more}");
    device.write("etc/gybe/config.toml", &config);
    device.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
}

fn automatic(device: &Device) -> Ended {
    device.gybe(&["upgrade", "--automatic", "--reboot-exit-code"])
}

/// The boot of that number, so many seconds old.
fn boot(device: &Device, number: u32, uptime_s: u64) {
    let id = format!("{number:08x}-0000-4000-8000-000000000000\n");
    device.write("proc/sys/kernel/random/boot_id", &id);
    device.write("proc/uptime", &format!("{uptime_s}.00 1.00\n"));
}

fn pull(device: &Device) -> Value {
    device.status()["pull"].clone()
}

/// The words of all transitions, oldest first.
fn told(device: &Device) -> Vec<String> {
    let transitions = pull(device)["transitions"].as_array().unwrap().clone();
    let word = |it: &Value| {
        let reason = it["reason"].as_str().map(|reason| format!(" {reason}"));
        format!("{}{}", it["transition"].as_str().unwrap(), reason.unwrap_or_default())
    };
    transitions.iter().rev().map(word).collect()
}

#[test]
fn what_is_newer_is_taken_and_updated_is_told_only_after_the_commit() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &one.source(), "");
    automatic(&device).done();
    assert_eq!(told(&device), [""; 0]);
    follow(&device, &two.source(), "");
    let said = automatic(&device).ended(REBOOT, "").stdout;
    assert!(said.contains("2.0.0 is armed"), "{said}");
    assert_eq!(told(&device), ["armed"]);
    let armed = pull(&device)["transitions"][0].clone();
    assert_eq!(
        (&armed["from"]["version"], &armed["to"]["version"]),
        (&json!("1.0.0"), &json!("2.0.0"))
    );
    assert!(armed["cost"]["fetched_bytes"].as_u64().unwrap() > 4 * 8 * 4096);
    // It is on trial: nothing is looked at, and nothing is said.
    device.boots("b", &two, true);
    let before = pull(&device)["looks"].clone();
    automatic(&device).done();
    assert_eq!((told(&device), pull(&device)["looks"].clone()), (vec!["armed".to_owned()], before));
    device.gybe(&["commit"]).done();
    assert_eq!(told(&device), ["armed", "updated"]);
    device.gybe(&["commit"]).done();
    automatic(&device).done();
    assert_eq!(told(&device), ["armed", "updated"]);
}

#[test]
fn every_older_signed_release_is_replayed_and_none_is_taken() {
    let releases: Vec<Release> = (1..=6)
        .map(|it| Recipe::new("x", it).changed(usize::try_from(it).unwrap()).seal())
        .collect();
    let device = Device::with(&releases[3]);
    let slot = || fs::read(device.partition("root_b")).unwrap();
    let before = slot();
    // A moved tag or an old mirror offers each of them, again and again.
    for release in [0, 1, 2, 3, 2, 1, 0] {
        follow(&device, &releases[release].source(), "");
        let said = automatic(&device).done().stdout;
        assert!(said.contains("no update available"), "{said}");
        assert_eq!(slot(), before, "release {release}");
    }
    follow(&device, &releases[5].source(), "");
    automatic(&device).ended(REBOOT, "");
    let armed = slot();
    // Nor does a tag that goes back take away what is armed, though it is newer than what runs.
    for (number, release) in releases.iter().enumerate().take(5) {
        follow(&device, &release.source(), "");
        let said = automatic(&device).done().stdout;
        assert!(said.contains("no update available"), "{said}");
        assert_eq!(slot(), armed, "release {number}");
    }
}

#[test]
fn a_rollout_is_changed_by_signing_again() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "channel = \"stable\"\n");
    let waits = |says: &[(&str, &str)], why: &str| {
        two.sign_again(says);
        let said = automatic(&device).done().stdout;
        assert!(said.contains(why), "{why:?} is not in {said}");
        assert_eq!(device.status()["next_boot"], "a");
        assert_eq!(pull(&device)["waiting"]["reason"], "rollout");
    };
    let stable = ("dev.gybe.channel", "stable");
    waits(&[], "the release is for no channel");
    waits(&[("dev.gybe.channel", "beta")], "the release is for the channel \"beta\"");
    waits(&[stable, ("dev.gybe.issued", "10"), ("dev.gybe.rollout", "0")], "the rollout is at 0 %");
    let paused = ("dev.gybe.paused", "true");
    waits(&[stable, ("dev.gybe.issued", "20"), paused], "the rollout is paused");
    // A source that withholds the newest statement: what was seen stays in force.
    two.sign_again(&[stable, ("dev.gybe.issued", "10")]);
    let ended = automatic(&device).ended(0, "withholds a newer statement");
    assert!(ended.stdout.contains("the rollout is paused"), "{}", ended.stdout);
    let checked = device.gybe(&["check", "--json"]).done().json();
    assert_eq!(
        (&checked["available"], &checked["rollout"]),
        (&json!(true), &json!("the rollout is paused"))
    );
    // By hand one may be ahead, and is told so.
    device.gybe(&["upgrade", "--download-only"]).ended(0, "taken by hand, although the rollout is");
    two.sign_again(&[stable, ("dev.gybe.issued", "30"), ("dev.gybe.rollout", "100")]);
    automatic(&device).ended(REBOOT, "");
}

#[test]
fn a_rollout_that_makes_no_sense_is_for_nobody() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "");
    two.sign_again(&[("dev.gybe.rollout", "all")]);
    let said = automatic(&device).ended(REFUSED, "").stdout;
    assert!(said.contains("annotation dev.gybe.rollout is \"all\""), "{said}");
    assert_eq!(told(&device), ["trouble refused"]);
}

#[test]
fn trouble_is_told_once_and_backed_off_over_reboots() {
    let one = Recipe::new("1.0.0", 1).seal();
    let other = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let unsigned = Recipe { key: other, ..Recipe::new("2.0.0", 2).changed(1) }.seal();
    let hour = 3600;
    for (source, code, class) in [
        ("oci:/nowhere/at-all:stable".to_owned(), FAILED, "not-found"),
        (unsigned.source(), REFUSED, "unsigned"),
    ] {
        let device = Device::with(&one);
        follow(&device, &source, "interval_s = 3600\n");
        let looks = || pull(&device)["looks"].as_u64().unwrap();
        boot(&device, 1, 1000);
        automatic(&device).ended(code, class);
        for uptime_s in [1001, 1000 + hour - 1] {
            boot(&device, 1, uptime_s);
            automatic(&device).done();
            assert_eq!(looks(), 1, "{class}: it was asked again too early");
        }
        boot(&device, 1, 1000 + 2 * hour);
        automatic(&device).ended(code, "");
        assert_eq!(looks(), 2);
        // The pause is twice as long now, and a reboot does not make it shorter.
        for (number, uptime_s) in [(2, 10), (2, hour), (3, 10)] {
            boot(&device, number, uptime_s);
            automatic(&device).done();
            assert_eq!(looks(), 2, "{class}: a reboot made it ask again");
        }
        boot(&device, 3, 3 * hour);
        automatic(&device).ended(code, "");
        assert_eq!(looks(), 3);
        assert_eq!(told(&device), [format!("trouble {class}")], "it is told once");
        assert_eq!(pull(&device)["trouble"]["class"], class);
        // What was wrong is over, and the next time it is news again.
        follow(&device, &one.source(), "interval_s = 3600\n");
        boot(&device, 3, 30 * hour);
        automatic(&device).done();
        assert_eq!(pull(&device)["trouble"], json!(null));
        follow(&device, &source, "interval_s = 3600\n");
        automatic(&device).ended(code, class);
        assert_eq!(told(&device).len(), 2);
    }
}

#[test]
fn a_digest_that_fell_back_is_not_tried_again() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_bad.sh"), "#!/bin/sh\nexit 1\n");
    while booted.boot().1 {
        booted.health();
    }
    booted.script(&format!("{REQUIRED}/10_bad.sh"), "#!/bin/sh\nexit 0\n");
    booted.health().done();
    let device = &booted.device;
    follow(device, &booted.two.source(), "");
    let said = automatic(device).done().stdout;
    assert!(said.contains("it failed on this device before: health"), "{said}");
    assert_eq!(told(device), ["armed", "fell-back health"]);
    let fell_back = pull(device)["transitions"][0].clone();
    assert_eq!(
        fell_back["evidence"],
        json!({ "attempts": 3, "check": "10_bad.sh", "fault": "health" })
    );
    assert_eq!(device.status()["next_boot"], "a");
}

#[test]
fn a_window_arms_what_was_proven_before_and_a_clock_is_needed_to_know_it() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    let window = "reboot = \"window\"\nwindows = [\"00:00-24:00\"]\n";
    follow(&device, &two.source(), window);
    boot(&device, 1, 100);
    let said = automatic(&device).done().stdout;
    assert!(said.contains("it is proven, and armed when the maintenance window opens"), "{said}");
    let status = device.status();
    assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!("proven"), &json!("a")));
    assert_eq!(told(&device), ["proven"]);
    let clock = status["pull"]["waits_for"].as_str().unwrap();
    assert!(clock.contains("the clock is not synchronised"), "{clock}");
    // Once more: nothing is written, and nothing told.
    automatic(&device).done();
    assert_eq!(told(&device), ["proven"]);
    device.write(SYNCHRONISED, "");
    // It is open now; but the rollout was paused meanwhile.
    two.sign_again(&[("dev.gybe.issued", "1"), ("dev.gybe.paused", "true")]);
    let said = automatic(&device).done().stdout;
    assert!(said.contains("the rollout is paused"), "{said}");
    assert_eq!(device.status()["next_boot"], "a");
    two.sign_again(&[("dev.gybe.issued", "2")]);
    automatic(&device).ended(REBOOT, "below a folder nothing reboots");
    assert_eq!(device.status()["next_boot"], "b");
    assert_eq!(told(&device), ["proven", "armed"]);
    assert_eq!(pull(&device)["transitions"][0]["cost"], json!(null), "nothing is written twice");
}

#[test]
fn a_battery_will_do_where_the_configuration_says_so() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    let window = "reboot = \"window\"\nclock = \"rtc\"\nwindows = [\"00:00-24:00\"]\n";
    follow(&device, &two.source(), window);
    automatic(&device).ended(REBOOT, "below a folder nothing reboots");
}

#[test]
fn a_reboot_waits_for_who_inhibits_it() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "reboot = \"now\"\n");
    device.write("run/gybe/inhibit/till", "a sale is under way\n");
    automatic(&device).ended(REBOOT, "till: a sale is under way");
    let waits_for = pull(&device)["waits_for"].clone();
    assert_eq!(waits_for, "a reboot is held by till: a sale is under way");
    // systemd's own inhibitors, as its tool names them.
    fs::remove_file(device.path("run/gybe/inhibit/till")).unwrap();
    device.write("run/systemd/system/.keep", "");
    let answer = r#"{"type":"a(ssssuu)","data":[[["shutdown","backup","Saving","block",0,1]]]}"#;
    boots::script(&device, "bin/busctl", &format!("#!/bin/sh\necho '{answer}'\n"));
    let path = format!("{}:{}", device.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = device.command(&["upgrade", "--automatic"]);
    let ended = Ended::of(&command.env("PATH", &path).output().unwrap());
    ended.ended(0, "backup: Saving");
    boots::script(&device, "bin/busctl", "#!/bin/sh\necho '{\"type\":\"\",\"data\":[[]]}'\n");
    let mut command = device.command(&["upgrade", "--automatic"]);
    let ended = Ended::of(&command.env("PATH", &path).output().unwrap());
    ended.ended(0, "below a folder nothing reboots");
}

#[test]
fn a_budget_is_kept_over_reboots_and_told() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let three = Recipe::new("3.0.0", 3).changed(4).seal();
    let device = Device::with(&one);
    let plan = device.gybe(&["plan", &two.source(), "--json"]).done().json();
    let cost = plan["cost"]["fetched_bytes"].as_u64().unwrap();
    let budget = |bytes| format!("budget_bytes = {bytes}\nbudget_period_s = 86400\n");
    boot(&device, 1, 10_000);
    follow(&device, &two.source(), &budget(cost - 1));
    let said = automatic(&device).ended(FAILED, "budget").stdout;
    assert!(said.contains(&format!("it would fetch {cost} bytes")), "{said}");
    let slot = fs::read(device.partition("root_b")).unwrap();
    assert!(slot.iter().all(|&byte| byte == 0), "something was written to the inactive slot");
    follow(&device, &two.source(), &budget(cost + 100));
    boot(&device, 1, 100_000);
    automatic(&device).ended(REBOOT, "");
    assert_eq!(pull(&device)["budget"]["left_bytes"], 100);
    // The next one is too much for this period, whichever boot it is, and not for the next period.
    let plan = device.gybe(&["plan", &three.source(), "--json"]).done().json();
    let next = plan["cost"]["fetched_bytes"].as_u64().unwrap();
    follow(&device, &three.source(), &budget(cost.max(next)));
    boot(&device, 2, 100);
    automatic(&device).ended(FAILED, "budget");
    boot(&device, 2, 90_000);
    automatic(&device).ended(REBOOT, "");
    assert_eq!(told(&device), ["trouble budget", "armed", "trouble budget", "armed"]);
}

#[test]
fn a_hook_says_not_now_and_a_broken_one_says_nothing() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "[hooks]\ndeadline_s = 1\n");
    let log = device.path("log");
    let hook = |end: &str| {
        let text =
            format!("#!/bin/sh\necho $GYBE_EVENT $GYBE_TO_VERSION >>{}\n{end}\n", log.display());
        boots::script(&device, "etc/gybe/hooks.d/50-till", &text);
    };
    boot(&device, 1, 100);
    hook("[ $GYBE_EVENT = pre-install ] && exit 75; exit 0");
    let said = automatic(&device).ended(FAILED, "held").stdout;
    assert!(said.contains("the hook 50-till says not now"), "{said}");
    assert_eq!(device.status()["b"]["problem"], "no trailer");
    automatic(&device).done();
    // One that crashes or hangs keeps nothing from being updated.
    hook("sleep 1000");
    boot(&device, 1, 1000);
    automatic(&device).ended(REBOOT, "hook was killed at its deadline");
    let lines = fs::read_to_string(&log).unwrap();
    let expected = ["pre-install 2.0.0", "trouble", "pre-install 2.0.0", "armed 2.0.0"];
    assert_eq!(lines.lines().map(str::trim).collect::<Vec<_>>(), expected);
}
