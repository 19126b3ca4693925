//! Releases that do not come up, in every way in which that can happen.

use serde_json::Value;

use super::update::expect_state;
use crate::hw::{
    case::{BOTH, Case, EACH, GRUB, NONE, U_BOOT, ensure},
    machine::{Model, Plugged, Start},
    rig::Rig,
    trouble::Trouble,
};

/// How often the guest's releases may try to boot.
pub(super) const TRIES: u32 = 3;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "health-fails-three-times",
        claim: "a release whose check fails falls back, says why, and is not tried again",
        every: BOTH,
        on: EACH,
        start: Start::Written,
        run: health_fails_three_times,
    },
    Case {
        name: "health-fails-once",
        claim: "a release whose check fails once is kept at the second boot",
        every: U_BOOT,
        on: BOTH,
        start: Start::Written,
        run: health_fails_once,
    },
    Case {
        name: "check-never-ends",
        claim: "a check that never ends is stopped at the deadline of the trial",
        every: NONE,
        on: BOTH,
        start: Start::Written,
        run: check_never_ends,
    },
    Case {
        name: "kernel-panics",
        claim: "a release whose kernel panics falls back",
        every: U_BOOT,
        on: BOTH,
        start: Start::Written,
        run: kernel_panics,
    },
    Case {
        name: "hang-before-userspace",
        claim: "a release that hangs in the initramfs falls back when the watchdog bites",
        every: U_BOOT,
        on: BOTH,
        start: Start::Factory,
        run: hang_before_userspace,
    },
    Case {
        name: "hang-after-userspace",
        claim: "a release that hangs while it is checked is reset by the watchdog and falls back",
        every: BOTH,
        on: BOTH,
        start: Start::Written,
        run: hang_after_userspace,
    },
    Case {
        name: "committed-slot-is-unhealthy",
        claim: "a committed release that fails its checks says so and stays",
        every: GRUB,
        on: BOTH,
        start: Start::BothGood,
        run: committed_slot_is_unhealthy,
    },
];

/// Starts release 1, asks for a fault of the next trial, and reboots into release 2.
pub(super) fn try_with_fault(rig: &mut Rig, fault: &str) -> Result<(), Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.ask_for_fault(fault)?;
    rig.install("v2")?;
    rig.reboot()
}

/// What `gybe status` says of the last fallback.
pub(super) fn last_fallback(rig: &mut Rig) -> Result<Value, Trouble> {
    let status = rig.json("gybe status --json")?;
    let fallback = status.get("last_fallback").filter(|fallback| !fallback.is_null()).cloned();
    fallback.ok_or_else(|| Trouble::case(format!("status names no fallback: {status}")))
}

pub(super) fn health_fails_three_times(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "health")?;
    for _ in 0..TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("guest: red", 60)?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    expect_state(rig, "b", "failed")?;
    let fallback = last_fallback(rig)?.to_string();
    for told in ["10-guest.sh", "the pump does not answer", "health"] {
        ensure(fallback.contains(told), || {
            format!("the fallback does not tell `{told}`: {fallback}")
        })?;
    }
    rig.mount_stick()?;
    let report = rig.json("gybe upgrade --json")?;
    let offered = report.get("available").and_then(Value::as_bool);
    ensure(offered == Some(false), || format!("the release is offered again: {report}"))?;
    Ok(String::new())
}

fn health_fails_once(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "once")?;
    rig.expect_up("2", "b", true)?;
    rig.see("guest: red", 60)?;
    rig.expect_up("2", "b", true)?;
    rig.see("guest: green", 60)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}

fn check_never_ends(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "stuck")?;
    for _ in 0..TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("guest: red", 120)?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    let fallback = last_fallback(rig)?.to_string();
    ensure(fallback.contains("deadline"), || format!("no deadline in {fallback}"))?;
    Ok(String::new())
}

fn kernel_panics(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "panic")?;
    rig.want_crash(true)?;
    for _ in 0..TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("Kernel panic", 30)?;
    }
    rig.want_crash(false)?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    Ok(String::new())
}

fn hang_before_userspace(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.install("hang")?;
    rig.reboot()?;
    for _ in 0..TRIES {
        rig.see("guest: hangs before userspace", 60)?;
        rig.reset()?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    Ok(String::new())
}

pub(super) fn hang_after_userspace(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "hang")?;
    for _ in 0..TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("guest: hangs after userspace", 60)?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    Ok(String::new())
}

fn committed_slot_is_unhealthy(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.start("2", "b")?;
    rig.ask_for_fault("committed")?;
    rig.reboot()?;
    rig.expect_up("2", "b", false)?;
    rig.see("guest: red", 60)?;
    rig.health_done()?;
    // It is still there, and still the one that boots.
    expect_state(rig, "b", "good")?;
    rig.reboot()?;
    rig.expect_up("2", "b", false)?;
    Ok(String::new())
}
