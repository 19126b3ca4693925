//! `gybe health` on trial, on a device below a folder, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;

use boots::{Booted, ENVIRONMENT, REQUIRED};
use gybe_core::slot::Slot;
use serde_json::json;

const FAILED: i32 = 1;
const NOTHING_NEW: i32 = 4;

#[test]
fn a_healthy_trial_is_committed_in_one_write() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "echo fine");
    booted.script("etc/greenboot/green.d/10_green.sh", "touch \"${0%/*}/../green\"");
    assert_eq!(booted.boot(), (Slot::B, true));
    let before = booted.environment();
    let report = booted.health().ended(0, "10_ok.sh: fine").json();
    let claims = ["healthy", "committed", "trial"].map(|name| report[name].clone());
    assert_eq!(claims, [json!(true), json!(true), json!(true)]);
    assert_eq!((&report["attempt"], &report["reboot"]), (&json!(1), &json!(false)));
    let after = booted.environment();
    let changed: Vec<_> = before
        .chunks(512)
        .zip(after.chunks(512))
        .enumerate()
        .filter(|(_, (before, after))| before != after)
        .map(|(sector, _)| sector)
        .collect();
    assert_eq!((changed, before.len()), (vec![0], after.len()), "one sector is one write");
    assert!(booted.device.path("etc/greenboot/green").exists());
    let status = booted.device.status();
    assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!("good"), &json!("b")));
    assert_eq!(booted.attempts()[0]["reached"], "committed");
    // The next boot is no trial, and writes nothing.
    assert_eq!(booted.boot(), (Slot::B, false));
    let files = [ENVIRONMENT, "var/lib/gybe/state", "var/lib/gybe/evidence"];
    let times =
        || files.map(|it| fs::metadata(booted.device.path(it)).unwrap().modified().unwrap());
    let before = times();
    let report = booted.health().done().json();
    assert_eq!((&report["trial"], &report["committed"]), (&json!(false), &json!(false)));
    assert_eq!(times(), before);
}

#[test]
fn a_trial_that_fails_every_time_falls_back_with_evidence_and_is_not_retried() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    booted.script(&format!("{REQUIRED}/20_net.sh"), "echo no route to host; exit 3");
    let log = "grub2-editenv - list | grep ^boot_counter= >> \"${0%/*}/../counters\"";
    booted.script("usr/lib/greenboot/red.d/10_red.sh", log);
    booted.device.write("dev/kmsg", "6,1,2500000,-;eth0: link is down\n");
    for attempt in 1..=3 {
        assert_eq!(booted.boot(), (Slot::B, true), "attempt {attempt}");
        let report = booted.health().ended(FAILED, "20_net.sh: no route to host").json();
        assert_eq!((&report["attempt"], &report["reboot"]), (&json!(attempt), &json!(true)));
        assert_eq!(report["failure"]["check"], "20_net.sh");
        assert_eq!(report["failure"]["reason"], "health");
        let left = booted.device.status()["b"]["tries_left"].clone();
        let expected = if attempt == 3 { json!(null) } else { json!(3 - attempt) };
        assert_eq!(left, expected, "the tries that are left are kept");
    }
    let counters = fs::read_to_string(booted.device.path("usr/lib/greenboot/counters")).unwrap();
    assert_eq!(counters, "boot_counter=2\nboot_counter=1\nboot_counter=0\n");
    // The loader needs no boot to find out that the tries are spent.
    let failed = String::from_utf8(booted.environment()).unwrap();
    assert!(failed.contains("gybe_try=\n") && failed.contains("gybe_failed=b:health"), "{failed}");
    assert_eq!(booted.boot(), (Slot::A, false));
    fs::remove_file(booted.device.path(&format!("{REQUIRED}/20_net.sh"))).unwrap();
    let report = booted.health().done().json();
    assert_eq!(report["settled"], json!(null));
    let status = booted.device.status();
    assert_eq!(status["b"]["reason"], "health");
    assert_eq!(status["last_fallback"]["from"]["version"], "2.0.0");
    assert_eq!(status["last_fallback"]["failed_attempt"], 3);
    assert_eq!(status["last_fallback"]["attempts"][2]["check"], "20_net.sh");
    assert_eq!(status["failed"][0]["reason"], "health");
    let attempts = booted.attempts();
    assert_eq!(attempts.len(), 3);
    for attempt in &attempts {
        assert_eq!((&attempt["fault"], &attempt["check"]), (&json!("health"), &json!("20_net.sh")));
        assert_eq!(attempt["output"], "no route to host\nexit code 3");
        assert_eq!(attempt["kernel"], "[    2.500000] eth0: link is down");
    }
    let shown = booted.device.gybe(&["status"]).done().stdout;
    for part in ["attempt 3    health: 20_net.sh", "no route to host", "eth0: link is down"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let check = booted.device.gybe(&["check", "--json"]).ended(NOTHING_NEW, "").json();
    assert_eq!(check["why"], "it failed on this device before: health");
    booted.device.gybe(&["upgrade"]).done();
    assert_eq!(booted.device.status()["b"]["state"], "failed");
    // By hand anything may be tried again, and begins without a past.
    booted.device.gybe(&["install", &booted.two.source()]).done();
    let status = booted.device.status();
    assert_eq!((&status["b"]["state"], &status["failed"]), (&json!("trial"), &json!([])));
    assert_eq!(booted.attempts().len(), 0);
}

