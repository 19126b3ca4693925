//! Environments that cannot be written, are damaged, or are gone.

use super::update::expect_state;
use crate::hw::{
    case::{BOTH, Case, EACH, GRUB, NONE, U_BOOT, ensure},
    machine::{Arch, Guest, Model, Plugged, Start},
    rig::{ENVIRONMENT, Rig},
    trouble::Trouble,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "environment-not-writable",
        claim: "where a try cannot be counted nothing is tried, and no try is lost",
        every: BOTH,
        on: BOTH,
        start: Start::Written,
        run: environment_not_writable,
    },
    Case {
        name: "environment-one-copy-damaged",
        claim: "with one copy of the environment damaged a Good slot boots",
        every: U_BOOT,
        on: EACH,
        start: Start::Written,
        run: one_copy_damaged,
    },
    Case {
        name: "environment-both-copies-damaged",
        claim: "with both copies damaged a whole slot boots",
        every: NONE,
        on: EACH,
        start: Start::Written,
        run: both_copies_damaged,
    },
    Case {
        name: "environment-emptied",
        claim: "with both copies emptied a whole slot boots",
        every: BOTH,
        on: BOTH,
        start: Start::Written,
        run: emptied,
    },
    Case {
        name: "environment-lost-during-install",
        claim: "a half-written slot never boots, even without an environment",
        every: GRUB,
        on: BOTH,
        start: Start::Factory,
        run: lost_during_install,
    },
];

/// The files of the environment, the one that is written first in front.
fn files(model: Model) -> [&'static str; 2] {
    match (model.arch, model.guest) {
        (Arch::X86_64, _) => ["grubenv", "grubenv.safe"],
        (Arch::Aarch64, Guest::Redundant) => ["uboot.env", "uboot-redund.env"],
        (Arch::Aarch64, _) => ["gybe.env", "gybe2.env"],
    }
}

/// Does `change` where the environment lies.
fn change(rig: &mut Rig, change: &str) -> Result<(), Trouble> {
    rig.must(&format!(
        "mount -o remount,rw {ENVIRONMENT} && cd {ENVIRONMENT} && {{ {change}; }}; \
         cd / && sync && mount -o remount,ro {ENVIRONMENT}"
    ))?;
    Ok(())
}

/// Fills files of the environment with bytes that mean nothing, in place.
fn damage(files: &[&str]) -> String {
    let each = |file: &&str| {
        format!(
            "tr '\\000-\\377' 'Z' < {file} > /tmp/z && dd if=/tmp/z of={file} conv=notrunc 2> /dev/null"
        )
    };
    files.iter().map(each).collect::<Vec<_>>().join(" && ")
}

fn start_and_arm(rig: &mut Rig) -> Result<(), Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.install("v2")?;
    expect_state(rig, "b", "trial")
}

fn environment_not_writable(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    rig.power_off()?;
    rig.plugged.read_only = true;
    for _ in 0..2 {
        rig.power_on()?;
        rig.expect_up("1", "a", false)?;
        rig.cut_power()?;
    }
    rig.plugged.read_only = false;
    rig.power_on()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}

fn one_copy_damaged(rig: &mut Rig, model: Model) -> Result<String, Trouble> {
    // What is armed is stored in one copy only: without it nothing is tried. The other copy is
    // damaged in the second round, which changes nothing.
    let mut tried = Vec::new();
    for file in files(model) {
        start_and_arm(rig)?;
        change(rig, &damage(&[file]))?;
        rig.reboot()?;
        let up = rig.up()?;
        ensure((up.release == "2") == up.trial && up.state_kept, || format!("{up:?}"))?;
        rig.health_done()?;
        tried.push(format!("without {file} release {} boots", up.release));
        rig.power_off()?;
        rig.load(Start::Written)?;
    }
    let boots = |release: &str| tried.iter().filter(|text| text.contains(release)).count();
    ensure(boots("release 1") == 1 && boots("release 2") == 1, || tried.join(", "))?;
    Ok(tried.join(", "))
}

fn both_copies_damaged(rig: &mut Rig, model: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    change(rig, &damage(&files(model)))?;
    rig.reboot()?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    let status = rig.run("gybe status")?;
    Ok(status
        .text
        .lines()
        .find(|line| line.contains("environment"))
        .unwrap_or("")
        .trim()
        .to_owned())
}

fn emptied(rig: &mut Rig, model: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    let [first, second] = files(model);
    change(rig, &format!(": > {first}; : > {second}"))?;
    rig.reboot()?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    Ok(String::new())
}

fn lost_during_install(rig: &mut Rig, model: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.kill_install("v2")?;
    change(rig, &damage(&files(model)))?;
    for _ in 0..2 {
        rig.reboot()?;
        rig.expect_up("1", "a", false)?;
        rig.health_done()?;
    }
    let status = rig.run("gybe status --json")?.text;
    ensure(status.contains("\"last_fallback\":null"), || {
        format!("a fallback is told that never was: {status}")
    })?;
    Ok(String::new())
}
