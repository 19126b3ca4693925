//! Updates that go well, are interrupted, or are taken back.

use serde_json::Value;

use crate::hw::{
    case::{BOTH, Case, EACH, GRUB, U_BOOT, ensure},
    machine::{Model, Plugged, Start},
    rig::Rig,
    trouble::Trouble,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "update-and-commit",
        claim: "the guest updates itself from a stick, proves the release and keeps it",
        every: BOTH,
        on: EACH,
        start: Start::Factory,
        run: update_and_commit,
    },
    Case {
        name: "update-and-commit-uefi",
        claim: "the same, started by UEFI",
        every: &[Model::UEFI],
        on: &[Model::UEFI],
        start: Start::Factory,
        run: update_and_commit,
    },
    Case {
        name: "update-from-bundle",
        claim: "`gybe usb` updates from a bundle on a stick with FAT32, and tracks what it did before",
        every: GRUB,
        on: BOTH,
        start: Start::Factory,
        run: update_from_bundle,
    },
    Case {
        name: "update-back-into-a",
        claim: "the next update goes into slot A",
        every: U_BOOT,
        on: EACH,
        start: Start::BothGood,
        run: update_back_into_a,
    },
    Case {
        name: "rollback-by-hand",
        claim: "`gybe rollback` boots the other slot",
        every: GRUB,
        on: BOTH,
        start: Start::BothGood,
        run: rollback_by_hand,
    },
    Case {
        name: "install-killed-and-resumed",
        claim: "an install that was killed goes on with what it had written",
        every: U_BOOT,
        on: BOTH,
        start: Start::Factory,
        run: install_killed_and_resumed,
    },
];

/// What a slot is, as `gybe status` says it.
pub(super) fn slot_state(rig: &mut Rig, slot: &str) -> Result<String, Trouble> {
    let status = rig.json("gybe status --json")?;
    let state = status.get(slot).and_then(|slot| slot.get("state")).and_then(Value::as_str);
    Ok(state.unwrap_or("not said").to_owned())
}

pub(super) fn expect_state(rig: &mut Rig, slot: &str, expected: &str) -> Result<(), Trouble> {
    let found = slot_state(rig, slot)?;
    ensure(found == expected, || format!("slot {slot} is {found}, expected {expected}"))
}

pub(super) fn update_and_commit(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    expect_state(rig, "a", "good")?;
    expect_state(rig, "b", "unbootable")?;
    rig.install("v2")?;
    expect_state(rig, "b", "trial")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.see("guest: green", 60)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    expect_state(rig, "a", "good")?;
    rig.must("gybe verify --slots")?;
    rig.reboot()?;
    rig.expect_up("2", "b", false)?;
    rig.health_done()?;
    Ok(String::new())
}

/// What the device looks at by itself.
pub(super) fn tracked(rig: &mut Rig) -> Result<String, Trouble> {
    let status = rig.json("gybe status --json")?;
    let tracked = status.get("reference").and_then(Value::as_str);
    Ok(tracked.unwrap_or("nothing").to_owned())
}

fn update_from_bundle(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { bundle: true, ..Plugged::default() };
    rig.start("1", "a")?;
    let before = tracked(rig)?;
    rig.must("gybe usb $(findfs LABEL=GYBEBUNDLE)")?;
    expect_state(rig, "b", "trial")?;
    let mounted = rig.must("grep -c gybe/usb /proc/mounts || true")?;
    ensure(mounted.trim() == "0", || format!("the stick is still mounted: {mounted}"))?;
    let after = tracked(rig)?;
    ensure(after == before, || format!("{after} is tracked, {before} was"))?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}

fn update_back_into_a(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("2", "b")?;
    rig.install("v3")?;
    rig.reboot()?;
    rig.expect_up("3", "a", true)?;
    rig.health_done()?;
    expect_state(rig, "a", "good")?;
    rig.reboot()?;
    rig.expect_up("3", "a", false)?;
    Ok(String::new())
}

fn rollback_by_hand(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.start("2", "b")?;
    rig.must("gybe rollback")?;
    rig.reboot()?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}

fn install_killed_and_resumed(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.kill_install("v2")?;
    expect_state(rig, "b", "unbootable")?;
    rig.reboot()?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    rig.mount_stick()?;
    let report = rig.json("gybe install oci:/run/stick:v2 --json")?;
    let cost = |name: &str| {
        report.get("cost").and_then(|cost| cost.get(name)).and_then(Value::as_u64).unwrap_or(0)
    };
    let (skipped, total) = (cost("skipped_bytes"), cost("total_bytes"));
    ensure(skipped > 0, || format!("nothing of {total} bytes was there already: {report}"))?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(format!("{skipped} of {total} bytes were there already"))
}