#[test]
fn a_trial_that_fails_once_is_committed_by_the_second_boot() {
    let mut booted = Booted::new();
    let once = "[ -e \"${0%/*}/../seen\" ] || { touch \"${0%/*}/../seen\"; exit 1; }";
    booted.script(&format!("{REQUIRED}/10_once.sh"), once);
    booted.boot();
    booted.health().ended(FAILED, "");
    assert_eq!(booted.boot(), (Slot::B, true));
    let report = booted.health().done().json();
    assert_eq!((&report["attempt"], &report["committed"]), (&json!(2), &json!(true)));
    let status = booted.device.status();
    assert_eq!((&status["b"]["state"], &status["failed"]), (&json!("good"), &json!([])));
    let reached: Vec<_> = booted.attempts().iter().map(|it| it["reached"].clone()).collect();
    assert_eq!(reached, ["checking", "committed"]);
}

#[test]
fn a_release_that_meets_power_cuts_is_armed_again_twice_and_then_given_up() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    for round in 0..=2 {
        for _ in 0..3 {
            assert_eq!(booted.boot(), (Slot::B, true), "round {round}");
        }
        assert_eq!(booted.boot(), (Slot::A, false), "round {round}");
        if round == 1 {
            // Another command looks first, and changes nothing about it.
            booted.device.gybe(&["commit"]).done();
            let status = booted.device.status();
            assert_eq!(status["last_fallback"]["reason"], "interrupted");
            assert_eq!(status["interrupted"]["release"]["version"], "2.0.0");
        }
        let report = booted.health().done().json();
        let settled = &report["settled"];
        if round < 2 {
            assert_eq!(settled["verdict"], "rearmed", "round {round}: {report}");
            assert_eq!(settled["rearmed"], round + 1);
            assert_eq!(booted.device.status()["b"]["tries_left"], 3);
        } else {
            assert_eq!(settled["verdict"], "condemned", "{report}");
            assert_eq!(settled["reason"], "tries");
        }
    }
    let status = booted.device.status();
    assert_eq!(
        (&status["b"]["state"], &status["b"]["reason"]),
        (&json!("failed"), &json!("tries"))
    );
    assert_eq!(status["last_fallback"]["rearmed"], 2);
    let check = booted.device.gybe(&["check", "--json"]).ended(NOTHING_NEW, "").json();
    assert_eq!(check["why"], "it failed on this device before: tries");
    assert_eq!(booted.boot(), (Slot::A, false));
    assert_eq!(booted.health().done().json()["settled"], json!(null));
}

#[test]
fn a_fault_in_one_attempt_is_one_whatever_ended_the_others() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_no.sh"), "exit 1");
    booted.boot();
    booted.health().ended(FAILED, "");
    booted.boot();
    booted.boot();
    assert_eq!(booted.boot(), (Slot::A, false));
    booted.script(&format!("{REQUIRED}/10_no.sh"), "exit 0");
    let report = booted.health().done().json();
    assert_eq!(report["settled"]["verdict"], "condemned", "{report}");
    assert_eq!(booted.device.status()["failed"][0]["reason"], "health");
}

