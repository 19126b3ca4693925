//! A real Debian image and the same with months of updates: what the update takes from where, and
//! how much memory that needs.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

mod bench;

use std::fs;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::process::Stdio;

use bench::{Bench, Device};
use serde_json::Value;

/// The most memory that an install may need, in bytes. The program under test is not optimised and
/// carries what a smaller one leaves out, so this only notices growth.
const MEMORY_MAX: u64 = 24 << 20;
const ROOT_LEN: u64 = 768 << 20;
const BOOT_LEN: u64 = 160 << 20;

/// What an install reported, and the most memory that it had.
fn install(device: &Device<'_>, what: &str, source: &str, slot: &str) -> Value {
    let mut command =
        device.command(&["install", source, "--slot", slot, "--json", "--progress=json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let memory = format!("/proc/{}/status", child.id());
    let (mut peak, mut last) = (0, String::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The kernel keeps the maximum, until the process ends.
        let status = fs::read_to_string(&memory).unwrap_or_default();
        let found = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = found.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        last = line.unwrap();
    }
    assert!(child.wait().unwrap().success(), "{what}");
    let report: Value = serde_json::from_str(&last).unwrap();
    eprintln!("{what}: peak of {} KiB, {}", peak >> 10, report["cost"]);
    assert!(peak > 0, "{what}: no peak was read");
    assert!(peak <= MEMORY_MAX, "{what}: {peak} bytes of memory, limit {MEMORY_MAX}");
    report["cost"].clone()
}

fn of(cost: &Value, name: &str) -> u64 {
    cost[name].as_u64().unwrap()
}

#[test]
fn an_update_copies_what_is_there_in_bounded_memory_with_trailer_and_without() {
    let samples = gybe_hw_tests::sample::images().unwrap();
    let bench = Bench::new("real-delta");
    bench.seal(&samples.image("v1"), "v1", 1);
    bench.seal(&samples.image("v2"), "v2", 2);
    let device = Device::new(&bench, "device");
    let clear = |slot: &str| {
        device.resize(&format!("root_{slot}"), ROOT_LEN);
        device.resize(&format!("boot_{slot}"), BOOT_LEN);
    };
    clear("a");
    clear("b");
    let full = install(&device, "full", &bench.source("v1"), "a");
    device.boot();
    device.gybe(&["commit"]).done();
    assert_eq!((of(&full, "copied_bytes"), of(&full, "skipped_bytes")), (0, 0));

    let update = install(&device, "update", &bench.source("v2"), "b");
    assert!(of(&update, "copied_bytes") * 2 > of(&update, "total_bytes"), "{update}");
    assert!(of(&update, "fetched_bytes") * 2 < of(&full, "fetched_bytes"), "{update}");
    device.gybe(&["verify", "--slots"]).done();

    // The same, from a slot that was flashed by hand: no trailer, only its hash tree.
    device.gybe(&["rollback"]).done();
    clear("b");
    let mut root = fs::OpenOptions::new().write(true).open(device.partition("root_a")).unwrap();
    root.seek(SeekFrom::Start(ROOT_LEN - (1 << 20))).unwrap();
    root.write_all(&vec![0; 1 << 20]).unwrap();
    let by_tree = install(&device, "update without trailer", &bench.source("v2"), "b");
    assert!(of(&by_tree, "copied_bytes") * 2 > of(&by_tree, "total_bytes"), "{by_tree}");
    assert_eq!(device.status()["b"]["state"], "trial");
}
