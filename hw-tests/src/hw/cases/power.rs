//! Power that goes at any moment.

use super::{health::try_with_fault, update::expect_state};
use crate::hw::{
    case::{BOTH, Case, EACH, NONE, ensure},
    machine::{Model, Plugged, Start},
    rig::{Rig, Up},
    trouble::Trouble,
};

/// Power cuts of the set that runs with every commit, and of the full one.
const CUTS_EVERY: u32 = 5;
const CUTS_FULL: u32 = 20;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "power-cut-in-each-trial",
        claim: "a release that only met power cuts is tried again later, and kept",
        every: BOTH,
        on: EACH,
        start: Start::Written,
        run: power_cut_in_each_trial,
    },
    Case {
        name: "power-cut-at-every-write",
        claim: "a power cut at any write of an update, or inside it, leaves a whole slot that boots",
        every: BOTH,
        on: BOTH,
        start: Start::Factory,
        run: power_cut_at_every_write,
    },
    Case {
        name: "power-cut-at-random",
        claim: "power cuts at 5 random moments leave a whole slot that boots",
        every: BOTH,
        on: BOTH,
        start: Start::Factory,
        run: |rig, _| power_cut_at_random(rig, CUTS_EVERY),
    },
    Case {
        name: "power-cut-at-random-often",
        claim: "power cuts at 20 random moments leave a whole slot that boots",
        every: NONE,
        on: BOTH,
        start: Start::Factory,
        run: |rig, _| power_cut_at_random(rig, CUTS_FULL),
    },
];

fn power_cut_in_each_trial(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    try_with_fault(rig, "silent")?;
    for _ in 0..super::health::TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("guest: waits to be cut", 30)?;
        rig.cut_power()?;
        rig.power_on()?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    expect_state(rig, "b", "trial")?;
    rig.must("rm /var/guest/fault; sync")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(String::new())
}

/// The loader's writes, the kernel's, the agent's: from the factory to a release that is kept.
fn power_cut_at_every_write(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { stick: true, recorded: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.install("v2")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    rig.reboot()?;
    rig.expect_up("2", "b", false)?;
    rig.health_done()?;
    rig.judge_writes()
}

/// Numbers that are the same in every run of the same seed (Numerical Recipes' LCG).
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % limit.max(1)
    }
}

/// The seed of the power cuts: `$GYBE_HW_SEED`, or the day of the year, so that every day tries
/// other moments; it is told with the verdict.
fn seed() -> u32 {
    let given = std::env::var("GYBE_HW_SEED").ok().and_then(|seed| seed.parse().ok());
    let days = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| since.as_secs() / 86_400)
    };
    given.unwrap_or_else(|| u32::try_from(days()).unwrap_or(0))
}

fn power_cut_at_random(rig: &mut Rig, cuts: u32) -> Result<String, Trouble> {
    let seed = seed();
    let mut random = Random(seed);
    rig.plugged = Plugged { stick: true, ..Plugged::default() };
    rig.power_on()?;
    let mut up = rig.expect_up("1", "a", false)?;
    // The release that was last written into the slot that does not run.
    let mut beside: Option<String> = None;
    let mut met = Vec::new();
    for cut in 0..cuts {
        let told = format!("cut {cut} of seed {seed}");
        let (moment, written) =
            cut_somewhere(rig, &mut random, &up).map_err(|trouble| in_cut(&told, trouble))?;
        met.push(moment);
        if let Some(release) = written {
            beside = Some(release);
        }
        rig.power_on()?;
        let next = rig.up().map_err(|trouble| in_cut(&told, trouble))?;
        // What ran, or what was last written beside it; never that from the wrong slot.
        let same_slot = next.slot == up.slot;
        let right = if same_slot { Some(up.release.as_str()) } else { beside.as_deref() };
        ensure(right == Some(next.release.as_str()) && next.state_kept, || {
            format!("{told}: {next:?}, expected release {right:?}")
        })?;
        if !same_slot {
            beside = Some(up.release.clone());
        }
        up = next;
    }
    rig.health_done()?;
    let verified = rig.run("gybe verify --slots --json")?;
    ensure(verified.text.contains("\"slots\""), || verified.text.clone())?;
    // And the device still updates. What ran on trial was kept just now.
    let next = next_release(&up);
    rig.install(&format!("v{next}"))?;
    rig.reboot()?;
    let slot = if up.slot == "a" { "b" } else { "a" };
    rig.expect_up(next, slot, true)?;
    rig.health_done()?;
    expect_state(rig, slot, "good")?;
    Ok(format!("seed {seed}: {}", met.join(", ")))
}

/// A release that does not run.
fn next_release(up: &Up) -> &'static str {
    if up.release == "2" { "3" } else { "2" }
}

/// Brings the device to work, and cuts its power while it does. Says at which moment, and which
/// release was being written, or was written, into the other slot.
fn cut_somewhere(
    rig: &mut Rig,
    random: &mut Random,
    up: &Up,
) -> Result<(String, Option<String>), Trouble> {
    if up.trial {
        // Between the first words of userspace and a while after the commit.
        let wait = random.below(6_000);
        rig.wait_ms(wait);
        rig.cut_power()?;
        return Ok((format!("trial + {wait} ms"), None));
    }
    rig.health_done()?;
    let release = next_release(up);
    let tag = &format!("v{release}");
    let written = Some(release.to_owned());
    rig.mount_stick()?;
    if random.below(4) == 0 {
        // All of it, and the loader and kernel of the trial.
        rig.install(tag)?;
        rig.reboot()?;
        let wait = random.below(8_000);
        rig.wait_ms(wait);
        rig.cut_power()?;
        return Ok((format!("reboot + {wait} ms"), written));
    }
    let wait = random.below(14_000);
    rig.must(&format!("gybe install oci:/run/stick:{tag} > /dev/null 2>&1 & true"))?;
    rig.wait_ms(wait);
    rig.cut_power()?;
    Ok((format!("install + {wait} ms"), written))
}

fn in_cut(told: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Case(what) => Trouble::Case(format!("{told}: {what}")),
        other => other,
    }
}
