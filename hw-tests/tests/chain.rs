//! Releases that build on each other: what a registry stores, what an update fetches and what a
//! fresh install fetches, over a chain of them.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

mod bench;
#[path = "chain/churn.rs"]
mod churn;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bench::{Bench, Device, Digest, Release, native, succeed, tool};
use churn::Churn;
use serde_json::Value;

const RELEASES: u32 = 21;
const ROOT_LEN: u64 = 96 << 20;

/// Limits, in hundredths.
const REGISTRY_MAX: u64 = 130;
const UPDATE_MAX: u64 = 110;
const FRESH_MAX: u64 = 120;

#[test]
fn a_chain_of_releases_costs_what_is_new() {
    let bench = Bench::new("chain");
    let layout = bench.path("chain");
    let source = |number: u32| format!("oci:{}:r{number}", layout.display());
    let device = device(&bench, "device");
    let mut churn = Churn::new();
    let mut seen = BTreeSet::new();
    let (mut unique, mut fetched_most, mut fresh_most, mut repacked) = (0, 0, 0, 0);
    let mut last: Option<Release> = None;
    for number in 1..=RELEASES {
        if number > 1 {
            churn.step();
        }
        let image = image(&bench, &churn, number);
        let base = (number > 1).then(|| source(number - 1));
        let report = seal(&bench, &image, &source(number), base.as_deref(), number);
        repacked += report["repackedBytes"].as_u64().unwrap();
        let cost = update(&device, &source(number), number);

        let release = Release::read(&layout, &format!("r{number}"));
        let of_slot = |name: &str| fs::read(device.partition(&format!("{name}_{}", slot(number))));
        let targets = ["root", "boot"].map(|name| of_slot(name).unwrap());
        unique += alone(&bench, &release, &targets, |digest| !seen.contains(digest));
        if let Some(last) = &last {
            let new = alone(&bench, &release, &targets, |it| !last.chunks.contains_key(it));
            let share = cost * 100 / new;
            eprintln!("r{number}: {cost} bytes fetched, {new} new alone: {share} %, {report}");
            assert!(share <= UPDATE_MAX, "r{number}: {cost} fetched for {new} new");
            fetched_most = share.max(fetched_most);
            keeps_packs(last, &release);
        }
        seen.extend(release.chunks.keys().copied());
        if number.is_multiple_of(7) {
            let share = fresh(&bench, &image, &source(number), number);
            assert!(share <= FRESH_MAX, "r{number}: a fresh install fetches {share} %");
            fresh_most = share.max(fresh_most);
        }
        last = Some(release);
    }
    let stored = stored(&layout);
    let share = stored * 100 / unique;
    eprintln!("registry {stored} bytes, unique {unique}: {share} %, {repacked} repacked");
    eprintln!("updates at most {fetched_most} %, fresh installs at most {fresh_most} %");
    assert!(share <= REGISTRY_MAX, "{stored} stored for {unique} unique");
    // Or else this would say nothing about packing again.
    assert!(repacked > 0, "nothing was ever packed again");
    assert!(last.is_some_and(|last| last.packs().len() > 10), "few packs are used again");
}

/// Packs of an earlier release are the same under the same number, and described by the same bytes.
fn keeps_packs(last: &Release, release: &Release) {
    let (before, now) = (last.packs(), release.packs());
    let kept: Vec<_> = now.iter().filter(|(id, _)| before.contains_key(id)).collect();
    assert!(!kept.is_empty() && kept.len() + 1 >= now.len(), "{before:?} {now:?}");
    for (id, digest) in kept {
        assert_eq!(before.get(id), Some(digest), "pack {id}");
        assert_eq!(last.pages_of(*id), release.pages_of(*id), "pack {id}");
    }
    // No number comes back with other content.
    assert!(now.keys().all(|id| before.contains_key(id) || before.keys().all(|old| old < id)));
}

fn image(bench: &Bench, churn: &Churn, number: u32) -> String {
    let stage = bench.path("stage");
    let _ = fs::remove_dir_all(&stage);
    churn.write(&stage);
    bench::image(bench, &format!("image-{number}"), &stage, native())
}

fn seal(bench: &Bench, image: &str, output: &str, base: Option<&str>, number: u32) -> Value {
    let mut seal = bench.seal_to(image, output, number);
    seal.arg("--key").arg(bench.key("release"));
    if let Some(base) = base {
        seal.args(["--base", base]);
    }
    serde_json::from_str(&succeed(&mut seal)).unwrap()
}

fn device<'b>(bench: &'b Bench, name: &str) -> Device<'b> {
    let device = Device::new(bench, name);
    for slot in ["a", "b"] {
        device.resize(&format!("root_{slot}"), ROOT_LEN);
    }
    device
}

const fn slot(number: u32) -> &'static str {
    if number.is_multiple_of(2) { "b" } else { "a" }
}

/// Installs and commits; gives the number of bytes that were fetched.
fn update(device: &Device<'_>, source: &str, number: u32) -> u64 {
    let ended = device.gybe(&["install", source, "--slot", slot(number), "--json"]).done();
    device.boot();
    device.gybe(&["commit"]).done();
    ended.json()["cost"]["fetched_bytes"].as_u64().unwrap()
}

/// How many bytes the chosen chunks have, compressed with nothing else, in pieces like frames.
fn alone(
    bench: &Bench,
    release: &Release,
    targets: &[Vec<u8>; 2],
    chosen: impl Fn(&Digest) -> bool,
) -> u64 {
    let mut chunks: Vec<_> = release.chunks.iter().filter(|(digest, _)| chosen(digest)).collect();
    chunks.sort_by_key(|(_, chunk)| (chunk.target, chunk.start));
    let bytes = chunks.iter().flat_map(|(_, it)| &targets[it.target][it.start..it.start + it.len]);
    let file = bench.path("alone");
    fs::write(&file, bytes.copied().collect::<Vec<u8>>()).unwrap();
    let mut split = tool("split");
    split.args(["--bytes=1M", "--filter=zstd -3 --no-check --quiet --stdout | wc --bytes"]);
    let lens = succeed(split.arg(&file));
    lens.lines().map(|len| len.trim().parse::<u64>().unwrap()).sum()
}

/// What a device that has nothing fetches, in hundredths of what it fetches of the same image
/// sealed without a base.
fn fresh(bench: &Bench, image: &str, chained: &str, number: u32) -> u64 {
    let folder = bench.path(&format!("alone-{number}"));
    let sealed = format!("oci:{}:r", folder.display());
    seal(bench, image, &sealed, None, number);
    let [chained, alone] = [chained, &sealed].map(|source| {
        let device = device(bench, "fresh");
        let cost = update(&device, source, number);
        device.gybe(&["verify", "--slots"]).done();
        device.remove();
        cost
    });
    fs::remove_dir_all(folder).unwrap();
    eprintln!("r{number}: a fresh install fetches {chained}, sealed alone {alone}");
    chained * 100 / alone
}

/// Bytes of all blobs of a layout, which is what a registry stores.
fn stored(layout: &Path) -> u64 {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).sum()
}
