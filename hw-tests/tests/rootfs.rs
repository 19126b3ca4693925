//! Root file systems that are no images, kernels that lie beside them, and devices whose slots have
//! no boot target.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::process::Command;

use bench::{Bench, Device, FAILED, Small, hex, run, succeed, tool};
use serde_json::Value;

const MODULES: &str = "usr/lib/modules/6.12.0-gybe";

/// The image's root as a folder, its owners being whoever runs this.
fn unpacked(bench: &Bench) -> String {
    let root = bench.path("root");
    fs::create_dir(&root).unwrap();
    succeed(tool("tar").arg("-xpf").arg(bench.path("image.tar")).arg("-C").arg(&root));
    root.display().to_string()
}

fn is_root() -> bool {
    succeed(tool("id").arg("-u")).trim() == "0"
}

/// Seals with the program as the owner of everything, as if it were root.
fn seal(bench: &Bench, input: &[&str], output: &str, number: u32) -> Command {
    let mut seal = if is_root() {
        bench.program("gybe-publish")
    } else {
        let mut unshare = tool("unshare");
        unshare.arg("--map-root-user").arg(bench.program("gybe-publish").get_program());
        unshare
    };
    seal.arg("seal").args(input).args(["--output", &bench.source(output), "--level", "3"]);
    seal.args(["--compatible", bench::COMPATIBLE, "--rollback-index", "1", "--json"]);
    seal.args(["--version", &format!("{number}.0.0"), "--sequence", &number.to_string()]);
    seal.arg("--key").arg(bench.key("release"));
    seal
}

fn sealed(bench: &Bench, input: &[&str], output: &str, number: u32) -> Value {
    serde_json::from_str(&succeed(&mut seal(bench, input, output, number))).unwrap()
}

#[test]
fn a_folder_a_tar_file_and_an_image_become_the_same_slots() {
    let bench = Bench::new("rootfs");
    let small = Small::new(1);
    let image = small.make(&bench, "image");
    let arch = ["--arch", small.architecture];
    let by_image = bench.seal(&image, "by-image", 1);

    let plain = bench.path("image.tar");
    succeed(tool("gzip").arg("--keep").arg(&plain));
    succeed(tool("zstd").args(["-q", "--keep"]).arg(&plain));
    for ending in ["", ".gz", ".zst"] {
        let file = format!("{}{ending}", plain.display());
        let input = [&["--rootfs", &file], &arch[..]].concat();
        let by_tar = sealed(&bench, &input, &format!("by-tar{ending}"), 1);
        assert_eq!(by_tar["targets"], by_image["targets"], "{file}");
        // What people can compare with `sha256sum`.
        let digest = format!("sha256:{}", hex(&fs::read(&file).unwrap()));
        assert_eq!(by_tar["sourceDigest"], digest);
    }
    let folder = unpacked(&bench);
    let input = [&["--rootfs", &folder], &arch[..]].concat();
    let by_folder = sealed(&bench, &input, "by-folder", 1);
    assert_eq!(by_folder["targets"], by_image["targets"]);

    // The kernel of the root itself, from beside it.
    let beside = bench.path("beside");
    succeed(tool("cp").arg("-r").arg(bench.path("image-stage").join(MODULES)).arg(&beside));
    let [kernel, initramfs] =
        ["vmlinuz", "initramfs.img"].map(|name| beside.join(name).display().to_string());
    let outside = ["--kernel", &kernel, "--initramfs", &initramfs];
    let by_both = sealed(&bench, &[&input[..], &outside].concat(), "by-both", 1);
    assert_eq!(by_both["targets"], by_image["targets"]);
    assert_eq!(by_both["kernel"], "6.12.0-gybe");
    // A root without a kernel of its own, and a device tree.
    fs::remove_dir_all(bench.path("root").join(MODULES)).unwrap();
    seal(&bench, &input, "none", 1)
        .output()
        .map(|output| assert!(!output.status.success()))
        .unwrap();
    fs::create_dir_all(beside.join("dtb/acme")).unwrap();
    fs::write(beside.join("dtb/acme/board.dtb"), "tree").unwrap();
    let dtb = beside.join("dtb").display().to_string();
    let all = [&input[..], &outside, &["--dtb", &dtb]].concat();
    let report = sealed(&bench, &all, "by-parts", 1);
    assert_eq!(report["kernel"], "vmlinuz");
    let device = Device::new(&bench, "device");
    device.gybe(&["install", &bench.source("by-parts"), "--slot", "a"]).done();
    device.boot();
    let mut list = tool("mdir");
    list.arg("-/").arg("-b").arg("-i").arg(device.partition("boot_a")).arg("::");
    let listed = succeed(&mut list);
    assert!(listed.contains("::/dtb/acme/board.dtb"), "{listed}");
}

