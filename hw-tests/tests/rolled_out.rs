//! A staged rollout, steered by signing again with our own publisher.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use bench::{Bench, Device, Small, succeed};
use serde_json::Value;

/// Signs the release in the layout `two` again, and says what a device does about it by itself.
fn signed(bench: &Bench, device: &Device<'_>, says: &[&str]) -> String {
    let mut sign = bench.program("gybe-publish");
    sign.args(["sign", "--key"]).arg(bench.key("release")).arg(bench.source("two"));
    for annotation in says {
        sign.args(["--annotation", annotation]);
    }
    succeed(&mut sign);
    device.gybe(&["upgrade", "--automatic"]).done().stdout
}

/// A device that runs `one` and follows the layout `two`, with more configuration.
fn follower<'b>(bench: &'b Bench, more: &str) -> Device<'b> {
    for (name, number) in [("one", 1), ("two", 2)] {
        let image = Small::new(number).make(bench, &format!("image-{name}"));
        bench.seal(&image, name, number);
    }
    let device = Device::with(bench, "device", &bench.source("one"));
    device.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let config = format!("reference = \"{}\"\n{more}", bench.source("two"));
    device.write("etc/gybe/config.toml", &config);
    device
}

#[test]
fn signing_again_grows_pauses_and_ends_a_rollout() {
    let bench = Bench::new("rolled-out");
    let device = follower(&bench, "");
    for (says, part) in [
        (&["dev.gybe.issued=1", "dev.gybe.rollout=0"][..], "the rollout is at 0 %"),
        (&["dev.gybe.issued=2", "dev.gybe.paused=true"], "the rollout is paused"),
        (&["dev.gybe.issued=3", "dev.gybe.channel=beta"], "the release is for the channel"),
        // Signed later, and issued before: the channel is in force.
        (&["dev.gybe.issued=2", "dev.gybe.rollout=100"], "the release is for the channel"),
        (&["dev.gybe.issued=4", "dev.gybe.rollout=100"], "2.0.0 is armed"),
    ] {
        let said = signed(&bench, &device, says);
        assert!(said.contains(part), "{says:?}: {part:?} is not in {said}");
    }
    let status: Value =
        serde_json::from_str(&device.gybe(&["status", "--json"]).done().stdout).unwrap();
    assert_eq!(status["next_boot"], "b");
    assert_eq!(status["pull"]["transitions"][0]["transition"], "armed");
}

#[test]
fn a_pause_takes_back_what_was_armed_and_waits_to_be_booted() {
    let bench = Bench::new("rolled-back");
    let device = follower(&bench, "[pull]\nreboot = \"told\"\n");
    let next_boot = || device.status()["next_boot"].clone();

    let all = ["dev.gybe.issued=1", "dev.gybe.rollout=100"];
    assert!(signed(&bench, &device, &all).contains("2.0.0 is armed"));
    assert_eq!(next_boot(), "b");
    let paused = signed(&bench, &device, &["dev.gybe.issued=2", "dev.gybe.paused=true"]);
    assert!(paused.contains("the rollout is paused"), "{paused}");
    assert_eq!(next_boot(), "a");
    let resumed = signed(&bench, &device, &["dev.gybe.issued=3", "dev.gybe.rollout=100"]);
    assert!(resumed.contains("2.0.0 is armed"), "{resumed}");
    assert_eq!(next_boot(), "b");

    // What an operator armed is not taken back.
    signed(&bench, &device, &["dev.gybe.issued=4", "dev.gybe.paused=true"]);
    assert_eq!(next_boot(), "a");
    device.gybe(&["install", &bench.source("two")]).done();
    let paused = signed(&bench, &device, &["dev.gybe.issued=5", "dev.gybe.paused=true"]);
    assert!(paused.contains("it is armed in slot b already"), "{paused}");
    assert_eq!(next_boot(), "b");
}
