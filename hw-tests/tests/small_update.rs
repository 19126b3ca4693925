//! What a small change of an image costs a device, to the byte, as planned and as installed.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::ops::Range;

use bench::{Bench, Device, Parts, Small, succeed, tool};
use serde_json::{Value, json};

const PARTITION_LEN: u64 = 48 << 20;

/// Which bytes of the recipe each of its pages has, and which digest.
fn pages(parts: &Parts) -> Vec<(Range<usize>, Vec<u8>)> {
    let recipe = &parts.recipe;
    let table_len = table_len(parts);
    let mut start = table_len;
    let entries = recipe[16..table_len].chunks(64);
    let pages = entries.map(|entry| {
        let len = usize::from(u16::from_le_bytes([entry[36], entry[37]]));
        let page = (start..start + len, entry[..32].to_vec());
        start += len;
        page
    });
    pages.collect()
}

fn table_len(parts: &Parts) -> usize {
    usize::try_from(parts.config["recipe"]["tableSize"].as_u64().unwrap()).unwrap()
}

/// Where the recipe lies that a partition's trailer names.
fn held_recipe(partition: &[u8]) -> usize {
    let footer = &partition[partition.len() - 4096..];
    let start = u64::from_le_bytes(footer[48 + 3 * 48..][..8].try_into().unwrap());
    usize::try_from(start).unwrap() * 4096
}

/// An image with one more layer, which changes one file and not its length.
fn change(bench: &Bench, image: &str) -> String {
    let stage = bench.path("change");
    fs::create_dir_all(stage.join("etc")).unwrap();
    fs::write(stage.join("etc/machine-name"), "2\n").unwrap();
    let layer = bench.path("change.tar");
    let mut tar = tool("tar");
    tar.arg("--create").arg("--file").arg(&layer).arg("--directory").arg(&stage);
    tar.args(["--owner=0", "--group=0", "--mtime=@1767225600", "./etc/machine-name"]);
    succeed(&mut tar);
    let layout = image.strip_prefix("oci:").unwrap();
    let mut add = tool("umoci");
    add.args(["raw", "add-layer", "--image", layout, "--tag", "changed"]);
    succeed(add.arg(&layer));
    format!("{}:changed", image.strip_suffix(":t").unwrap())
}

fn of(cost: &Value, name: &str) -> usize {
    usize::try_from(cost[name].as_u64().unwrap()).unwrap()
}

/// What is planned and then what is done; both must fetch the same.
fn update(device: &Device<'_>, source: &str) -> Value {
    let plan = device.gybe(&["plan", source, "--json"]).done().json()["cost"].clone();
    let cost = device.gybe(&["install", source, "--json"]).done().json()["cost"].clone();
    for name in ["fetched_bytes", "requests", "fetched_frames", "wasted_bytes", "unpacked_bytes"] {
        assert_eq!(plan[name], cost[name], "{name}: {plan}\n{cost}");
    }
    assert_eq!(cost["wasted_bytes"], 0);
    cost
}

/// Makes the slot one that was never proven, though all else of it is whole.
fn interrupt(device: &Device<'_>, slot: &str) {
    device.gybe(&["rollback"]).done();
    device.damage(&format!("boot_{slot}"), |bytes| bytes[..4096].fill(0));
}

#[test]
fn a_small_change_fetches_the_pages_that_changed_and_no_other() {
    let bench = Bench::new("small-update");
    let image = Small { files: 400, ..Small::new(1) }.make(&bench, "image");
    bench.seal(&image, "one", 1);
    bench.seal(&change(&bench, &image), "two", 2);
    let (one, two) = (Parts::read(&bench.path("one")), Parts::read(&bench.path("two")));
    let device = Device::new(&bench, "device");
    for name in ["root_a", "boot_a", "root_b", "boot_b"] {
        device.resize(name, PARTITION_LEN);
    }
    device.gybe(&["install", &bench.source("one"), "--slot", "a"]).done();
    device.boot();
    device.gybe(&["commit"]).done();
    let cost = update(&device, &bench.source("two"));

    // Without a recipe in any slot, the whole of it would be fetched.
    let held: Vec<_> = pages(&one).into_iter().map(|(_, digest)| digest).collect();
    let all = pages(&two);
    let (same, new): (Vec<_>, Vec<_>) = all.iter().partition(|(_, it)| held.contains(it));
    let len = |pages: &[&(Range<usize>, Vec<u8>)]| pages.iter().map(|it| it.0.len()).sum::<usize>();
    assert!(same.len() > 3 && !new.is_empty(), "{} same pages, {} new", same.len(), new.len());
    let ends = |at: usize| new.iter().any(|page| page.0.end == at);
    let runs = new.iter().filter(|page| !ends(page.0.start)).count();
    let recipe = table_len(&two) + len(&new);

    // Now the slots have everything, and all that is fetched is what says who signed it.
    interrupt(&device, "b");
    let again = update(&device, &bench.source("two"));
    assert_eq!(of(&again, "fetched_bytes"), documents(&two));
    assert_eq!(of(&again, "requests"), 2 + 2 * two.signatures().len());

    let frames = of(&cost, "fetched_bytes") - documents(&two) - recipe;
    assert!(frames > 0 && frames < two.pack.len() / 4, "{cost}");
    let of_frames = of(&cost, "requests") - of(&again, "requests") - 1 - runs;
    assert!((1..=of(&cost, "fetched_frames")).contains(&of_frames), "{cost}, {runs} runs");

    // A page that is damaged in one slot and new to the other is fetched, and nothing else.
    interrupt(&device, "b");
    let (page, _) = new.last().unwrap();
    device.damage("root_b", |bytes| {
        let at = held_recipe(bytes) + page.start + page.len() / 2;
        bytes[at] ^= 1;
    });
    let damaged = update(&device, &bench.source("two"));
    let more = of(&damaged, "fetched_bytes") - of(&again, "fetched_bytes");
    assert_eq!((more, of(&damaged, "requests") - of(&again, "requests")), (page.len(), 1));
    assert_eq!(device.status()["b"]["state"], json!("trial"));
    device.gybe(&["verify", "--slots"]).done();
}

/// How many bytes decide whether a release is believed.
fn documents(parts: &Parts) -> usize {
    let file = |name: &str| fs::read(parts.file(name)).unwrap().len();
    let signatures = parts.signatures();
    let carried = signatures.iter().map(|entry| {
        let digest = entry["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let folder = parts.file("manifest").parent().unwrap().to_owned();
        let bytes = fs::read(folder.join(digest)).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let layer = manifest["layers"][0]["size"].as_u64().unwrap();
        bytes.len() + usize::try_from(layer).unwrap()
    });
    file("manifest") + file("config") + carried.sum::<usize>()
}
