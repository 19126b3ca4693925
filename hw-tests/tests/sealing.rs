//! One image is one release, whoever packed it and wherever it is sealed; an image that is none is
//! refused by name.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::path::Path;

use bench::{Bench, Device, FAILED, Small, hex, run, succeed, tool};
use serde_json::{Value, json};

/// Seals an image; gives the root hashes of its targets and the digests of recipe and pack.
fn sealed(bench: &Bench, image: &str, output: &str) -> Value {
    let report = bench.seal(image, output, 1);
    let manifest = bench::Parts::read(&bench.path(output)).manifest;
    json!([report["targets"], manifest["layers"]])
}

/// The same image in the form that skopeo makes with these options.
fn by_skopeo(bench: &Bench, from: &str, options: &[&str], to: &str) -> String {
    let to = to.replace("PATH", &bench.path("").display().to_string());
    succeed(tool("skopeo").args(["copy", "--quiet"]).args(options).args([from, &to]));
    to
}

#[test]
fn an_image_gives_the_same_slots_however_it_is_packed_and_wherever_it_is_sealed() {
    let bench = Bench::new("sealing");
    let image = Small::new(1).make(&bench, "image");
    let expected = sealed(&bench, &image, "first");

    let zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
    let forms = [
        ("zstd", by_skopeo(&bench, &image, &zstd, "oci:PATH/zstd:t")),
        ("archive", by_skopeo(&bench, &image, &[], "oci-archive:PATH/image.archive:t")),
        ("zstd archive", by_skopeo(&bench, &image, &zstd, "oci-archive:PATH/zstd.archive:t")),
        ("plain", plain(&bench, "image", "plain")),
        ("again", image.clone()),
    ];
    for (name, form) in &forms {
        assert_eq!(sealed(&bench, form, name), expected, "{name}");
    }

    // From another folder, by another path, on another day: only what tells the time differs.
    let elsewhere = bench.path("else/where");
    fs::create_dir_all(&elsewhere).unwrap();
    let mut seal = bench.program("gybe-publish");
    seal.args(["seal", "--image", "oci:../../image:t", "--output", "oci:out:release"]);
    seal.args(["--compatible", "other", "--version", "9", "--rollback-index", "5", "--json"]);
    seal.args(["--level", "3"]).current_dir(&elsewhere);
    seal.env("SOURCE_DATE_EPOCH", "1").env("TZ", "Pacific/Auckland").env("LC_ALL", "C");
    let report: Value = serde_json::from_str(&succeed(&mut seal)).unwrap();
    assert!(report["sequence"].as_u64().unwrap() > 1_700_000_000, "{report}");
    assert_eq!(report["targets"], expected[0]);

    let device = Device::new(&bench, "device");
    for (slot, release) in [("a", "first"), ("b", "plain")] {
        device.gybe(&["install", &bench.source(release), "--slot", slot, "--no-arm"]).done();
    }
    for target in expected[0].as_array().unwrap() {
        let name = target["name"].as_str().unwrap();
        let len = usize::try_from(target["bytes"].as_u64().unwrap()).unwrap();
        let [a, b] = ["a", "b"].map(|slot| fs::read(device.partition(&format!("{name}_{slot}"))));
        assert!(a.unwrap()[..len] == b.unwrap()[..len], "{name} of slot A is another than of B");
    }
}

/// A copy of the image in `layout` whose layer is not compressed.
fn plain(bench: &Bench, layout: &str, copy: &str) -> String {
    succeed(tool("cp").arg("-r").arg(bench.path(layout)).arg(bench.path(copy)));
    change(&bench.path(copy), |folder, manifest| {
        let layer = &mut manifest["layers"][0];
        let bytes = succeed_raw(tool("zcat").arg("-f").arg(blob(folder, layer)));
        *layer = put(folder, layer, &bytes);
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    });
    format!("oci:{}:t", bench.path(copy).display())
}

fn succeed_raw(command: &mut std::process::Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

fn blob(folder: &Path, descriptor: &Value) -> std::path::PathBuf {
    let name = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    folder.join(name)
}

/// Writes a blob; gives `descriptor` with its digest and size.
fn put(folder: &Path, descriptor: &Value, bytes: &[u8]) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["digest"] = format!("sha256:{}", hex(bytes)).into();
    descriptor["size"] = bytes.len().into();
    fs::write(blob(folder, &descriptor), bytes).unwrap();
    descriptor
}

