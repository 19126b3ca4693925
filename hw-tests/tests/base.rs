//! Building on an earlier release: what stays as it was, and which bases are refused.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::collections::BTreeSet;
use std::fs;

use bench::{Bench, Device, FAILED, Parts, Release, Small, native, run, succeed, tool};
use serde_json::{Value, json};

#[test]
fn a_small_change_changes_few_pages_and_is_all_that_is_packed() {
    let bench = Bench::new("small-change");
    let stage = bench.path("stage");
    let small = Small { files: 0, ..Small::new(0) };
    small.write(&stage);
    for file in 0..4000_u32 {
        let path = stage.join(format!("usr/lib/{:02}/{file}", file % 50));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("file number {file}\n").repeat(40)).unwrap();
    }
    let one = bench::image(&bench, "image-one", &stage, native());
    fs::write(stage.join("usr/lib/07/2007"), "another one\n".repeat(50)).unwrap();
    let two = bench::image(&bench, "image-two", &stage, native());
    bench.seal(&one, "one", 1);
    let sealed = |output: &str, base: &str| -> Value {
        let mut seal = bench.seal_command(&two, output, 2);
        seal.arg("--key").arg(bench.key("release")).args(["--base", base]);
        serde_json::from_str(&succeed(&mut seal)).unwrap()
    };
    let report = sealed("two", &bench.source("one"));

    let [before, after] = ["one", "two"].map(|name| Release::read(&bench.path(name), "release"));
    let old: BTreeSet<_> = before.pages.iter().collect();
    let new = after.pages.iter().filter(|page| !old.contains(page)).count();
    assert!(before.pages.len() > 40, "{} pages", before.pages.len());
    // Those of the file, of the superblock, of its inode, of the command line, and of the new pack.
    assert!(new <= 5, "{new} of {} pages are new", after.pages.len());
    let packs = report["packs"].as_array().unwrap();
    assert_eq!([packs[0]["new"].clone(), packs[1]["new"].clone()], [json!(false), json!(true)]);
    assert!(packs[1]["bytes"].as_u64().unwrap() < 20_000, "{report}");
    assert_eq!(report["repackedBytes"], 0);
    assert_eq!(report["base"], Parts::read(&bench.path("one")).digest());

    // A folder of its own has all that is needed, and an archive serves as well as a folder.
    let device = Device::new(&bench, "device");
    for (name, len) in [("root", 64 << 20), ("boot", 12 << 20)] {
        ["a", "b"].iter().for_each(|slot| device.resize(&format!("{name}_{slot}"), len));
    }
    device.gybe(&["install", &bench.source("two"), "--slot", "a"]).done();
    let archive = format!("oci-archive:{}", bench.path("one.tar").display());
    let mut tar = tool("tar");
    tar.arg("--create").arg("--file").arg(bench.path("one.tar"));
    succeed(tar.arg("--directory").arg(bench.path("one")).arg("."));
    let again = sealed("again", &archive);
    assert_eq!(again["digest"], report["digest"]);
}

#[test]
fn a_base_that_does_not_fit_or_is_damaged_is_refused() {
    let bench = Bench::new("bad-base");
    let [one, two] = [1, 2].map(|seed| Small::new(seed).make(&bench, &format!("image-{seed}")));
    bench.seal(&one, "good", 5);
    type Row = (&'static str, &'static [&'static str], &'static [&'static str], fn(&mut Parts));
    let rows: &[Row] = &[
        ("no base", &["--base", "oci:nowhere:release"], &["nowhere"], |_| ()),
        ("an image", &["--base", "IMAGE"], &["base is no release: "], |_| ()),
        ("an older sequence", &["--sequence", "5"], &["--sequence is 5, the base has 5"], |_| ()),
        ("a lower index", &["--rollback-index", "0"], &["--rollback-index is 0", "has 1"], |_| ()),
        ("another kind", &["--compatible", "other"], &["acme-gateway", "other"], |_| ()),
        ("a damaged manifest", &[], &["base: ", "corrupt"], |base| {
            base.damage("manifest", |bytes| bytes[40] ^= 1);
        }),
        ("a damaged configuration", &[], &["base: ", "corrupt"], |base| {
            base.damage("config", |bytes| bytes[40] ^= 1);
        }),
        ("a damaged recipe", &[], &["base: ", "corrupt"], |base| {
            base.damage("recipe", |bytes| bytes[500] ^= 1);
        }),
        ("a damaged pack", &[], &["base: pack 0 is damaged"], |base| {
            base.damage("pack", |bytes| bytes[4000] ^= 1);
        }),
        ("half a pack", &[], &["base: ", "bytes"], |base| {
            base.damage("pack", |bytes| bytes.truncate(4000));
        }),
        ("groups of other frames", &[], &["the groups of pack 0 have 3 frames"], |base| {
            base.config["packs"][0]["groups"] = json!([{ "pack": 0, "frames": 3 }]);
            base.rewrite();
        }),
        ("no number left", &[], &["all 65536 numbers of packs were used"], |base| {
            base.config["nextPack"] = 65_536.into();
            base.rewrite();
        }),
        ("a newer format", &[], &["base: ", "format version 2"], |base| {
            base.config["format"] = 2.into();
            base.rewrite();
        }),
    ];
    for (name, arguments, says, spoil) in rows {
        let _ = fs::remove_dir_all(bench.path("base"));
        let _ = fs::remove_dir_all(bench.path("out"));
        spoil(&mut bench.copy("good", "base"));
        let mut words = vec!["seal", "--image", &two, "--level", "3", "--json"];
        let (output, base) = (bench.source("out"), bench.source("base"));
        words.extend(["--output", &output, "--version", "2"]);
        for (option, default) in [
            ("--base", base.as_str()),
            ("--compatible", bench::COMPATIBLE),
            ("--rollback-index", "1"),
            ("--sequence", "6"),
        ] {
            let given = arguments.iter().position(|word| *word == option);
            let value = given.and_then(|at| arguments.get(at + 1)).copied().unwrap_or(default);
            words.extend([option, if value == "IMAGE" { &one } else { value }]);
        }
        let ended = run(bench.program("gybe-publish").args(words));
        eprintln!("{name}: {}", ended.stderr);
        ended.ended(FAILED, says);
        let index = fs::read_to_string(bench.path("out/index.json")).unwrap_or_default();
        assert!(!index.contains("vnd.gybe.release"), "{name}: {index}");
    }
}
