//! Disks that are doubled, or lose a partition.

use super::update::expect_state;
use crate::hw::{
    case::{BOTH, Case, GRUB, ensure},
    machine::{Model, Plugged, Start},
    rig::Rig,
    trouble::Trouble,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "second-disk-with-the-same-labels",
        claim: "a second disk with the same labels is neither booted nor written",
        every: BOTH,
        on: BOTH,
        start: Start::Factory,
        run: second_disk,
    },
    Case {
        name: "state-partition-lost",
        claim: "without its state partition the device boots, says so, and still updates",
        every: GRUB,
        on: BOTH,
        start: Start::Factory,
        run: state_lost,
    },
];

/// A digest of everything on the disk that is not the one that runs and not the stick.
fn twin_digest(rig: &mut Rig) -> Result<String, Trouble> {
    let text = rig.must(
        "mine=$(basename $(dirname $(readlink -f /sys/block/dm-0/slaves/*))); \
         for disk in /sys/block/vd*; do disk=$(basename $disk); \
         if [ $disk != $mine ] && [ -e /sys/block/$disk/${disk}3 ]; then \
         cat /dev/${disk}[0-9]* | sha256sum; fi; done",
    )?;
    let digest = text.split_whitespace().next().unwrap_or_default().to_owned();
    ensure(digest.len() == 64, || format!("no second disk is seen: {text}"))?;
    Ok(digest)
}

fn second_disk(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    // The first boot alone, so that the disk has identifiers of its own where it gives itself some.
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.power_off()?;
    rig.plugged.twin = true;
    rig.start("1", "a")?;
    let before = twin_digest(rig)?;
    rig.install("v2")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    let after = twin_digest(rig)?;
    ensure(before == after, || "the second disk was written".to_owned())?;
    Ok(String::new())
}

fn state_lost(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.must("disk=$(part state) && dd if=/dev/zero of=$disk bs=1M count=8 2> /dev/null; sync")?;
    rig.cut_power()?;
    rig.power_on()?;
    let up = rig.expect_up("1", "a", false)?;
    ensure(!up.state_kept, || "the state is not called lost".to_owned())?;
    rig.health_done()?;
    let status = rig.run("gybe status")?.text;
    ensure(status.contains("state partition is lost"), || {
        format!("status does not say so: {status}")
    })?;
    rig.install("v2")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}
