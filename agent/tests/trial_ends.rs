//! Trials that end otherwise than by a check: killed, lost, without anybody who checks.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use boots::{Booted, ENVIRONMENT, REQUIRED};
use fixture::{Ended, config};
use gybe_core::slot::Slot;
use serde_json::json;

const FAILED: i32 = 1;
/// How many health checks are killed.
const KILLS: u64 = 24;

/// Numbers that look random, from a seed that failures name.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

#[test]
fn evidence_and_environment_survive_being_killed_at_any_moment() {
    let seed = 11;
    let mut random = Random(seed);
    let mut in_time = 0;
    // How long one takes that nobody kills, at most.
    let mut took_us = 1;
    for kill in 0..=KILLS {
        let mut booted = Booted::new();
        booted.script(&format!("{REQUIRED}/10_ok.sh"), "echo fine");
        if kill == 0 {
            booted.boot();
            let start = Instant::now();
            booted.health().done();
            took_us = u64::try_from(start.elapsed().as_micros()).unwrap();
            continue;
        }
        let no = if kill % 2 == 0 { "exit 1" } else { "exit 0" };
        booted.script(&format!("{REQUIRED}/20_x.sh"), no);
        let mut faults = 0;
        for boot in 1..=3 {
            if booted.boot() != (Slot::B, true) {
                break;
            }
            let mut command = booted.device.command(&["health"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let after = Duration::from_micros(random.below(took_us));
            let start = Instant::now();
            while start.elapsed() < after && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            in_time += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();

            let at = format!("seed {seed}, kill {kill}, boot {boot}, after {after:?}");
            let status = booted.device.gybe(&["status", "--json"]).ended(0, "");
            assert!(!status.stderr.contains("damaged"), "{at}: {status:?}");
            let status = status.json();
            assert_eq!(status["environment"]["whole"], true, "{at}");
            assert_eq!(status["a"]["state"], "good", "{at}");
            let state = status["b"]["state"].as_str().unwrap();
            assert!(["trial", "good", "failed"].contains(&state), "{at}: {status}");
            let attempts = status["trials"][0]["attempts"].as_array().unwrap();
            assert!(attempts.len() <= boot, "{at}: {status}");
            let now = attempts.iter().filter(|it| it["fault"] == "health").count();
            assert!(now >= faults, "{at}: a fault was forgotten: {status}");
            faults = now;
            // The environment says it only where the evidence does.
            assert!(state != "failed" || faults > 0, "{at}: {status}");
        }
        // A calm device at the end: whatever was cut, the slot that is good boots and settles it.
        fs::remove_file(booted.device.path(&format!("{REQUIRED}/20_x.sh"))).unwrap();
        let (mut slot, mut trial) = booted.boot();
        while trial {
            drop(booted.health());
            (slot, trial) = booted.boot();
        }
        booted.health().done();
        let state = booted.device.status()["b"]["state"].clone();
        let expected: &[_] = if slot == Slot::B { &["good"] } else { &["failed", "trial"] };
        assert!(expected.contains(&state.as_str().unwrap()), "seed {seed}, kill {kill}: {state}");
    }
    assert!(in_time > 8, "only {in_time} health checks were killed before they had ended");
}

#[test]
fn a_release_that_cannot_even_be_checked_falls_back_and_says_why() {
    let mut booted = Booted::new();
    booted.boot();
    let good = config(fixture::COMPATIBLE);
    booted.device.write("usr/lib/gybe/config.toml", &good.replace("kind", "knd"));
    let part = "unknown key bootloader.knd";
    booted.device.gybe(&["health"]).ended(FAILED, part);
    booted.device.write("usr/lib/gybe/config.toml", &good);
    let attempt = &booted.attempts()[0];
    assert_eq!((&attempt["fault"], &attempt["check"]), (&json!("health"), &json!("gybe health")));
    assert!(attempt["output"].as_str().unwrap().contains(part), "{attempt}");
    // What is wrong with the device and not with the release is no fault of it.
    booted.boot();
    for copy in [ENVIRONMENT, "boot/env/grubenv.safe"] {
        fs::rename(booted.device.path(copy), booted.device.path(&format!("{copy}.kept"))).unwrap();
    }
    booted.health().ended(FAILED, "the trial is given up");
    for copy in [ENVIRONMENT, "boot/env/grubenv.safe"] {
        fs::rename(booted.device.path(&format!("{copy}.kept")), booted.device.path(copy)).unwrap();
    }
    let attempt = &booted.attempts()[1];
    assert_eq!((&attempt["fault"], &attempt["check"]), (&json!(null), &json!("gybe health")));
}

#[test]
fn a_trial_that_the_environment_lost_is_not_the_fault_of_the_release() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    booted.boot();
    fs::write(booted.device.path(ENVIRONMENT), "").unwrap();
    let report = booted.health().ended(FAILED, "the boot environment lost the trial").json();
    assert_eq!((&report["reboot"], &report["failure"]["reason"]), (&json!(true), &json!(null)));
    assert_eq!(booted.boot(), (Slot::A, false));
    booted.health().done();
    let status = booted.device.status();
    assert_eq!(status["failed"], json!([]), "{status}");
    booted.device.gybe(&["upgrade"]).done();
    assert_eq!(booted.device.status()["b"]["state"], "trial");
}

#[test]
fn a_trial_that_is_not_what_was_signed_is_not_kept() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    booted.boot();
    booted.device.boots("b", &booted.one, true);
    let report = booted.health().ended(FAILED, "the kernel was told roothash").json();
    assert_eq!(report["failure"]["check"], "commit");
    assert_eq!(booted.device.status()["b"]["state"], "trial");
}

