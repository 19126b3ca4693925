//! Installs that are interrupted, on a device below a folder, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use fixture::{Device, Recipe, Release};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// Installs `release` and sends `signal` as soon as `lines` lines of progress were seen; says
/// whether there were so many.
fn interrupt(device: &Device, release: &Release, signal: Signal, lines: usize) -> bool {
    let source = release.source();
    let mut command = device.command(&["install", &source, "--progress=json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let seen = BufReader::new(child.stdout.take().unwrap()).lines().take(lines).count();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, signal).unwrap();
    child.wait().unwrap();
    seen == lines
}

fn content(device: &Device, name: &str, release: &[[u8; 4096]]) -> bool {
    fs::read(device.partition(name)).unwrap().starts_with(release.as_flattened())
}

#[test]
fn an_install_that_is_killed_anywhere_leaves_the_device_bootable_and_goes_on() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(9).seal();
    let device = Device::with(&one);
    let mut resumed = 0;
    for lines in 1.. {
        let signal = if lines % 2 == 0 { Signal::SIGKILL } else { Signal::SIGTERM };
        let was_interrupted = interrupt(&device, &two, signal, lines);
        let status = device.status();
        let at = format!("after {lines} lines: {status}");
        assert_eq!(status["a"]["state"], "good", "{at}");
        assert!(content(&device, "root_a", &one.root), "{at}");
        // Not armed means that the loader is not asked to load it, proven or not.
        let state = status["b"]["state"].as_str().unwrap();
        let next = if state == "trial" { "b" } else { "a" };
        assert!(["unbootable", "proven", "trial"].contains(&state), "{at}");
        assert_eq!(status["next_boot"], next, "{at}");
        if state == "unbootable" {
            // Until everything is proven, no loader finds a first block to load.
            let loadable = ["root_b", "boot_b"]
                .map(|name| fs::read(device.partition(name)).unwrap()[..4096] != [0; 4096]);
            assert_ne!(loadable, [true, true], "{at}");
        }

        let report = device.gybe(&["install", &two.source(), "--json"]).done().json();
        assert_eq!(device.status()["b"]["state"], "trial", "{at}");
        assert!(content(&device, "root_b", &two.root), "{at}");
        assert!(content(&device, "boot_b", &two.boot), "{at}");
        if report["cost"]["skipped_bytes"].as_u64().is_some_and(|skipped| skipped > 0) {
            resumed += 1;
        }
        if !was_interrupted {
            break;
        }
        // Back to a device that has never seen the second release.
        for name in ["root_b", "boot_b"] {
            device.resize(name, fixture::PARTITION_BLOCKS);
        }
        device.gybe(&["rollback"]).done();
    }
    assert!(resumed > 0, "no interrupted install went on where it had ended");
}

#[test]
fn two_installs_at_once_are_one() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(9).seal();
    let device = Device::with(&one);
    let held = fs::File::open(device.path("var/lib/gybe/state")).unwrap();
    held.lock().unwrap();
    for arguments in [&["install", &two.source()][..], &["commit"], &["rollback"], &["upgrade"]] {
        device.gybe(arguments).ended(1, "another gybe is at work");
    }
    // Looking is always possible.
    assert_eq!(device.status()["b"]["state"], json!("unbootable"));
    device.gybe(&["plan", &two.source()]).done();
}

#[test]
fn a_state_that_cannot_be_kept_does_not_stop_an_update() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    // A folder in its place is what no program can write to.
    fs::remove_file(device.path("var/lib/gybe/state")).unwrap();
    fs::create_dir(device.path("var/lib/gybe/state")).unwrap();
    device.gybe(&["install", &two.source()]).ended(0, "will not be remembered");
    assert_eq!(device.status()["b"]["state"], "trial");
    device.boots("b", &two, true);
    device.gybe(&["commit"]).done();
    // What was asked to be remembered is not said to be.
    device.gybe(&["switch", &one.source()]).ended(1, "would be forgotten");
}

/// The log is kept on a disk that is full, or whoever read along has gone.
#[test]
fn an_update_does_not_end_because_nobody_can_hear_of_it() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(1).seal();
    let device = Device::with(&one);
    let deaf = |arguments: &[&str]| {
        let full = || fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = device.command(arguments);
        command.env("GYBE_LOG", "debug").stdout(full()).stderr(full());
        command.status().unwrap().code()
    };
    assert_eq!(deaf(&["install", "oci:/nowhere:at-all"]), Some(1));
    assert_eq!(deaf(&["install", &two.source(), "--progress=json"]), Some(0));
    assert_eq!(device.status()["b"]["state"], "trial");
    device.boots("b", &two, true);
    assert_eq!(deaf(&["commit"]), Some(0));
    assert_eq!(device.status()["b"]["state"], "good");
}
