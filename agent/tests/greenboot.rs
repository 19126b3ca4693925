//! What greenboot's scripts see and which of them run, on a device below a folder, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::fs;

use boots::{Booted, REQUIRED, script};
use fixture::{Device, Recipe};
use gybe_core::slot::Slot;
use serde_json::{Value, json};

const FAILED: i32 = 1;

/// What MicroShift's check and its red script do with the counter, in their own words.
const TIMEOUT: &str = r#"
boot_counter=$(grub2-editenv - list | grep ^boot_counter= | awk -F= '{print $2}')
max=3
[ -n "$boot_counter" ] || boot_counter=$((max - 1))
echo timeout $((600 * (max - boot_counter)))
exit 1
"#;
const RESTORE: &str = r#"
boot_counter=$(grub2-editenv - list | grep ^boot_counter= | awk -F= '{print $2}')
if [ "$boot_counter" -eq 0 ]; then touch "${0%/*}/../restore"; fi
"#;

#[test]
fn microshift_sees_the_counter_that_it_waits_and_restores_by() {
    let mut booted = Booted::new();
    booted.script(&format!("{REQUIRED}/40_microshift_running_check.sh"), TIMEOUT);
    booted.script("etc/greenboot/red.d/40_microshift_pre_rollback.sh", RESTORE);
    let restore = booted.device.path("etc/greenboot/restore");
    for timeout in ["timeout 600", "timeout 1200", "timeout 1800"] {
        assert!(!restore.exists(), "before {timeout}");
        assert_eq!(booted.boot(), (Slot::B, true));
        booted.health().ended(FAILED, timeout);
    }
    assert!(restore.exists(), "nothing would be restored after the fallback");
    assert_eq!(booted.boot(), (Slot::A, false));
}

#[test]
fn an_unhealthy_system_that_is_kept_says_so_and_runs_on() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    device.boots("a", &one, false);
    script(&device, &format!("{REQUIRED}/10_no.sh"), "exit 1");
    let counter = "grub2-editenv list > \"${0%/*}/../counter\"";
    script(&device, "etc/greenboot/red.d/10_red.sh", counter);
    let before = fs::read(device.path(boots::ENVIRONMENT)).unwrap();
    for _ in 0..2 {
        let report = device.gybe(&["health", "--json"]).ended(FAILED, "it runs on").json();
        assert_eq!((&report["reboot"], &report["trial"]), (&json!(false), &json!(false)));
    }
    assert_eq!(fs::read(device.path(boots::ENVIRONMENT)).unwrap(), before);
    // MicroShift's red script would restore data at 0; there is no counter off trial.
    let counter = fs::read_to_string(device.path("etc/greenboot/counter")).unwrap();
    assert_eq!(counter, "boot_success=0\n");
    let status = device.status();
    assert_eq!(status["a"]["state"], "good");
    assert_eq!(status["health"]["failure"]["check"], "10_no.sh");
    let shown = device.gybe(&["status"]).done().stdout;
    assert!(shown.contains("health       slot a is unhealthy: 10_no.sh: exit code 1"), "{shown}");
}

/// What came of the checks, as folder, name and result.
fn results(report: &Value) -> Vec<String> {
    let line = |check: &Value| {
        let [folder, name, result] =
            ["folder", "name", "result"].map(|it| check[it].as_str().unwrap());
        format!("{folder} {name} {result}")
    };
    report["checks"].as_array().unwrap().iter().map(line).collect()
}

/// Files with their texts, the exit code, and what comes of each script.
type Case<'a> = (&'a [(&'a str, &'a str)], i32, &'a [&'a str]);

#[test]
fn scripts_are_chosen_as_greenboot_chooses_them() {
    let one = Recipe::new("1.0.0", 1).seal();
    let base = |files: &[(&str, &str)]| {
        let device = Device::with(&one);
        device.boots("a", &one, false);
        for (path, text) in files {
            script(&device, path, text);
        }
        device
    };
    let disabled = ("etc/greenboot/greenboot.conf", "DISABLED_HEALTHCHECKS=(\n \"20_off.sh\" )\n");
    let cases: &[Case<'_>] = &[
        (
            &[
                ("usr/lib/greenboot/check/required.d/50_lib.sh", "exit 0"),
                ("etc/greenboot/check/required.d/10_etc.sh", "exit 0"),
                ("etc/greenboot/check/required.d/20_program", "#!/bin/sh\nexit 0\n"),
                ("usr/lib/greenboot/check/wanted.d/10_w.sh", "exit 1"),
                ("etc/greenboot/green.d/10_g.sh", "exit 1"),
                ("etc/greenboot/red.d/10_r.sh", "exit 0"),
            ],
            0,
            &[
                "check/required.d 50_lib.sh passed",
                "check/required.d 10_etc.sh passed",
                "check/required.d 20_program passed",
                "check/wanted.d 10_w.sh failed",
                "green.d 10_g.sh failed",
            ],
        ),
        (
            &[
                ("usr/lib/greenboot/check/required.d/10_no.sh", "exit 1"),
                ("usr/lib/greenboot/check/required.d/20_off.sh", "exit 0"),
                ("etc/greenboot/check/required.d/10_late.sh", "exit 0"),
                ("etc/greenboot/check/wanted.d/10_w.sh", "exit 0"),
                ("etc/greenboot/red.d/10_r.sh", "exit 1"),
                disabled,
            ],
            FAILED,
            &[
                "check/required.d 10_no.sh failed",
                "check/required.d 20_off.sh disabled",
                "check/required.d 10_late.sh skipped",
                "check/wanted.d 10_w.sh skipped",
                "red.d 10_r.sh failed",
            ],
        ),
        (
            &[("etc/greenboot/check/required.d/20_off.sh", "exit 1"), disabled],
            0,
            &["check/required.d 20_off.sh disabled"],
        ),
        (
            &[("etc/greenboot/check/required.d/10_x", "#!/no/such\n")],
            FAILED,
            &["check/required.d 10_x unstarted"],
        ),
        (&[("etc/greenboot/check/wanted.d/10_w.sh", "exit 0")], FAILED, &[]),
        (&[], FAILED, &[]),
    ];
    for (files, code, expected) in cases {
        let device = base(files);
        let report = device.gybe(&["health", "--json"]).ended(*code, "").json();
        assert_eq!(results(&report), *expected, "{report}");
    }
    let device = base(&[]);
    let report = device.gybe(&["health", "--json"]).ended(FAILED, "").json();
    assert_eq!(report["failure"]["check"], "check/required.d");
    device.write("etc/gybe/config.toml", "[health]\nno_checks = \"healthy\"\n");
    device.gybe(&["health"]).done();
}