#[test]
fn a_trial_is_given_up_when_its_check_ends_without_a_word_but_nothing_else_is() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_no.sh"), "echo no; exit 1");
    let give_up =
        |booted: &Booted| booted.device.gybe(&["health", "--give-up"]).ended(0, "").stderr;
    let said = "the trial is given up";
    booted.boot();
    assert!(give_up(&booted).contains(said));
    assert_eq!(booted.attempts()[0]["fault"], "health");
    // What the check itself said is kept.
    booted.boot();
    booted.health().ended(FAILED, "");
    assert!(give_up(&booted).contains(said));
    assert_eq!(booted.attempts()[1]["check"], "10_no.sh");
    assert_eq!(booted.attempts()[1]["output"], "no\nexit code 1");
    booted.boot();
    booted.script(&format!("{REQUIRED}/10_no.sh"), "exit 0");
    booted.health().done();
    assert!(!give_up(&booted).contains(said), "the kernel still says that it is a trial");
    assert_eq!(booted.device.status()["b"]["state"], "good");
    booted.device.write("etc/gybe/config.toml", "x = 1\n");
    assert!(!give_up(&booted).contains(said), "somebody broke the configuration after the commit");
    let broken = booted.device.gybe(&["health"]).ended(FAILED, "unknown key x");
    assert!(!broken.stderr.contains(said), "{broken:?}");
    booted.device.write("etc/gybe/config.toml", "");
    booted.boot();
    assert!(!give_up(&booted).contains(said));
}

#[test]
fn a_trial_that_takes_too_long_is_ended_by_the_guard() {
    let mut booted = Booted::new();
    booted.boot();
    // 3 × 1800 s for the checks, and 900 s more.
    booted.device.write("proc/uptime", "6299.9 1.0\n");
    let mut guard = booted.device.command(&["health", "--guard"]);
    let mut guard = guard.stderr(Stdio::piped()).spawn().unwrap();
    assert!(guard.try_wait().unwrap().is_none());
    guard.kill().unwrap();
    guard.wait().unwrap();
    assert_eq!(booted.device.status()["trials"][0]["attempts"], json!([]));
    booted.device.write("proc/uptime", "6300.0 1.0\n");
    booted.device.gybe(&["health", "--guard"]).ended(0, "the trial is given up");
    let attempt = &booted.attempts()[0];
    assert_eq!((&attempt["fault"], &attempt["uptime_s"]), (&json!("deadline"), &json!(6300)));
    // It goes when the trial is over, and does not even look on another boot.
    booted.boot();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "exit 0");
    booted.health().done();
    booted.device.gybe(&["health", "--guard"]).ended(0, "the trial is over");
    booted.boot();
    assert_eq!(booted.device.gybe(&["health", "--guard"]).done().stderr, "");
}

#[test]
fn another_command_at_work_does_not_end_a_trial() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/10_ok.sh"), "touch \"${0%/*}/../passed\"");
    booted.boot();
    let held = fs::File::open(booted.device.path("var/lib/gybe/state")).unwrap();
    held.lock().unwrap();
    let mut health = booted.device.command(&["health"]);
    let mut health = health.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The checks have passed, and it waits to commit.
    while !booted.device.path("etc/greenboot/check/passed").exists() {
        std::thread::yield_now();
    }
    assert_eq!(booted.device.status()["b"]["state"], "trial");
    drop(held);
    assert!(health.wait().unwrap().success());
    assert_eq!(booted.device.status()["b"]["state"], "good");
}

#[test]
fn a_full_var_blocks_neither_evidence_nor_commit() {
    let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert!(is_root || !forced, "a file system that is full needs root");
    if !is_root {
        return;
    }
    let mut booted = Booted::new();
    let no = format!("{REQUIRED}/10_x.sh");
    booted.script(&no, "echo no; exit $(cat \"${0%/*}/../code\")");
    for (code, reached) in [("1", "checking"), ("0", "committed")] {
        booted.device.write("etc/greenboot/check/code", code);
        booted.boot();
        let script =
            "set -e; cp -a \"$1/var\" \"$1/kept\"; mount -t tmpfs -o size=2m none \"$1/var\"
            cp -a \"$1/kept/.\" \"$1/var\"; cat /dev/zero > \"$1/var/filled\" 2>/dev/null || true
            if echo more 2>/dev/null > \"$1/var/more\"; then exit 99; fi; set +e
            \"$0\" --root \"$1\" health; code=$?
            rm -r \"$1/kept\"; mkdir \"$1/kept\"; cp -a \"$1/var/lib\" \"$1/kept\"; exit $code";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        let ended = command.arg(env!("CARGO_BIN_EXE_gybe")).arg(booted.device.root()).output();
        let ended = Ended::of(&ended.unwrap());
        assert_eq!(ended.code.to_string(), code, "{ended:?}");
        assert!(!ended.stderr.contains("WARN there"), "{ended:?}");
        fs::remove_dir_all(booted.device.path("var")).unwrap();
        fs::rename(booted.device.path("kept"), booted.device.path("var")).unwrap();
        assert_eq!(booted.attempts().last().unwrap()["reached"], reached, "{ended:?}");
    }
    assert_eq!(booted.device.status()["b"]["state"], "good");
}