#[test]
fn a_panic_in_pstore_is_the_fault_of_the_release() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    for _ in 0..3 {
        booted.boot();
    }
    let panic = "Panic#1 Part1\n<0>[    1.9] Kernel panic - not syncing: VFS: no root\n";
    booted.device.write("sys/fs/pstore/dmesg-ramoops-0", panic);
    assert_eq!(booted.boot(), (Slot::A, false));
    let report = booted.health().done().json();
    assert_eq!(report["settled"]["reason"], "panic", "{report}");
    let attempts = booted.attempts();
    assert_eq!((attempts.len(), &attempts[0]["reached"]), (1, &json!("kernel")));
    assert!(attempts[0]["kernel"].as_str().unwrap().ends_with("not syncing: VFS: no root"));
    let shown = booted.device.gybe(&["status"]).done().stdout;
    assert!(shown.contains("fell back    from 2.0.0 to 1.0.0: panic"), "{shown}");
}

#[test]
fn an_interrupted_release_in_a_damaged_slot_is_written_again() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    for _ in 0..3 {
        booted.boot();
    }
    let path = booted.device.partition("root_b");
    let mut bytes = fs::read(&path).unwrap();
    bytes[9 * 4096] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(booted.boot(), (Slot::A, false));
    let report = booted.health().done().json();
    assert_eq!(report["settled"]["verdict"], "corrupt", "{report}");
    let status = booted.device.status();
    assert_eq!(
        (&status["last_fallback"]["reason"], &status["failed"]),
        (&json!("corrupt"), &json!([]))
    );
    assert_eq!(booted.health().done().json()["settled"], json!(null), "it is settled");
    let report = booted.device.gybe(&["upgrade", "--json"]).done().json();
    assert!(report["cost"]["written_bytes"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(booted.device.status()["b"]["state"], "trial");
}

#[test]
fn an_update_that_arms_an_interrupted_release_counts_it() {
    let mut booted = Booted::new();
    for rearmed in 1..=2 {
        for _ in 0..3 {
            assert_eq!(booted.boot(), (Slot::B, true));
        }
        booted.boot();
        booted.device.gybe(&["upgrade"]).done();
        let state = fs::read_to_string(booted.device.path("var/lib/gybe/state")).unwrap();
        assert!(state.contains(&format!("\"rearmed\":{rearmed}")), "{state}");
    }
    for _ in 0..3 {
        booted.boot();
    }
    booted.boot();
    let nothing = booted.device.gybe(&["upgrade"]).done();
    assert!(nothing.stdout.contains("it failed on this device before: tries"), "{nothing:?}");
}

#[test]
fn a_check_that_hangs_is_killed_at_the_deadline() {
    let mut booted = Booted::new();
    booted.device.write("etc/gybe/config.toml", "[health]\ndeadline_s = 1\n");
    booted.script(&format!("{REQUIRED}/10_hangs.sh"), "echo waiting; sleep 1000");
    booted.boot();
    let report = booted.health().ended(FAILED, "10_hangs.sh: waiting").json();
    assert_eq!(report["failure"]["reason"], "deadline");
    assert_eq!(report["failure"]["why"], "not done within 1 s");
    booted.boot();
    booted.script(&format!("{REQUIRED}/10_hangs.sh"), "exec sleep 1.5");
    // A later attempt has so much more time, as MicroShift's own checks take.
    let report = booted.health().done().json();
    assert_eq!((&report["attempt"], &report["committed"]), (&json!(2), &json!(true)));
    assert_eq!(booted.attempts()[0]["fault"], "deadline");
}

#[test]
fn the_watchdog_is_fed_in_a_trial_and_stopped_only_after_a_commit() {
    let mut booted = Booted::new();
    booted.device.write("dev/watchdog0", "");
    booted.script(&format!("{REQUIRED}/10_x.sh"), "exit $(cat \"${0%/*}/../code\")");
    let device = |booted: &Booted| fs::read(booted.device.path("dev/watchdog0")).unwrap();
    booted.device.write("etc/greenboot/check/code", "1");
    booted.boot();
    let report = booted.health().ended(FAILED, "").json();
    assert!(report["watchdog"].as_str().unwrap().ends_with("/dev/watchdog0"), "{report}");
    let fed = device(&booted);
    assert!(fed.len() >= 2 && fed.iter().all(|&byte| byte == 0), "it stays armed: {fed:?}");
    booted.device.write("etc/greenboot/check/code", "0");
    booted.boot();
    booted.health().done();
    assert_eq!(device(&booted).last(), Some(&b'V'));
    // Off trial nobody touches it.
    booted.device.write("dev/watchdog0", "");
    booted.boot();
    booted.health().done();
    assert_eq!(device(&booted), b"");
}
