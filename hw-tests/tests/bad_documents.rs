//! Releases that are damaged or lie about themselves: each gets a clear error, and nothing that was
//! good before is lost.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use bench::Leaves::{All, Draft};
use bench::{Bench, FAILED, Parts, REFUSED, Row, annotate, configure, halve, judge, resign, row};
use bench::{succeed, tool};
use serde_json::{Value, json};

fn flip(at: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[at] ^= 1
}

fn flip_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

/// Keeps what the manifest says of its blobs, but for this member.
fn claim(bench: &Bench, parts: &mut Parts, at: &str, value: Value) {
    *parts.manifest.pointer_mut(at).unwrap() = value;
    parts.rewrite_manifest();
    bench.sign("spoilt", "release");
}

/// What zstd makes of `len` zeros.
fn zeros(bench: &Bench, len: usize, options: &[&str]) -> Vec<u8> {
    let (plain, packed) = (bench.path("zeros"), bench.path("zeros.zst"));
    fs::write(&plain, vec![0; len]).unwrap();
    let mut zstd = tool("zstd");
    zstd.args(["--quiet", "--force", "--no-check"]).args(options);
    succeed(zstd.arg(&plain).arg("-o").arg(&packed));
    fs::read(packed).unwrap()
}

const DOCUMENTS: &[Row] = &[
    row(
        "manifest flipped",
        FAILED,
        All,
        &["spoilt: sha256:", "is corrupt: the digest of its bytes is sha256:"],
        |_, it| it.damage("manifest", flip(40)),
    ),
    row("manifest cut", FAILED, All, &[" bytes, its descriptor says "], |_, it| {
        it.damage("manifest", halve)
    }),
    row("manifest missing", FAILED, All, &["spoilt: sha256:", "is missing"], |_, it| {
        fs::remove_file(it.file("manifest")).unwrap();
    }),
    row("manifest of another length", FAILED, All, &[" bytes, its descriptor says 7"], |_, it| {
        it.index["manifests"][0]["size"] = 7.into();
        it.write_index();
    }),
    row(
        "manifest too long",
        FAILED,
        All,
        &["manifest is 300", " bytes, limit 262144"],
        |bench, it| {
            annotate(bench, it, "note", &"x".repeat(300_000));
        },
    ),
    row("index is none", FAILED, All, &["index.json: invalid type"], |_, it| {
        it.index = json!("none");
        it.write_index();
    }),
    row(
        "configuration flipped",
        FAILED,
        All,
        &["is corrupt: the digest of its bytes is sha256:"],
        |_, it| it.damage("config", flip(40)),
    ),
    row(
        "configuration cut",
        FAILED,
        All,
        &["is corrupt: the digest of its bytes is sha256:"],
        |_, it| it.damage("config", halve),
    ),
    row("configuration too long", FAILED, All, &["is 7", " bytes, limit 65536"], |bench, it| {
        it.config["note"] = "x".repeat(70_000).into();
        resign(bench, it);
    }),
    row(
        "configuration of another length",
        REFUSED,
        All,
        &["config is 1", " bytes, the manifest says 100"],
        |bench, it| {
            claim(bench, it, "/config/size", json!(100));
        },
    ),
    row(
        "configuration is none",
        REFUSED,
        All,
        &["configuration: byte 0: expected an object, found a string"],
        |bench, it| {
            it.config = json!("none");
            resign(bench, it);
        },
    ),
    row(
        "recipe's table flipped",
        FAILED,
        All,
        &["recipe: the table has digest sha256:", "the configuration says sha256:"],
        |_, it| it.damage("recipe", flip(20)),
    ),
    row(
        "recipe's page flipped",
        FAILED,
        Draft,
        &["recipe: digest does not match the manifest"],
        |_, it| it.damage("recipe", |it| flip_last(it)),
    ),
    row("recipe cut", FAILED, All, &[" bytes, its descriptor says "], |_, it| {
        it.damage("recipe", halve)
    }),
    row(
        "recipe of another length",
        FAILED,
        All,
        &[" bytes, its descriptor says 999999999999999"],
        |bench, it| {
            claim(bench, it, "/layers/0/size", json!(999_999_999_999_999_u64));
        },
    ),
    row(
        "recipe with a gap",
        FAILED,
        All,
        &["recipe page 1: begins at ", ", the one before ended at "],
        |bench, it| {
            it.recipe[16 + 48] -= 1;
            it.rehash_pages();
            resign(bench, it);
        },
    ),
    row(
        "recipe with bytes that nothing describes",
        FAILED,
        All,
        &["recipe: the recipe is not as long as its table says"],
        |bench, it| {
            it.recipe.push(0);
            it.rehash_pages();
            resign(bench, it);
        },
    ),
    row(
        "recipe beyond its target",
        FAILED,
        All,
        &["recipe: pages of target 0 cover ", ", the configuration says "],
        |bench, it| {
            let size = it.config["targets"][0]["size"].as_u64().unwrap();
            configure(bench, it, "/targets/0/size", json!(size - 4096));
        },
    ),
    row(
        "frame flipped",
        FAILED,
        Draft,
        &["pack sha256:", " is damaged: digest does not match"],
        |_, it| it.damage("pack", |it| flip_last(it)),
    ),
    row("pack cut", FAILED, All, &[" bytes, its descriptor says "], |_, it| {
        it.damage("pack", halve)
    }),
    row("pack missing", FAILED, All, &["spoilt: sha256:", "is missing"], |_, it| {
        fs::remove_file(it.file("pack")).unwrap()
    }),
    row(
        "pack of another length",
        FAILED,
        All,
        &[" bytes, its descriptor says 999999999999999"],
        |bench, it| {
            claim(bench, it, "/layers/1/size", json!(999_999_999_999_999_u64));
        },
    ),
    row(
        "pack that the configuration does not know",
        REFUSED,
        All,
        &["manifest and configuration disagree on the number of packs"],
        |bench, it| {
            configure(bench, it, "/packs", json!([]));
        },
    ),
    row(
        "target larger than any",
        REFUSED,
        All,
        &["size of a target is 999000000000000, expected 1099511627776"],
        |bench, it| {
            configure(bench, it, "/targets/0/size", json!(999_000_000_000_000_u64));
        },
    ),
    row(
        "root hash of the configuration",
        REFUSED,
        All,
        &["manifest and configuration disagree on the root hash"],
        |bench, it| {
            annotate(bench, it, "root-hash", &"0".repeat(64));
        },
    ),
    row(
        "root hash of both",
        FAILED,
        Draft,
        &["target 0 reads back as root hash ", "signed is 0000"],
        |bench, it| {
            it.config["targets"][0]["rootHash"] = "0".repeat(64).into();
            annotate(bench, it, "root-hash", &"0".repeat(64));
        },
    ),
];

