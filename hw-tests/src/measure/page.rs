//! Writes the page: docs/benchmarks.md.

use std::fmt::{self, Write as _};

use super::{
    Findings,
    cost::Runs,
    fetched::{Fetched, Found, Identity, Install},
    goals::{self, Verdict},
    hostile::{self, Hostile},
    machine::Facts,
    memory::Memory,
    peers::Peer,
    registry::Registries,
    sealing::Sealing,
    sizes::FIRMWARE_TEST,
    speed::Speed,
};

/// What people have to say about the numbers: it survives the next run.
const NOTES: &str = include_str!("notes.md");

const INTRODUCTION: &str = "\
Written by `cargo measure`, which makes its images, runs everything below one after the other on one
machine, and writes this page. Nothing here is typed by hand but the notes.

Shares are of the new root file system as one `zstd -3` stream. Bytes and requests are counted by the
kernel: `strace` sees each read of the layout's blobs, and reads that go on where the one before
ended are one request. Peers get the same root file system, or the same layers. Times are median
(least–most); no verdict on a time makes the command fail.
";

/// The whole page.
pub(super) fn page(findings: &Findings, date: &str, machine: &Facts, tools: &Facts) -> String {
    let mut page = format!("# Measurements\n\n{INTRODUCTION}\n## Goals\n\n");
    goals_table(&mut page, findings);
    let _ = write!(page, "\n## Notes\n\n{NOTES}");
    let _ = write!(page, "\n## Machine and tools\n\n| | |\n|---|---|\n| date | {date} |\n");
    for (name, value) in machine.iter().chain(tools) {
        let _ = writeln!(page, "| {name} | {value} |");
    }
    findings.fetched.iter().for_each(|fetched| fetched_part(&mut page, fetched));
    findings.registry.iter().for_each(|registry| registry_part(&mut page, registry));
    findings.hostile.iter().for_each(|hostile| hostile_part(&mut page, hostile));
    findings.speed.iter().for_each(|speed| speed_part(&mut page, speed));
    findings.memory.iter().for_each(|memory| memory_part(&mut page, memory));
    findings.sealing.iter().for_each(|sealing| sealing_part(&mut page, sealing));
    if let Some(sizes) = &findings.sizes {
        page.push_str("\n## How large are the programs?\n\n");
        page.push_str("Stripped release builds; the C library is linked dynamically.\n\n");
        let (agent, publish) = (bytes(sizes.agent), bytes(sizes.publish));
        let _ = write!(page, "| program | bytes |\n|---|---|\n| `gybe` | {agent} |\n");
        let _ = writeln!(page, "| `gybe-publish` | {publish} |");
        let firmware = sizes.firmware;
        for (name, len) in [
            ("flash of the core on a Cortex-M4, without the decoder", firmware.flash),
            ("its RAM: variables and painted stack", firmware.ram),
            ("flash of the zstd decoder there", firmware.decoder_flash),
            ("workspace of the decoder, with a decoded frame", firmware.decoder_workspace),
        ] {
            let _ = writeln!(page, "| {name} | {} |", bytes(len));
        }
        let build = "cargo build --release --locked --package gybe-agent --bin gybe";
        commands(&mut page, &[build.to_owned(), FIRMWARE_TEST.to_owned()]);
    }
    page
}

fn goals_table(page: &mut String, findings: &Findings) {
    page.push_str("| what | goal | ours | peers, same run | verdict |\n|---|---|---|---|---|\n");
    for row in goals::rows(findings) {
        let verdict = match row.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::NotYet => "does not exist yet",
            Verdict::NotRun => "not in this run",
        };
        let (ours, peers) = (dash(&row.ours), dash(&row.peers));
        let _ = writeln!(page, "| {} | {} | {ours} | {peers} | {verdict} |", row.what, row.goal);
    }
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

fn commands(page: &mut String, lines: &[String]) {
    if !lines.is_empty() {
        let _ = write!(page, "\n```\n{}\n```\n", lines.join("\n"));
    }
}

/// A row of a table with a column a pair.
fn row(page: &mut String, name: &str, pairs: &[Found], cell: impl Fn(&Found) -> String) {
    let cells: Vec<String> = pairs.iter().map(cell).collect();
    let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
}

