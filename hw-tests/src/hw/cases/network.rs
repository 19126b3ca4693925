//! Updates from a registry, over TLS and with a password.

use serde_json::Value;

use super::update::expect_state;
use crate::hw::{
    case::{BOTH, Case, EACH, GRUB, ensure},
    machine::{Model, Plugged, Start},
    rig::Rig,
    trouble::Trouble,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "update-from-registry",
        claim: "the guest pulls the next release over TLS, proves it and keeps it",
        every: BOTH,
        on: EACH,
        start: Start::Factory,
        run: update_from_registry,
    },
    Case {
        name: "power-cut-while-pulling",
        claim: "a pull that lost its power goes on and fetches nothing twice that was written",
        every: GRUB,
        on: BOTH,
        start: Start::Factory,
        run: power_cut_while_pulling,
    },
];

/// What is on the medium after 40 MB were brought, less what two partitions may have on the way:
/// 8 MB.
const DURABLE_LEN_MIN: u64 = 8_000_000;

/// What a report says that it cost.
fn cost(report: &Value, name: &str) -> u64 {
    report.get("cost").and_then(|cost| cost.get(name)).and_then(Value::as_u64).unwrap_or(0)
}

fn update_from_registry(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { network: true, ..Plugged::default() };
    rig.start("1", "a")?;
    let repository = rig.connect()?;
    let report = rig.json(&format!("gybe install {repository}:v2 --json"))?;
    expect_state(rig, "b", "trial")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    let (fetched, requests) = (cost(&report, "fetched_bytes"), cost(&report, "requests"));
    ensure(fetched > 0 && requests > 0, || format!("a pull that fetched nothing: {report}"))?;
    Ok(format!("{fetched} bytes in {requests} requests"))
}

fn power_cut_while_pulling(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { network: true, ..Plugged::default() };
    rig.start("1", "a")?;
    let repository = rig.connect()?;
    let planned = rig.json(&format!("gybe plan {repository}:v3 --json"))?;
    // More than half of it: what was written is made durable every 8 MiB.
    rig.must(&format!(
        "gybe install {repository}:v3 --progress=json > /tmp/progress 2>&1 & \
         until grep -q 'done_bytes\":[4-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9],' /tmp/progress; \
         do usleep 100000; done"
    ))?;
    rig.cut_power()?;
    rig.start("1", "a")?;
    expect_state(rig, "b", "unbootable")?;
    // The registry and what the guest knows of it were kept; the network was not.
    rig.connect()?;
    let report = rig.json(&format!("gybe install {repository}:v3 --json"))?;
    let (skipped, total) = (cost(&report, "skipped_bytes"), cost(&report, "total_bytes"));
    let lost = || format!("{skipped} of {total} bytes were there already: {report}");
    ensure(skipped >= DURABLE_LEN_MIN, lost)?;
    let (fetched, before) = (cost(&report, "fetched_bytes"), cost(&planned, "fetched_bytes"));
    ensure(fetched <= before, || format!("{fetched} bytes fetched, {before} were planned"))?;
    rig.reboot()?;
    rig.expect_up("3", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(format!("{skipped} of {total} bytes were there already, {fetched} fetched"))
}
