//! Tables of releases that are no good, and the trial of each on a device of its own.

use std::fs;

use serde_json::{Value, json};

use super::{Bench, Device, Parts, Small};

/// What a release that is no good leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Everything as it was.
    All,
    /// The inactive slot begun, and therefore unbootable.
    Draft,
}

/// A way to spoil a release, and what a device must say of it.
pub(crate) struct Row {
    name: &'static str,
    spoil: fn(&Bench, &mut Parts),
    code: i32,
    says: &'static [&'static str],
    leaves: Leaves,
}

pub(crate) const fn row(
    name: &'static str,
    code: i32,
    leaves: Leaves,
    says: &'static [&'static str],
    spoil: fn(&Bench, &mut Parts),
) -> Row {
    Row { name, spoil, code, says, leaves }
}

/// Puts a release together again and signs it with the key that the device trusts.
pub(crate) fn resign(bench: &Bench, parts: &mut Parts) {
    parts.rewrite();
    bench.sign("spoilt", "release");
}

pub(crate) fn annotate(bench: &Bench, parts: &mut Parts, name: &str, value: &str) {
    parts.manifest["annotations"][format!("dev.gybe.{name}")] = value.into();
    resign(bench, parts);
}

pub(crate) fn configure(bench: &Bench, parts: &mut Parts, at: &str, value: Value) {
    *parts.config.pointer_mut(at).unwrap() = value;
    resign(bench, parts);
}

pub(crate) fn halve(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

/// Tries each row on a device that runs the first release from slot A.
pub(crate) fn judge(name: &str, rows: &[Row]) {
    let bench = Bench::new(name);
    let [one, two] =
        [1, 2].map(|number| Small::new(number).make(&bench, &format!("image-{number}")));
    bench.seal(&one, "one", 1);
    bench.seal(&two, "two", 2);
    let device = Device::with(&bench, "device", &bench.source("one"));
    let good = bench.source("two");
    let mut complaints = Vec::new();
    for row in rows {
        let _ = fs::remove_dir_all(bench.path("spoilt"));
        let _ = fs::remove_dir_all(bench.path("tried"));
        let mut parts = bench.copy("two", "spoilt");
        (row.spoil)(&bench, &mut parts);
        let tried = device.copy("tried");
        let before = tried.snapshot();
        let ended = tried.gybe(&["install", &bench.source("spoilt")]);
        let after = tried.snapshot();
        let mut wrong = Vec::new();
        if ended.code != row.code {
            wrong.push(format!("ended with {}, expected {}", ended.code, row.code));
        }
        for part in row.says {
            if !ended.stderr.contains(part) {
                wrong.push(format!("does not say {part:?}"));
            }
        }
        let changed: Vec<_> = before.keys().filter(|key| before[*key] != after[*key]).collect();
        if row.leaves == Leaves::All && !changed.is_empty() {
            wrong.push(format!("changed {changed:?}"));
        }
        if changed.iter().any(|name| name.ends_with("_a")) {
            wrong.push("changed the running slot".to_owned());
        }
        let status = tried.status();
        if (&status["a"]["state"], &status["b"]["state"]) != (&json!("good"), &json!("unbootable"))
            || status["next_boot"] != "a"
        {
            wrong.push(format!("status {status}"));
        }
        let again = tried.gybe(&["install", &good]);
        if again.code != 0 || tried.status()["b"]["state"] != "trial" {
            wrong.push(format!("a good install afterwards: {again:?}"));
        }
        if !wrong.is_empty() {
            complaints.push(format!("{}: {}\n{}", row.name, wrong.join("; "), ended.stderr));
        }
    }
    assert!(
        complaints.is_empty(),
        "{} of {} rows:\n{}",
        complaints.len(),
        rows.len(),
        complaints.join("\n")
    );
}