const FRAMES: &[Row] = &[
    row("bomb", FAILED, Draft, &[" decodes to 67108864 bytes, the recipe says "], |bench, it| {
        let bomb = zeros(bench, 64 << 20, &["-19"]);
        it.replace_last_frame(&bomb);
        bench.sign("spoilt", "release");
    }),
    row(
        "bomb of many frames",
        FAILED,
        Draft,
        &[" cannot be decoded within its limits"],
        |bench, it| {
            let part = zeros(bench, it.last_frame_len(), &["-1"]);
            it.replace_last_frame(&part.repeat(2));
            bench.sign("spoilt", "release");
        },
    ),
    row(
        "frame that decodes to less",
        FAILED,
        Draft,
        &[" decodes to 4096 bytes, the recipe says "],
        |bench, it| {
            let short = zeros(bench, 4096, &[]);
            it.replace_last_frame(&short);
            bench.sign("spoilt", "release");
        },
    ),
    row(
        "frame with other bytes",
        FAILED,
        Draft,
        &[" does not hold the chunk for block "],
        |bench, it| {
            let other = zeros(bench, it.last_frame_len(), &[]);
            it.replace_last_frame(&other);
            bench.sign("spoilt", "release");
        },
    ),
    row("frame that is none", FAILED, Draft, &[" is no zstd frame"], |bench, it| {
        it.replace_last_frame(&[7; 200]);
        bench.sign("spoilt", "release");
    }),
    row(
        "window above the limit",
        FAILED,
        Draft,
        &[" has a window of 134217728 bytes, limit 1048576"],
        |bench, it| {
            // It says that it looks back 128 MiB, and is as short as it should be: one run of zeros.
            let len = u32::try_from(it.last_frame_len()).unwrap();
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x80, 17 << 3];
            frame.extend(len.to_le_bytes());
            frame.extend(&(len << 3 | 0b011).to_le_bytes()[..3]);
            frame.push(0);
            it.replace_last_frame(&frame);
            bench.sign("spoilt", "release");
        },
    ),
];

#[test]
fn damaged_and_lying_documents_are_named() {
    judge("bad-documents", DOCUMENTS);
}

#[test]
fn frames_decode_within_their_limits_or_not_at_all() {
    judge("bad-frames", FRAMES);
}
