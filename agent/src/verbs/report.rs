//! What an install cost, as a table and as JSON.

use std::fmt;

use gybe_core::manifest::Manifest;
use gybe_core::slot::Slot;
use serde::Serialize;

use super::bring::Brought;
use crate::cli::Report;
use crate::install::Tally;
use crate::output;
use crate::state::{DigestText, ReleaseName, SlotText};

#[derive(Serialize)]
struct Installed<'a> {
    version: u8,
    slot: SlotText,
    release: &'a ReleaseName,
    /// Whether the next boot tries it.
    armed: bool,
    /// What it cost; absent, if the slot held the release already.
    cost: Option<&'a Tally>,
}

/// Reports what came of an install.
pub(super) fn brought(brought: &Brought, report: Report) {
    let Brought { slot, release, armed, tally } = brought;
    let (slot, armed) = (*slot, *armed);
    if report.json {
        let cost = tally.as_ref();
        output::json(&Installed { version: 1, slot: slot.into(), release, armed, cost });
        return;
    }
    if let Some(tally) = tally {
        output::data(Table(tally));
    }
    let then = if armed { "the next boot tries it" } else { "it is not armed" };
    output::data(format_args!("slot {slot} holds {} {}: {then}", release.version, release.digest));
}

/// Reports what an install would come to.
pub(super) fn planned(slot: Slot, manifest: &Manifest<'_>, tally: &Tally, report: Report) {
    let digest = DigestText(manifest.digest);
    let release = &ReleaseName { digest, version: manifest.version.to_owned() };
    if report.json {
        let (slot, cost) = (slot.into(), Some(tally));
        output::json(&Installed { version: 1, slot, release, armed: false, cost });
        return;
    }
    output::data(format_args!("slot {slot} would hold {} {digest}", release.version));
    output::data(Table(tally));
}

struct Table<'a>(&'a Tally);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.0;
        let share = Share { bytes: tally.fetched_bytes, of: tally.total_bytes };
        let (fetched, requests) = (Size(tally.fetched_bytes), tally.requests);
        writeln!(f, "{:<8} {fetched:>12}  {share} in {requests} requests", "fetched")?;
        if tally.wasted_bytes > 0 {
            let share = Share { bytes: tally.wasted_bytes, of: tally.total_bytes };
            writeln!(f, "{:<8} {:>12}  {share}", "… wasted", Size(tally.wasted_bytes))?;
        }
        let rows = [
            ("copied", tally.copied_bytes),
            ("skipped", tally.skipped_bytes),
            ("written", tally.written_bytes),
        ];
        for (name, bytes) in rows {
            let share = Share { bytes, of: tally.total_bytes };
            writeln!(f, "{name:<8} {:>12}  {share}", Size(bytes))?;
        }
        write!(f, "{:<8} {:>12}", "release", Size(tally.total_bytes))
    }
}

/// A number of bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        let tenths = |unit: u64| {
            let tenths = self.0.saturating_mul(10) / unit;
            (tenths / 10, tenths % 10)
        };
        let text = if self.0 < KIB {
            format!("{} B", self.0)
        } else if self.0 < MIB {
            let (whole, tenth) = tenths(KIB);
            format!("{whole}.{tenth} KiB")
        } else {
            let (whole, tenth) = tenths(MIB);
            format!("{whole}.{tenth} MiB")
        };
        f.pad(&text)
    }
}

/// A share of the release in per cent.
struct Share {
    bytes: u64,
    of: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.bytes.saturating_mul(1000).checked_div(self.of).unwrap_or(0);
        write!(f, "{:>3}.{} %", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_down() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (5 << 30, "5120.0 MiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Share { bytes: 1, of: 3 }.to_string(), " 33.3 %");
        assert_eq!(Share { bytes: 1, of: 0 }.to_string(), "  0.0 %");
    }

    #[test]
    fn the_table_names_every_way_a_byte_comes() {
        let tally = Tally {
            fetched_bytes: 1 << 20,
            requests: 12,
            copied_bytes: 6 << 20,
            skipped_bytes: 1 << 20,
            written_bytes: 8 << 20,
            total_bytes: 10 << 20,
            ..Tally::default()
        };
        let expected = "\
fetched       1.0 MiB   10.0 % in 12 requests
copied        6.0 MiB   60.0 %
skipped       1.0 MiB   10.0 %
written       8.0 MiB   80.0 %
release      10.0 MiB";
        assert_eq!(Table(&tally).to_string(), expected);
        let wasteful = Tally { wasted_bytes: 512 << 10, ..tally };
        let line = "\n… wasted    512.0 KiB    5.0 %\ncopied";
        assert!(Table(&wasteful).to_string().contains(line), "{}", Table(&wasteful));
    }
}