/// Changes the manifest of the only image in a layout.
fn change(folder: &Path, how: impl FnOnce(&Path, &mut Value)) {
    let json = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let mut index = json(&folder.join("index.json"));
    let entry = &mut index["manifests"][0];
    let mut manifest = json(&blob(folder, entry));
    how(folder, &mut manifest);
    *entry = put(folder, entry, manifest.to_string().as_bytes());
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn what_buildah_and_podman_make_is_sealed() {
    if succeed(tool("id").arg("-u")).trim() != "0" {
        let all = std::env::var("GYBE_JUDGES").is_ok_and(|judges| judges == "all");
        assert!(!all, "buildah needs root here");
        return;
    }
    let bench = Bench::new("makers");
    let image = Small::new(1).make(&bench, "image");
    let expected = bench.seal(&image, "by-umoci", 1)["targets"].clone();
    let storage = |name: &str| {
        let mut command = tool(name);
        command.arg("--root").arg(bench.path("storage")).arg("--runroot").arg(bench.path("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let buildah = || storage("buildah");
    let container = succeed(buildah().args(["from", "scratch"])).trim().to_owned();
    succeed(buildah().args(["add", "--quiet", &container]).arg(bench.path("image.tar")).arg("/"));
    let label = ["--label", "ostree.bootable=1"];
    succeed(buildah().args(["config", "--created-by", "a judge"]).args(label).arg(&container));
    let built = format!("oci:{}:t", bench.path("built").display());
    succeed(buildah().args(["commit", "--quiet", "--rm", &container, &built]));
    // Buildah gives the root directory a time of its own, so the bytes are others of equal length.
    let by_buildah = bench.seal(&built, "by-buildah", 1)["targets"].clone();
    let lens = |targets: &Value| [0, 1].map(|at| targets[at]["bytes"].clone());
    assert_eq!(lens(&by_buildah), lens(&expected), "buildah");
    Device::new(&bench, "device")
        .gybe(&["install", &bench.source("by-buildah"), "--slot", "a"])
        .done();

    let id = succeed(storage("podman").args(["pull", "--quiet", &built])).trim().to_owned();
    let archive = bench.path("saved.archive");
    let mut save = storage("podman");
    save.args(["save", "--quiet", "--format", "oci-archive", "--output"]).arg(&archive).arg(id);
    succeed(&mut save);
    let saved = format!("oci-archive:{}", archive.display());
    assert_eq!(bench.seal(&saved, "by-podman", 1)["targets"], by_buildah, "podman");
}

/// What is wrong with the image, further arguments of `seal`, what it says, and how to do it.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], fn(&Path, &mut Value));

#[test]
fn an_image_that_is_none_is_refused_by_name() {
    let bench = Bench::new("bad-image");
    Small::new(1).make(&bench, "image");
    let rows: &[Row] = &[
        ("a layer of 999 TB", &[], &["999000000000000"], |_, it| {
            it["layers"][0]["size"] = 999_000_000_000_000_u64.into()
        }),
        ("a layer of another digest", &[], &["layer", "sha256:"], |folder, it| {
            let path = blob(folder, &it["layers"][0]);
            let mut bytes = fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a layer that is cut", &[], &["bytes"], |folder, it| {
            let path = blob(folder, &it["layers"][0]);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a layer that is missing", &[], &["is missing"], |folder, it| {
            fs::remove_file(blob(folder, &it["layers"][0])).unwrap();
        }),
        ("a configuration that is none", &[], &["sha256:"], |folder, it| {
            it["config"] = put(folder, &it["config"], b"none");
        }),
        ("no label", &[], &["containers.bootc"], |folder, it| {
            let bytes = fs::read(blob(folder, &it["config"])).unwrap();
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            config["config"]["Labels"] = json!({});
            it["config"] = put(folder, &it["config"], config.to_string().as_bytes());
        }),
        ("no layers", &[], &["usr/lib/modules"], |folder, it| {
            it["layers"] = json!([]);
            let bytes = fs::read(blob(folder, &it["config"])).unwrap();
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            config["rootfs"]["diff_ids"] = json!([]);
            it["config"] = put(folder, &it["config"], config.to_string().as_bytes());
        }),
        ("another architecture", &["--arch", "riscv64"], &["riscv64"], |_, _| ()),
        ("too small a slot", &["--max-slot", "1M"], &["1048576"], |_, _| ()),
    ];
    for (name, arguments, says, spoil) in rows {
        let folder = bench.path("spoilt");
        let _ = fs::remove_dir_all(&folder);
        let _ = fs::remove_dir_all(bench.path("out"));
        succeed(tool("cp").arg("-r").arg(bench.path("image")).arg(&folder));
        change(&folder, spoil);
        let image = format!("oci:{}:t", folder.display());
        let ended = run(bench.seal_command(&image, "out", 1).args(*arguments));
        eprintln!("{name}: {}", ended.stderr);
        ended.ended(FAILED, says);
        // What was not sealed is not listed as a release.
        let index = fs::read_to_string(bench.path("out/index.json")).unwrap_or_default();
        assert!(!index.contains("vnd.gybe.release"), "{name}: {index}");
    }
}