fn fetched_part(page: &mut String, fetched: &Fetched) {
    let pairs = &fetched.pairs;
    page.push_str("\n## What is fetched and written?\n\n");
    page.push_str("Every device runs `base` and gets one of the others.\n\n");
    page.push_str("| image | what | manifest | root hash of the release |\n|---|---|---|---|\n");
    let base = [("base", "what every device runs", &fetched.base)];
    let others = pairs.iter().map(|found| (found.pair.tag, found.pair.what, &found.identity));
    for (tag, what, Identity { image_digest, root_hash, .. }) in base.into_iter().chain(others) {
        let _ = writeln!(page, "| `{tag}` | {what} | `{image_digest}` | `{root_hash}` |");
    }
    page.push_str("\nReleases are sealed with `--base` on the release of `base`.\n\n| bytes");
    for found in pairs {
        let _ = write!(page, " | `{}`", found.pair.tag);
    }
    let _ = write!(page, " |\n|---|{}\n", "---|".repeat(pairs.len()));
    let ours = |page: &mut String, name: &str, of: fn(&Found) -> Install| {
        row(page, &format!("{name}, requests"), pairs, |found| of(found).requests.to_string());
        row(page, &format!("{name}, by its own count"), pairs, |found| bytes(of(found).told_bytes));
        row(page, &format!("{name}, for `boot` alone"), pairs, |found| bytes(of(found).boot_bytes));
    };
    row(page, "root, boot", pairs, |found| {
        format!("{}, {}", bytes(found.identity.root_len), bytes(found.identity.boot_len))
    });
    row(page, "**update**", pairs, |found| with_share(found, found.update.bytes));
    ours(page, "update", |found| found.update);
    row(page, "**full install**", pairs, |found| with_share(found, found.full.bytes));
    ours(page, "full install", |found| found.full);
    row(page, "pushed to a registry that has `base`", pairs, |found| bytes(found.pushed_bytes));
    row(page, "blocks written, blocks that `base` lacks", pairs, |found| {
        format!("{}, {}", bytes(found.update.written_blocks), bytes(found.new_blocks))
    });
    for peer in Peer::ALL {
        row(page, peer.name(), pairs, |found| {
            let Some(fetch) = found.peers.get(&peer) else { return "not run".into() };
            let requests = match fetch.requests {
                1 => String::new(),
                count => format!(" in {} requests", bytes(count)),
            };
            with_share(found, fetch.bytes) + &requests
        });
    }
    page.push_str("\nThe releases, and what was run for the first of them:\n");
    let lines = [&*fetched.seals, &*fetched.commands].concat();
    commands(page, &lines);
    ways_part(page, fetched);
}

fn ways_part(page: &mut String, fetched: &Fetched) {
    let Some(pair) = fetched.pairs.first().map(|found| found.pair.tag) else { return };
    page.push_str("\n## What does it gain to unpack the initramfs?\n\n");
    let _ = writeln!(page, "The update from `base` to `{pair}`, by the device's own plan.\n");
    page.push_str("| the initramfs | option | root | boot | update | full install |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for way in &fetched.ways {
        let option =
            if way.options.is_empty() { "–".into() } else { format!("`{}`", way.options) };
        let lens = [way.root_len, way.boot_len, way.update_bytes, way.full_bytes].map(bytes);
        let _ = writeln!(page, "| {} | {option} | {} |", way.name, lens.join(" | "));
    }
    commands(page, &fetched.way_commands);
}

fn registry_part(page: &mut String, registries: &Registries) {
    page.push_str("\n## What does a registry cost?\n\n");
    let _ = write!(
        page,
        "A device that runs `base` gets `{}` from Debian's docker-registry on the same machine, over TLS \
         and with a password. Bytes of the\nlink are those of TLS, too; where packets are counted, all \
         that was sent to the device, headers and what was lost included.\n\n\
         | from | bytes | of these wasted | requests | bytes of the link | connections | {COST_HEADER}",
        registries.tag
    );
    // The header of costs has three columns more.
    let rule = page.rfind("|---|---|---|---|").unwrap_or(page.len());
    page.truncate(rule);
    page.push_str(&format!("{}|\n", "|---".repeat(9)));
    for way in registries.ways() {
        let or_dash = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), bytes);
        let cells = [
            bytes(way.told_bytes),
            bytes(way.wasted_bytes),
            bytes(way.requests),
            or_dash(way.link_bytes),
            or_dash(way.connections),
        ];
        cost_row(page, &format!("{} | {}", way.name, cells.join(" | ")), &way.runs);
    }
    if registries.packets.is_none() {
        page.push_str("\nNot root: no network whose packets can be lost.\n");
    }
    commands(page, &registries.commands);
}

