//! Devices on which something is wrong: what can go on does, what cannot says why, and nothing
//! that was good before is lost.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::sync::OnceLock;

use bench::{Bench, Device, FAILED, REFUSED, Small};
use serde_json::{Value, json};

/// Programs, two releases, and a device that runs the first from slot A.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let bench = Bench::new("bad-device");
        for (name, number) in [("one", 1), ("two", 2)] {
            let image = Small::new(number).make(&bench, &format!("image-{name}"));
            bench.seal(&image, name, number);
        }
        Device::with(&bench, "device", &bench.source("one"));
        bench
    })
}

/// A copy of that device.
fn device(name: &str) -> Device<'static> {
    Device::at(bench(), "device").copy(name)
}

/// Installs the second release and says what it cost.
#[track_caller]
fn update(device: &Device<'_>) -> Value {
    let report = device.gybe(&["install", &bench().source("two"), "--json"]).done().json();
    assert_eq!(device.status()["b"]["state"], "trial");
    device.gybe(&["verify", "--slots", "--json"]);
    report["cost"].clone()
}

/// What is wrong, how `install` ends, its further arguments, what it says, and how to do it.
type Row = (&'static str, i32, &'static [&'static str], &'static [&'static str], fn(&Device<'_>));

#[test]
fn what_cannot_go_on_says_why_and_changes_nothing() {
    let rows: &[Row] = &[
        (
            "slot too small",
            FAILED,
            &[],
            &["slot too small: root needs ", "the partition has 2097152"],
            |it| it.resize("root_b", 2 << 20),
        ),
        (
            "boot slot too small",
            FAILED,
            &[],
            &["slot too small: boot needs ", "the partition has 40960"],
            |it| it.resize("boot_b", 40960),
        ),
        ("slot missing", FAILED, &[], &["boot_b", "No such file"], |it| {
            fs::remove_file(it.partition("boot_b")).unwrap();
        }),
        ("slot mounted", FAILED, &[], &["root_b is mounted at /mnt", "hint: unmount it"], |it| {
            it.write("proc/mounts", "/dev/root_b /mnt erofs ro 0 0\n");
        }),
        ("running slot named", REFUSED, &["--slot", "a"], &["is never written", "hint: "], |_| ()),
        ("environment damaged in both copies", FAILED, &[], &["boot environment"], |it| {
            for copy in ["grubenv", "grubenv.safe"] {
                it.write(&format!("boot/env/{copy}"), "no environment");
            }
        }),
        (
            "unknown key",
            FAILED,
            &[],
            &["etc/gybe/config.toml:2: unknown key refrence, did you mean reference?"],
            |it| it.write("etc/gybe/config.toml", "# ours\nrefrence = \"oci:x\"\n"),
        ),
        (
            "trust widened in /etc",
            FAILED,
            &[],
            &["etc/gybe/config.toml:1", "verified image"],
            |it| {
                it.write("etc/gybe/config.toml", "compatible = \"acme-camera\"\n");
            },
        ),
        ("no keys", FAILED, &[], &["trust", "release.pub does not exist"], |it| {
            fs::remove_file(it.path("usr/lib/gybe/release.pub")).unwrap();
        }),
    ];
    for (name, code, arguments, says, spoil) in rows {
        let device = device("spoilt");
        spoil(&device);
        let before = device.snapshot();
        let source = bench().source("two");
        let ended = device.gybe(&[&["install", source.as_str()], *arguments].concat());
        eprintln!("{name}: {}", ended.stderr);
        ended.ended(*code, says);
        assert_eq!(device.snapshot(), before, "{name}");
        device.remove();
    }
}

#[test]
fn an_environment_damaged_in_one_copy_works_and_is_whole_afterwards() {
    for copy in ["grubenv", "grubenv.safe"] {
        let device = device("one-copy");
        device.write(&format!("boot/env/{copy}"), "no environment");
        let status = device.status();
        assert_eq!(status["environment"]["whole"], false, "{copy}");
        assert_eq!(status["a"]["state"], "good", "{copy}");
        device.gybe(&["install", &bench().source("two")]).ended(0, &["boot environment"]);
        let status = device.status();
        assert_eq!(status["environment"]["whole"], true, "{copy}");
        assert_eq!(status["b"]["state"], "trial", "{copy}");
        device.remove();
    }
}

#[test]
fn a_running_slot_without_trailer_is_copied_from_by_its_hash_tree() {
    let whole = update(&device("whole"));
    let device = device("no-trailer");
    device.damage("root_a", |bytes| {
        let at = bytes.len() - (1 << 20);
        bytes[at..].fill(0);
    });
    let status = device.status();
    assert_eq!(
        (&status["a"]["state"], &status["a"]["problem"]),
        (&json!("good"), &json!("no trailer"))
    );
    let cost = update(&device);
    let copied = |cost: &Value| cost["copied_bytes"].as_u64().unwrap();
    // The root's chunks are found by their anchors; the boot target has no tree to be found by.
    assert!(copied(&cost) * 10 > copied(&whole) * 8, "{cost}\n{whole}");
}

#[test]
fn a_running_slot_without_trailer_and_tree_costs_bytes_only() {
    let device = device("no-tree");
    device.damage("root_a", |bytes| bytes[4096..].fill(0));
    let cost = update(&device);
    assert_eq!((&cost["copied_bytes"], &cost["skipped_bytes"]), (&json!(0), &json!(0)));
}

#[test]
fn what_is_damaged_in_the_running_slot_is_fetched() {
    let whole = update(&device("undamaged"));
    let device = device("damaged");
    // A bit in every 64 KiB of the file system's data; its metadata comes last.
    device.damage("root_a", |bytes| {
        bytes[4096..3 << 20].iter_mut().step_by(1 << 16).for_each(|byte| *byte ^= 1);
    });
    let cost = update(&device);
    let of = |cost: &Value, name: &str| cost[name].as_u64().unwrap();
    assert!(of(&cost, "copied_bytes") < of(&whole, "copied_bytes"), "{cost}\n{whole}");
    assert!(of(&cost, "unpacked_bytes") > of(&whole, "unpacked_bytes"), "{cost}\n{whole}");
    let slots = device.gybe(&["verify", "--slots", "--json"]).ended(FAILED, &[]).json();
    assert_eq!(slots["slots"][0]["right"], false, "the running slot is said to be damaged");
    assert_eq!(slots["slots"][1]["right"], true, "what was installed is right");
}

#[test]
fn a_trailer_with_one_bit_flipped_is_none() {
    for (name, problem) in [("root_a", "a"), ("root_b", "b")] {
        let device = device("flipped");
        if name == "root_b" {
            update(&device);
            device.gybe(&["rollback"]).done();
            assert_eq!(device.status()["b"]["state"], "proven");
        }
        device.damage(name, |bytes| {
            let at = bytes.len() - 4000;
            bytes[at] ^= 1;
        });
        let status = device.status();
        assert_eq!(status[problem]["problem"], "trailer: the footer in block 3071 is damaged");
        assert_eq!((&status["next_boot"], &status["a"]["state"]), (&json!("a"), &json!("good")));
        assert_eq!(status["b"]["state"], "unbootable");
        update(&device);
        device.remove();
    }
}
