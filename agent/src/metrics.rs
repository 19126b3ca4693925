//! What node-exporter's textfile collector reads: the device's state in Prometheus's text format.
//!
//! The file appears whole or not at all: it is written under another name and renamed. It is not made
//! durable, because after a power cut it is written anew anyway.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, read 2026-11.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::{fs, io};

use tracing::warn;

use crate::config::Telling;
use crate::root::Root;
use crate::run::kept::Kept as Looks;
use crate::run::trouble::Class;
use crate::state::SlotText;
use crate::status::{SlotStatus, StateWord, Status};
use crate::transitions::{Kept as Transitions, Kind};

/// Every state that a slot can be in.
const STATES: [(StateWord, &str); 6] = [
    (StateWord::Good, "good"),
    (StateWord::Trial, "trial"),
    (StateWord::Proven, "proven"),
    (StateWord::Unbootable, "unbootable"),
    (StateWord::Failed, "failed"),
    (StateWord::Unknown, "unknown"),
];
const CLASSES: [Class; 9] = [
    Class::Offline,
    Class::NotFound,
    Class::Unauthorised,
    Class::Unsigned,
    Class::Refused,
    Class::Budget,
    Class::Held,
    Class::Install,
    Class::Device,
];

/// Writes the file that the configuration names, if it names one. What cannot be written is old, and
/// its time says so.
pub fn write(root: &Root, telling: &Telling) {
    let Some(file) = &telling.metrics else { return };
    let file = root.path(file);
    let written = Status::look(root).map_err(|cause| cause.to_string()).and_then(|status| {
        let looks = crate::run::kept::read_if_possible(root);
        let transitions = crate::transitions::read_if_possible(root);
        replace(&file, &render(&status, &looks, &transitions)).map_err(|cause| cause.to_string())
    });
    if let Err(cause) = written {
        warn!(file = %file.display(), cause, "metrics are not written");
    }
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    // The collector reads what ends in .prom, and nothing else.
    let new = file.with_extension("prom.new");
    fs::write(&new, text)?;
    fs::rename(&new, file)
}

/// The metrics in Prometheus's text format.
#[must_use]
pub fn render(status: &Status, looks: &Looks, transitions: &Transitions) -> String {
    let mut text = Text(String::new());
    let running = status.running.map(|slot| match slot {
        SlotText::A => ("a", &status.a),
        SlotText::B => ("b", &status.b),
    });
    text.metric("gybe_info", "gauge", "What the device is, and what it runs");
    let release = running.and_then(|(_, slot)| slot.release.as_ref());
    let version = release.map_or("", |release| &release.version);
    let digest = release.map(|release| release.digest.to_string()).unwrap_or_default();
    let slot = running.map_or("", |(name, _)| name);
    let labels = [
        ("agent", env!("CARGO_PKG_VERSION")),
        ("compatible", &status.compatible),
        ("slot", slot),
        ("version", version),
        ("digest", &digest),
    ];
    text.sample("gybe_info", &labels, 1);
    text.metric("gybe_slot_state", "gauge", "1 for the state that a slot is in");
    for (name, slot) in [("a", &status.a), ("b", &status.b)] {
        for (state, word) in STATES {
            let labels = [("slot", name), ("state", word)];
            text.sample("gybe_slot_state", &labels, u8::from(is_in(slot, state)));
        }
    }
    for (name, kind, help, value) in [
        ("gybe_trial", "gauge", "1 while what runs is on trial", u64::from(status.trial)),
        (
            "gybe_environment_whole",
            "gauge",
            "1 if every copy of the boot environment is as it should be",
            u64::from(status.environment.whole),
        ),
        (
            "gybe_reboot_needed",
            "gauge",
            "1 if a release is armed and waits for a reboot",
            u64::from(status.next_boot.is_some() && status.next_boot != status.running),
        ),
        ("gybe_looks_total", "counter", "Looks at the tracked reference", looks.looks),
        ("gybe_fetched_bytes_total", "counter", "Bytes that looks fetched", looks.fetched_bytes),
        (
            "gybe_transitions_total",
            "counter",
            "Transitions of releases on this device",
            transitions.count,
        ),
        (
            "gybe_reports_waiting",
            "gauge",
            "Reports that were not posted yet",
            u64::try_from(transitions.waiting()).unwrap_or(u64::MAX),
        ),
        (
            "gybe_reports_dropped_total",
            "counter",
            "Reports that were lost before they could be posted",
            transitions.dropped,
        ),
        (
            "gybe_release_waiting",
            "gauge",
            "1 if a release waits for its rollout or for a window",
            u64::from(looks.waiting.is_some()),
        ),
    ] {
        text.metric(name, kind, help);
        text.sample(name, &[], value);
    }
    text.metric("gybe_trouble", "gauge", "How often in a row a look ended in this class");
    for class in CLASSES {
        let trouble = looks.trouble.as_ref().filter(|trouble| trouble.class == class);
        let count = trouble.map_or(0, |trouble| trouble.count);
        text.sample("gybe_trouble", &[("class", class.word())], count);
    }
    for (name, help, moment) in [
        ("gybe_last_look_timestamp_seconds", "When the reference was looked at", looks.last_look),
        ("gybe_last_success_timestamp_seconds", "When that last went well", looks.last_success),
    ] {
        // A time that nobody knows is not 1970.
        if let Some(time) = moment.and_then(|moment| moment.time) {
            text.metric(name, "gauge", help);
            text.sample(name, &[], time);
        }
    }
    if let Some(last) = transitions.ring.iter().rev().find(|it| it.transition == Kind::FellBack) {
        text.metric("gybe_last_fallback_info", "gauge", "The last fallback that is remembered");
        let reason = last.reason.as_deref().unwrap_or_default();
        let from = last.from.as_ref().map_or("", |from| from.version.as_str());
        text.sample("gybe_last_fallback_info", &[("reason", reason), ("version", from)], 1);
    }
    text.0
}

fn is_in(slot: &SlotStatus, state: StateWord) -> bool {
    slot.state == state
}

/// Text in the format of Prometheus.
struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = Text(String::new());
        text.sample("x", &[("a", "b\\c\"d\ne"), ("f", "")], 1);
        assert_eq!(text.0, "x{a=\"b\\\\c\\\"d\\ne\",f=\"\"} 1\n");
    }

    #[test]
    fn the_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gybe.prom");
        for text in ["one\n", "two\n"] {
            replace(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
