//! The goals, and what came of each: one row a goal, in the order in which they were set.

use super::{
    Findings,
    fetched::Found,
    memory::APART_MAX_KIB,
    page::{bytes, ratio},
    peers::Peer,
    registry::Way,
    sizes::Firmware,
};

const MIB: f64 = 1_048_576.0;

/// How a goal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    /// What the goal is about was not built yet.
    NotYet,
    /// It was not part of this run.
    NotRun,
}

/// A goal and what came of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) goal: &'static str,
    pub(super) ours: String,
    pub(super) peers: String,
    pub(super) verdict: Verdict,
}

/// What there is to say about a goal: ours, the peers, and whether it was reached.
type Said = (String, String, Verdict);

/// Says whether a number is within its limit.
fn within(number: f64, limit: f64) -> Verdict {
    if number <= limit { Verdict::Met } else { Verdict::Missed }
}

#[expect(clippy::cast_precision_loss, reason = "ratios for people")]
fn real(number: u64) -> f64 {
    number as f64
}

/// A number of bytes as a share of the whole root at zstd -3.
fn share(found: &Found, bytes: u64) -> Option<f64> {
    found.peers.get(&Peer::Zstd3).map(|whole| real(bytes) / real(whole.bytes))
}

/// `name share` for each of these peers that ran.
fn shares(found: &Found, peers: &[(Peer, &str)]) -> String {
    let one = |(peer, name): &(Peer, &str)| {
        let share = share(found, found.peers.get(peer)?.bytes)?;
        Some(format!("{name} {share:.3}"))
    };
    peers.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

const WITHOUT_PATCH: &[(Peer, &str)] =
    &[(Peer::Chunked, "zstd:chunked"), (Peer::Casync, "casync"), (Peer::Zchunk, "zchunk")];
const WITH_PATCH: &[(Peer, &str)] =
    &[(Peer::Patch3, "zstd -3 --patch-from"), (Peer::Patch19, "-19")];
const WHOLE: &[(Peer, &str)] = &[(Peer::Zstd3, "zstd -3"), (Peer::Zstd19, "-19")];

/// Every goal, with what this run has to say about it.
pub(super) fn rows(findings: &Findings) -> Vec<Row> {
    let pair = |tag: &str| {
        let fetched = findings.fetched.as_ref()?;
        fetched.pairs.iter().find(|found| found.pair.tag == tag)
    };
    let row = |what, goal, said: Option<Said>| {
        let (ours, peers, verdict) =
            said.unwrap_or_else(|| (String::new(), String::new(), Verdict::NotRun));
        Row { what, goal, ours, peers, verdict }
    };
    let missing = |peers: String| Some((String::new(), peers, Verdict::NotYet));
    let new = pair("new");
    vec![
        row(
            "bytes of an update, nothing made beforehand (`new`)",
            "≤ 0.95 × zstd:chunked ranges",
            new.and_then(ranges),
        ),
        row("requests for it", "≤ 110", new.and_then(requests)),
        row(
            "bytes with a patch made beforehand (`new`)",
            "≤ 0.10; with unpacked initramfs and kernel ≤ 0.05",
            missing(new.map(|found| shares(found, WITH_PATCH)).unwrap_or_default()),
        ),
        row("one small file changed (`cfg`)", "≤ 50 KB", pair("cfg").map(small_change)),
        row(
            "the same with a patch",
            "≤ 2 KB beside the manifest",
            missing(pair("cfg").map(|found| listed(found, WITH_PATCH)).unwrap_or_default()),
        ),
        row(
            "a new major version (`trx`)",
            "≤ 0.66",
            pair("trx").and_then(|found| {
                let ours = share(found, found.update.bytes)?;
                let peers = [shares(found, WITHOUT_PATCH), shares(found, WHOLE)].join(", ");
                Some((format!("{ours:.3}"), peers, within(ours, 0.66)))
            }),
        ),
        row(
            "full image (`new`)",
            "≤ 0.73",
            new.and_then(|found| {
                let ours = share(found, found.full.bytes)?;
                Some((format!("{ours:.3}"), shares(found, WHOLE), within(ours, 0.73)))
            }),
        ),
        row(
            "blocks written ÷ blocks changed, with stable placement (`new`)",
            "≤ 1.2",
            new.map(|found| {
                let ours = ratio(found.update.written_blocks, found.new_blocks);
                let ours = format!("{ours} without it: the slot is written whole");
                (ours, "all write the slot whole".into(), Verdict::NotYet)
            }),
        ),
        row("peak memory of an install", "≤ 12 MiB", peak(findings)),
        row("peak memory of an install over TLS", "≤ 12 MiB", registry_peak(findings)),
        row("the same against hostile registries", "≤ 12 MiB", hostile_peak(findings)),
        row("requests to a registry (`new`)", "≤ 110", registry_requests(findings)),
        row("bytes where connections drop after 5 MB", "≤ 1.02 × without", drops(findings)),
        row("bytes where 1 % of packets are lost", "≤ 1.02 × without", losses(findings)),
        row("memory of an image eight times as large", "at most 1 MiB apart", apart(findings)),
        row("processor time of a full install", "≤ 1.1 × the bare loop", full_cpu(findings)),
        row("wall clock of a full install", "≤ 1.1 × the bare loop", full_wall(findings)),
        row("wall clock of an update", "≤ 1.0 × the full install", update_wall(findings)),
        row(
            "first update after the factory's flash",
            "within 5 % of the tenth",
            missing(String::new()),
        ),
        row(
            "the agent, stripped",
            "≤ 4 MiB",
            findings.sizes.as_ref().map(|sizes| {
                let ours = bytes(sizes.agent);
                (ours, String::new(), within(real(sizes.agent), 4.0 * MIB))
            }),
        ),
        row("core on a Cortex-M4", "≤ 96 KiB flash, ≤ 32 KiB RAM", firmware(findings)),
        row("sealing an image of 1 GiB on 2 cores", "≤ 60 s, ≤ 512 MiB", seal(findings)),
    ]
}

fn ranges(found: &Found) -> Option<Said> {
    let ours = share(found, found.update.bytes)?;
    let chunked = found.peers.get(&Peer::Chunked)?.bytes;
    let against = real(found.update.bytes) / real(chunked);
    let said = format!("{} ({ours:.3}): {against:.3} × zstd:chunked", bytes(found.update.bytes));
    Some((said, shares(found, WITHOUT_PATCH), within(against, 0.95)))
}

fn requests(found: &Found) -> Option<Said> {
    let ours = found.update.requests;
    let peers = WITHOUT_PATCH.iter().filter_map(|(peer, name)| {
        let requests = found.peers.get(peer)?.requests;
        Some(format!("{name} {}", bytes(requests)))
    });
    let verdict = within(real(ours as u64), 110.0);
    Some((ours.to_string(), peers.collect::<Vec<_>>().join(", "), verdict))
}

/// `name bytes` for each of these peers that ran.
fn listed(found: &Found, peers: &[(Peer, &str)]) -> String {
    let one = |(peer, name): &(Peer, &str)| {
        Some(format!("{name} {}", bytes(found.peers.get(peer)?.bytes)))
    };
    peers.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

fn small_change(found: &Found) -> Said {
    let peers = [listed(found, WITHOUT_PATCH), listed(found, &[(Peer::Layers, "layers")])];
    let ours = found.update.bytes;
    (bytes(ours), peers.join(", "), within(real(ours), 50_000.0))
}

fn peak(findings: &Findings) -> Option<Said> {
    let speed = findings.speed.iter().flat_map(|speed| [&speed.full, &speed.update]);
    let memory = findings.memory.iter().flat_map(|memory| &memory.peaks).map(|peak| &peak.runs);
    let peak_kib = speed.chain(memory).map(super::cost::Runs::peak_kib).max()?;
    let mib = real(peak_kib) / 1024.0;
    let verdict = within(mib, 12.0);
    Some((format!("{mib:.1} MiB, from a folder"), String::new(), verdict))
}

fn registry_peak(findings: &Findings) -> Option<Said> {
    let ways = findings.registry.as_ref()?.ways().filter(|way| way.connections.is_some());
    let mib = real(ways.map(|way| way.runs.peak_kib()).max()?) / 1024.0;
    Some((format!("{mib:.1} MiB"), String::new(), within(mib, 12.0)))
}

fn hostile_peak(findings: &Findings) -> Option<Said> {
    let hostile = findings.hostile.as_ref()?;
    let mib = real(hostile.peak_kib()?) / 1024.0;
    let said = format!("{mib:.1} MiB, the highest of {}", hostile.0.len());
    Some((said, String::new(), within(mib, 12.0)))
}

fn registry_requests(findings: &Findings) -> Option<Said> {
    let requests = findings.registry.as_ref()?.whole.as_ref()?.requests;
    let said = format!("{requests}, with everything that decides about the release");
    Some((said, String::new(), within(real(requests), 110.0)))
}

/// Bytes of the link, and what the device says of its own waste.
fn beside(broken: &Way, whole: &Way) -> Option<Said> {
    let ours = real(broken.link_bytes?) / real(whole.link_bytes?);
    let told = real(broken.told_bytes) / real(whole.told_bytes);
    let said = format!("{ours:.3} × on the link, {told:.3} × by its own count");
    Some((said, String::new(), within(told.max(ours), 1.02)))
}

fn drops(findings: &Findings) -> Option<Said> {
    let registry = findings.registry.as_ref()?;
    beside(registry.drops.as_ref()?, registry.whole.as_ref()?)
}

fn losses(findings: &Findings) -> Option<Said> {
    let [whole, broken] = findings.registry.as_ref()?.packets.as_ref()?;
    beside(broken, whole)
}

fn apart(findings: &Findings) -> Option<Said> {
    let memory = findings.memory.as_ref()?;
    let apart = memory.apart_kib();
    let verdict = within(real(apart), real(APART_MAX_KIB));
    Some((format!("{apart} KiB apart"), String::new(), verdict))
}

fn full_cpu(findings: &Findings) -> Option<Said> {
    let speed = findings.speed.as_ref()?;
    let floor = speed.bare.cpu().median;
    let ours = speed.full.cpu().median / floor;
    let piped = speed.piped.cpu().median / floor;
    let peers = format!("`zstd -d` into `dd`, root alone, nothing checked: {piped:.2} ×");
    Some((format!("{ours:.2} ×"), peers, within(ours, 1.1)))
}

fn full_wall(findings: &Findings) -> Option<Said> {
    let speed = findings.speed.as_ref()?;
    let floor = speed.bare.wall().median;
    let ours = speed.full.wall().median / floor;
    let piped = speed.piped.wall().median / floor;
    let peers = format!("`zstd -d` into `dd`, root alone, nothing checked: {piped:.2} ×");
    Some((format!("{ours:.2} ×"), peers, within(ours, 1.1)))
}

fn update_wall(findings: &Findings) -> Option<Said> {
    let speed = findings.speed.as_ref()?;
    let ours = speed.update.wall().median / speed.full.wall().median;
    Some((format!("{ours:.2} ×"), String::new(), within(ours, 1.0)))
}

fn firmware(findings: &Findings) -> Option<Said> {
    let Firmware { flash, ram, .. } = findings.sizes.as_ref()?.firmware;
    let [flash, ram] = [flash, ram].map(|bytes| real(bytes) / 1024.0);
    let verdict =
        if within(flash, 96.0) == Verdict::Met { within(ram, 32.0) } else { Verdict::Missed };
    Some((format!("{flash:.1} KiB flash, {ram:.1} KiB RAM"), String::new(), verdict))
}

fn seal(findings: &Findings) -> Option<Said> {
    let sealing = findings.sealing.as_ref()?;
    let (seconds, mib) = (sealing.wall_s_per_gib(), real(sealing.runs.peak_kib()) / 1024.0);
    let verdict =
        if within(seconds, 60.0) == Verdict::Met { within(mib, 512.0) } else { Verdict::Missed };
    Some((format!("{seconds:.1} s, {mib:.0} MiB"), String::new(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{
        cost::{Cost, Runs},
        memory::{Memory, Peak},
        sizes::{Firmware, Sizes},
        speed::Speed,
    };

    fn runs(wall_s: f64, cpu_s: f64, peak_kib: u64) -> Runs {
        Runs(vec![Cost { wall_s, cpu_s, peak_kib }])
    }

    fn verdict(findings: &Findings, what: &str) -> Verdict {
        let rows = rows(findings);
        rows.iter().find(|row| row.what.starts_with(what)).unwrap().verdict
    }

    #[test]
    fn a_run_without_sections_claims_nothing() {
        let rows = rows(&Findings::default());
        assert_eq!(rows.len(), 22);
        let claims = |row: &&Row| matches!(row.verdict, Verdict::Met | Verdict::Missed);
        assert_eq!(rows.iter().filter(claims).count(), 0);
    }

    #[test]
    fn a_goal_is_missed_just_beyond_its_limit() {
        let mut findings = Findings::default();
        let speed = |full, peak| Speed {
            full: runs(full, 2.3, peak),
            update: runs(full, 2.0, 1),
            bare: runs(2.0, 2.0, 1),
            piped: runs(2.0, 2.0, 1),
            ..Speed::default()
        };
        findings.speed = Some(speed(2.2, 12 * 1024));
        assert_eq!(verdict(&findings, "wall clock of a full"), Verdict::Met);
        assert_eq!(verdict(&findings, "processor time"), Verdict::Missed);
        assert_eq!(verdict(&findings, "wall clock of an update"), Verdict::Met);
        assert_eq!(verdict(&findings, "peak memory"), Verdict::Met);
        findings.speed = Some(speed(2.21, 12 * 1024 + 1));
        assert_eq!(verdict(&findings, "wall clock of a full"), Verdict::Missed);
        assert_eq!(verdict(&findings, "peak memory"), Verdict::Missed);

        let peak = |peak_kib| Peak { image_mib: 1, runs: runs(1.0, 1.0, peak_kib) };
        for (kib, expected) in [(1024, Verdict::Met), (1025, Verdict::Missed)] {
            let peaks = vec![peak(9000), peak(9000 + kib)];
            findings.memory = Some(Memory { peaks, ..Memory::default() });
            assert_eq!(verdict(&findings, "memory of an image"), expected);
        }
        for (agent, expected) in [(4 << 20, Verdict::Met), ((4 << 20) + 1, Verdict::Missed)] {
            let firmware = Firmware { flash: 1, ram: 1, decoder_flash: 1, decoder_workspace: 1 };
            findings.sizes = Some(Sizes { agent, publish: 1, firmware });
            assert_eq!(verdict(&findings, "the agent"), expected);
        }
        for (flash, ram, expected) in [
            (96 << 10, 32 << 10, Verdict::Met),
            ((96 << 10) + 1, 1, Verdict::Missed),
            (1, (32 << 10) + 1, Verdict::Missed),
        ] {
            let firmware = Firmware { flash, ram, decoder_flash: 1, decoder_workspace: 1 };
            findings.sizes = Some(Sizes { agent: 1, publish: 1, firmware });
            assert_eq!(verdict(&findings, "core on"), expected, "{flash} {ram}");
        }
    }
}