fn hostile_part(page: &mut String, hostile: &Hostile) {
    page.push_str("\n## What do registries cost that are made to use up memory?\n\n");
    page.push_str(
        "An install of a small release over TLS; what each does is said in the test.\n\n",
    );
    page.push_str("| what never ends, or is too long | peak |\n|---|---|\n");
    for (name, kib) in &hostile.0 {
        let _ = writeln!(page, "| `{name}` | {} KiB |", bytes(*kib));
    }
    commands(page, &[format!("GYBE_PROGRAMS=target/release {}", hostile::TEST)]);
}

fn with_share(found: &Found, count: u64) -> String {
    let whole = found.peers.get(&Peer::Zstd3).map_or(0, |fetch| fetch.bytes);
    format!("{} ({})", bytes(count), ratio(count, whole))
}

const COST_HEADER: &str = "wall s | CPU s | peak |\n|---|---|---|---|\n";

fn cost_row(page: &mut String, name: &str, runs: &Runs) {
    let (wall, cpu, peak) = (runs.wall(), runs.cpu(), runs.peak_kib());
    let _ = writeln!(page, "| {name} | {wall} | {cpu} | {} KiB |", bytes(peak));
}

fn speed_part(page: &mut String, speed: &Speed) {
    page.push_str("\n## Does an install cost more than decoding?\n\n");
    let (release, bare) = (bytes(speed.release_bytes), bytes(speed.bare_bytes));
    let _ = write!(
        page,
        "The image `new`: {release} bytes of targets, of which the bare loop writes {bare}, all but \
         zeros.\nSlots are files that were overwritten with zeros and flushed before each run; the \
         source is in the page\ncache; the kinds take turns. {} runs of each.\n\n| what | {COST_HEADER}",
        speed.full.0.len()
    );
    cost_row(page, "install of everything", &speed.full);
    cost_row(page, "install onto a device that runs `base`", &speed.update);
    cost_row(page, "bare loop: decode, hash each block once, write, flush", &speed.bare);
    cost_row(page, "`zstd -d` into `dd`, root alone, nothing checked", &speed.piped);
    commands(page, &speed.commands);
}

fn memory_part(page: &mut String, memory: &Memory) {
    page.push_str("\n## Does memory grow with the image?\n\n");
    page.push_str("Images of noise and text in equal parts, onto an empty device.\n\n");
    let _ = write!(page, "| image | {COST_HEADER}");
    for peak in &memory.peaks {
        cost_row(page, &format!("{} MiB", peak.image_mib), &peak.runs);
    }
    commands(page, &memory.commands);
}

fn sealing_part(page: &mut String, sealing: &Sealing) {
    page.push_str("\n## What does sealing cost?\n\n");
    let _ = write!(page, "| what | {COST_HEADER}");
    let root = bytes(sealing.root_len);
    cost_row(page, &format!("`base`, gzip layers, root of {root} bytes"), &sealing.runs);
    commands(page, &sealing.commands);
}

/// A number with commas between its thousands.
pub(super) fn bytes(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One number as a share of another.
#[expect(clippy::cast_precision_loss, reason = "ratios for people")]
pub(super) fn ratio(number: u64, of: u64) -> Ratio {
    Ratio((of > 0).then(|| number as f64 / of as f64))
}

/// A share, with as many digits as mean something.
pub(super) struct Ratio(Option<f64>);

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("–"),
            Some(ratio) if ratio < 0.01 => write!(f, "{ratio:.5}"),
            Some(ratio) => write!(f, "{ratio:.3}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(ratio(1, 4).to_string(), "0.250");
        assert_eq!(ratio(1, 4000).to_string(), "0.00025");
        assert_eq!(ratio(1, 0).to_string(), "–");
    }

    #[test]
    fn a_page_without_numbers_says_so_in_every_row() {
        let fact = vec![("kernel".to_owned(), "Linux".to_owned())];
        let page = page(&Findings::default(), "2026-01-01", &fact, &Vec::new());
        assert!(page.starts_with("# Measurements\n") && page.contains("| kernel | Linux |"));
        assert_eq!(page.matches("| not in this run |").count(), 19);
        assert_eq!(page.matches("| does not exist yet |").count(), 3);
        assert!(page.contains(NOTES.lines().next().unwrap_or_default()));
        assert!(!page.contains("## Does memory grow"));
    }
}