#[test]
fn an_input_that_is_none_is_refused_by_name() {
    let bench = Bench::new("rootfs-bad");
    let small = Small::new(1);
    small.make(&bench, "image");
    let folder = unpacked(&bench);
    let tar = bench.path("image.tar").display().to_string();
    let missing = bench.path("missing").display().to_string();
    let empty = bench.path("empty").display().to_string();
    fs::write(&empty, "").unwrap();
    let with = ["--arch", small.architecture];
    let rows: [(&[&str], &str); 8] = [
        (&["--rootfs", &missing], "missing: No such file or directory"),
        (&["--rootfs", "/dev/null"], "/dev/null is neither a folder nor a tar file"),
        (&["--rootfs", &bench.key("release").display().to_string()], "release.pem: "),
        (&["--rootfs", &folder, "--kernel", &missing, "--initramfs", &tar], "missing: No such"),
        (&["--rootfs", &folder, "--kernel", &tar, "--initramfs", &empty], "empty is not a regular"),
        (&["--rootfs", &folder, "--kernel", &folder, "--initramfs", &tar], "root is not a regular"),
        (
            &["--rootfs", &folder, "--kernel", &tar, "--initramfs", &tar, "--dtb", &tar],
            "image.tar: Not a directory",
        ),
        // Nothing boots it.
        (&["--rootfs", &empty], "usr/lib/modules"),
    ];
    for (input, says) in rows {
        let input = [input, &with].concat();
        run(&mut seal(&bench, &input, "out", 1)).ended(FAILED, &[says]);
        let index = fs::read_to_string(bench.path("out/index.json")).unwrap_or_default();
        assert!(!index.contains("vnd.gybe.release"), "{input:?}: {index}");
    }
}

/// A device whose slots have a root partition each, and nothing else.
fn without_boot<'b>(bench: &'b Bench, name: &str) -> Device<'b> {
    let device = Device::new(bench, name);
    let config = bench::config();
    let lines = config.lines().filter(|line| !line.starts_with("boot = "));
    device.write(
        "usr/lib/gybe/config.toml",
        &lines.map(|line| format!("{line}\n")).collect::<String>(),
    );
    for slot in ["a", "b"] {
        fs::remove_file(device.partition(&format!("boot_{slot}"))).unwrap();
        // What tests of these devices look at when nothing may change.
        device.write(&format!("dev/boot_{slot}"), "not ours");
    }
    device
}

