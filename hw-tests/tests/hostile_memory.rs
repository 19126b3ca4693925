//! Sources that are made to use up memory or the stack before anything in them is believed: they
//! end in order, within the memory of an honest install.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

mod bench;

use std::fs;

use bench::{Bench, DONE, Device, Ended, FAILED, Parts, REFUSED, Small, run, tool};
use serde_json::{Value, json};

/// As for honest installs.
const MEMORY_MAX: u64 = 24 << 20;

/// Runs the rest of its arguments and says on the last line of stdout how much memory that took.
const MEASURE: &str = "import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code if code >= 0 else 128 - code)";

/// Installs and gives the most memory that this took.
fn measured(device: &Device<'_>, source: &str) -> (Ended, u64) {
    let gybe = device.command(&["install", source]);
    let mut python = tool("python3");
    python.args(["-c", MEASURE]).arg(gybe.get_program()).args(gybe.get_args());
    let ended = run(python.env_remove("GYBE_LOG"));
    let kib: u64 = ended.stdout.lines().last().unwrap().parse().unwrap();
    (ended, kib << 10)
}

/// An index or manifest with this text in place of its last brace.
fn with_member(document: &Value, member: &str) -> String {
    let text = document.to_string();
    format!("{},{member}}}", text.strip_suffix('}').unwrap())
}

/// Arrays in arrays, `len` bytes of them.
fn nested(len: usize) -> String {
    format!("\"nested\":{}{}", "[".repeat(len / 2), "]".repeat(len / 2))
}

/// Lists `count` signatures that lead to blobs of the longest length there may be.
fn sign_often(it: &mut Parts, count: u32) {
    it.rewrite();
    let of = |kind: &str| json!({ "mediaType": kind, "digest": "", "size": 0 });
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    let image = "application/vnd.oci.image.manifest.v1+json";
    for number in 0..count {
        let layers: Vec<Value> = (0..60)
            .map(|layer| {
                let payload = format!("{number} {layer} {}", "x".repeat(60_000));
                let mut layer = it.named_blob(payload.as_bytes(), &of(simple));
                layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": "x" });
                layer
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": image, "layers": layers,
            "config": it.named_blob(b"{}", &of("application/vnd.oci.image.config.v1+json")),
            "subject": it.index["manifests"][0],
        });
        let signature = it.named_blob(manifest.to_string().as_bytes(), &of(image));
        it.index["manifests"].as_array_mut().unwrap().push(signature);
    }
    it.write_index();
}

#[test]
fn hostile_sources_end_in_order_and_in_bounded_memory() {
    let bench = Bench::new("hostile");
    for (name, number) in [("one", 1), ("two", 2)] {
        let small = Small { files: 8, changed: 4, ..Small::new(number) };
        bench.seal(&small.make(&bench, &format!("image-{name}")), name, number);
    }
    let device = Device::with(&bench, "device", &bench.source("one"));
    type Spoil = fn(&Bench, &mut Parts);
    let rows: [(&str, Spoil); 7] = [
        ("index that is too long", |bench, it| {
            let text = with_member(&it.index, &format!("\"x\":\"{}\"", "x".repeat(64 << 20)));
            fs::write(bench.path("spoilt/index.json"), text).unwrap();
        }),
        ("index that is nested", |bench, it| {
            let text = with_member(&it.index, &nested(1_000_000));
            fs::write(bench.path("spoilt/index.json"), text).unwrap();
        }),
        ("index of too many entries", |_, it| {
            let entry = it.index["manifests"][0].clone();
            it.index["manifests"] = json!(vec![entry; 2500]);
            it.write_index();
        }),
        ("manifest that is nested", |_, it| {
            let text = with_member(&it.manifest, &nested(200_000));
            let entry = it.named_blob(text.as_bytes(), &it.index["manifests"][0]);
            it.index["manifests"][0] = entry;
            it.write_index();
        }),
        ("signed configuration that is nested", |bench, it| {
            let text = with_member(&it.config, &nested(60_000));
            it.manifest["config"] = it.named_blob(text.as_bytes(), &it.manifest["config"]);
            it.rewrite_manifest();
            bench.sign("spoilt", "release");
        }),
        ("many long signatures", |_, it| sign_often(it, 100)),
        ("signatures that are nested", |_, it| {
            for file in it.signature_files() {
                fs::write(file, format!("{{{}}}", nested(60_000))).unwrap();
            }
        }),
    ];
    for (name, spoil) in rows {
        let mut parts = bench.copy("two", "spoilt");
        spoil(&bench, &mut parts);
        let tried = device.copy("tried");
        let before = tried.snapshot();
        let (ended, memory) = measured(&tried, &bench.source("spoilt"));
        eprintln!("{name}: {} with {} KiB: {}", ended.code, memory >> 10, ended.stderr.trim());
        assert!(memory <= MEMORY_MAX, "{name}: {memory} bytes of memory, limit {MEMORY_MAX}");
        // What an index has beside its members is passed over: only the release is signed.
        if name == "index that is nested" {
            assert_eq!(ended.code, DONE, "{ended:#?}");
        } else {
            assert!([FAILED, REFUSED].contains(&ended.code), "{name}: {ended:#?}");
            assert!(ended.stderr.contains("error: "), "{name}: {ended:#?}");
            assert_eq!(tried.snapshot(), before, "{name}");
        }
        tried.remove();
        fs::remove_dir_all(bench.path("spoilt")).unwrap();
    }
}