#[test]
fn a_release_without_a_boot_target_is_installed_tried_kept_and_given_up() {
    let bench = Bench::new("no-boot");
    let base = bench.source("v1");
    let folder = |number: u32, more: &[&str]| {
        let stage = bench.path(&format!("stage{number}"));
        let small = Small::new(number);
        small.write(&stage);
        let input = stage.display().to_string();
        let input = ["--rootfs", &input, "--arch", small.architecture, "--no-boot"];
        sealed(&bench, &[&input, more].concat(), &format!("v{number}"), number)
    };
    let first = folder(1, &[]);
    let second = folder(2, &["--base", &base]);
    assert_eq!(second["packs"].as_array().unwrap().len(), 2, "{second}");
    let names = |report: &Value| {
        report["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["root"]);
    assert_eq!(first["kernel"], Value::Null);

    let device = without_boot(&bench, "device");
    device.gybe(&["install", &bench.source("v1"), "--slot", "a"]).done();
    device.boot();
    let line = fs::read_to_string(device.path("proc/cmdline")).unwrap();
    let hash = first["rootHash"].as_str().unwrap();
    assert!(line.contains(&format!(" roothash={hash} ")), "{line}");
    assert!(line.contains(" gybe.slot=a "), "{line}");
    device.gybe(&["commit"]).done();
    assert_eq!(device.status()["a"]["state"], "good");

    // The second is tried and kept; only what is new is fetched.
    let report = device.gybe(&["install", &bench.source("v2"), "--json"]).done().json();
    assert!(report["cost"]["copied_bytes"].as_u64().unwrap() > 2_000_000, "{report}");
    assert_eq!(device.status()["b"]["state"], "trial");
    device.boot();
    assert_eq!(device.status()["running"], "b");
    device.gybe(&["commit"]).done();
    let slots = device.gybe(&["verify", "--slots", "--json"]).done().json();
    for slot in slots["slots"].as_array().unwrap() {
        assert_eq!((&slot["state"], &slot["right"]), (&"good".into(), &true.into()), "{slots}");
    }
    // And the first again, which is never committed: its tries run out.
    device.gybe(&["install", &bench.source("v1")]).done();
    for _ in 0..3 {
        device.boot();
        assert_eq!(device.status()["running"], "a");
    }
    device.boot();
    let status = device.status();
    assert_eq!((&status["running"], &status["a"]["state"]), (&"b".into(), &"failed".into()));
    assert_eq!(fs::read_to_string(device.partition("boot_a")).unwrap(), "not ours");
}

#[test]
fn a_slot_without_a_boot_target_is_not_loadable_before_it_is_proven() {
    let bench = Bench::new("no-boot-cut");
    let stage = bench.path("stage");
    let small = Small::new(1);
    small.write(&stage);
    let input = stage.display().to_string();
    let input = ["--rootfs", &input, "--arch", small.architecture, "--no-boot"];
    sealed(&bench, &input, "v1", 1);
    let device = without_boot(&bench, "device");
    for slot in ["a", "b"] {
        device.gybe(&["install", &bench.source("v1"), "--slot", slot, "--no-arm"]).done();
    }
    let root = fs::read(device.partition("root_b")).unwrap();
    // As an install leaves it that was cut anywhere: its first block is written last.
    device.damage("root_b", |bytes| bytes[..4096].fill(0));
    assert_eq!(device.status()["b"]["state"], "unbootable");
    // The environment lies about it, or is lost: what is loaded is the other slot.
    fs::remove_file(device.path("boot/env/grubenv")).unwrap();
    fs::remove_file(device.path("boot/env/grubenv.safe")).unwrap();
    device.boot();
    assert!(fs::read_to_string(device.path("proc/cmdline")).unwrap().contains("gybe.slot=a"));
    device.damage("root_a", |bytes| bytes[..4096].fill(0));
    device.damage("root_b", |bytes| bytes.clone_from(&root));
    device.boot();
    assert!(fs::read_to_string(device.path("proc/cmdline")).unwrap().contains("gybe.slot=b"));
}

#[test]
fn a_release_and_a_device_that_differ_about_boot_do_not_meet() {
    let bench = Bench::new("no-boot-refused");
    let small = Small::new(1);
    let image = small.make(&bench, "image");
    bench.seal(&image, "whole", 1);
    sealed(&bench, &["--image", &image, "--no-boot"], "bare", 1);
    let whole = Device::with(&bench, "whole-device", &bench.source("whole"));
    let bare = without_boot(&bench, "bare-device");
    bare.gybe(&["install", &bench.source("bare"), "--slot", "a"]).done();
    bare.boot();
    bare.gybe(&["commit"]).done();
    for (device, release, says) in [
        (&whole, "bare", "release has no target \"boot\""),
        (&bare, "whole", "release has a target \"boot\""),
    ] {
        let before = device.snapshot();
        for verb in ["plan", "install"] {
            device.gybe(&[verb, &bench.source(release)]).ended(FAILED, &[says]);
        }
        assert_eq!(device.snapshot(), before, "{release}");
    }
}
