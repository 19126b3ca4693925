//! Bundles: what is in them, that they are read in place, and that sticks with them install.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Bench, Device, FAILED, REFUSED, Small, native, run, succeed, tool};
use serde_json::{Value, json};

/// Releases one, two and three, each sealed on the one before, in layouts of their own. The third has
/// more than the second, and keeps what that one brought.
fn chain(bench: &Bench) {
    let mut base: Option<String> = None;
    let third = Small { files: 45, ..Small::new(2) };
    for (number, name, image) in
        [(1, "one", Small::new(1)), (2, "two", Small::new(2)), (3, "three", third)]
    {
        let image = image.make(bench, &format!("image-{name}"));
        let mut seal = bench.seal_command(&image, name, number);
        seal.arg("--key").arg(bench.key("release"));
        seal.args(base.iter().flat_map(|base| ["--base", base]));
        succeed(&mut seal);
        base = Some(bench.source(name));
    }
}

fn bundle(bench: &Bench, arguments: &[&str]) -> Command {
    let mut bundle = bench.program("gybe-publish");
    bundle.arg("bundle").args(arguments).arg("--json");
    bundle
}

fn archive(bench: &Bench, name: &str) -> String {
    format!("oci-archive:{}", bench.path(name).display())
}

fn report(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command)).unwrap()
}

fn included(report: &Value) -> Vec<bool> {
    let packs = report["releases"][0]["packs"].as_array().unwrap();
    packs.iter().map(|pack| pack["included"].as_bool().unwrap()).collect()
}

#[test]
fn a_bundle_is_the_same_bytes_again_and_is_read_in_place() {
    let bench = Bench::new("bundle-bytes");
    chain(&bench);
    let (one, three) = (bench.source("one"), bench.source("three"));
    let made = |output: &str| report(&mut bundle(&bench, &[&three, "--output", output]));
    let first = made(&archive(&bench, "first.tar"));
    made(&archive(&bench, "second.tar"));
    let bytes = fs::read(bench.path("first.tar")).unwrap();
    assert!(bytes == fs::read(bench.path("second.tar")).unwrap());
    assert_eq!(first["left_out_bytes"], 0);
    assert_eq!(first["releases"][0]["signatures"], 2);

    // What is read first lies first: what names the rest, then documents, recipe and packs.
    let listed = succeed(tool("tar").arg("-tvf").arg(bench.path("first.tar")));
    let names: Vec<_> = listed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names[..4], ["oci-layout", "index.json", "blobs/", "blobs/sha256/"]);
    let packs = first["releases"][0]["packs"].as_array().unwrap();
    for (name, pack) in names.iter().rev().zip(packs.iter().rev()) {
        let hex = pack["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert_eq!(*name, format!("blobs/sha256/{hex}"));
    }

    // A folder has the same content, is added to, and nothing is copied twice.
    let folder = bench.source("folder");
    made(&folder);
    let again = made(&folder);
    assert_eq!((again["copied_bytes"].clone(), again["there_bytes"].clone()), {
        (json!(0), first["copied_bytes"].clone())
    });
    for source in [folder, format!("{}:release", archive(&bench, "first.tar"))] {
        let device = Device::with(&bench, "device", &one);
        device.gybe(&["verify", &source]).done();
        device.gybe(&["install", &source]).done();
        assert_eq!(device.status()["b"]["release"]["version"], "3.0.0");
        device.remove();
    }
    // A tag can be another one, and tools of others read it.
    made(&format!("{}:stable", archive(&bench, "tagged.tar")));
    let stable = format!("{}:stable", archive(&bench, "tagged.tar"));
    let inspected = succeed(tool("skopeo").args(["inspect", "--raw", &stable]));
    let manifest = serde_json::from_str::<Value>(&inspected).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.gybe.release.v1");
}

#[test]
fn what_no_device_of_the_bases_needs_is_left_out() {
    let bench = Bench::new("bundle-bases");
    chain(&bench);
    let [one, two, three] = ["one", "two", "three"].map(|name| bench.source(name));
    let output = archive(&bench, "update.tar");
    let whole = report(&mut bundle(&bench, &[&three, "--output", &output]));
    let count = included(&whole).len();
    assert!(count >= 3 && included(&whole).iter().all(|it| *it), "{whole}");
    let some = ["--output", &output, "--base", &two];
    let for_two = report(&mut bundle(&bench, &[&[three.as_str()], &some[..]].concat()));
    assert!(!included(&for_two)[0] && included(&for_two)[count - 1], "{for_two}");
    assert!(for_two["left_out_bytes"].as_u64().unwrap() > 0);
    let len = |report: &Value| report["copied_bytes"].as_u64().unwrap();
    assert!(len(&for_two) < len(&whole) / 2, "{for_two}");

    let device = Device::with(&bench, "device-two", &two);
    device.gybe(&["install", &output]).done();
    assert_eq!(device.status()["b"]["release"]["version"], "3.0.0");
    // A device that runs something else is told so, and nothing of it is touched.
    let other = Device::with(&bench, "device-one", &one);
    let before = other.snapshot();
    other.gybe(&["install", &output]).ended(FAILED, &["hint: ", "bundle"]);
    other.gybe(&["plan", &output]).ended(FAILED, &["hint: ", "bundle"]);
    assert_eq!(other.snapshot(), before);
    // For both there is more in it, and both can use it.
    let both = [&three, "--output", &output, "--base", &two, "--base", &one];
    let for_both = report(&mut bundle(&bench, &both));
    assert!(len(&for_both) > len(&for_two) && len(&for_both) < len(&whole), "{for_both}");
    other.gybe(&["install", &output]).done();
}

#[test]
fn a_bundle_for_several_architectures_gives_each_device_its_own() {
    let bench = Bench::new("bundle-architectures");
    let other = if native() == "amd64" { "arm64" } else { "amd64" };
    for (name, architecture) in [("native", native()), ("other", other)] {
        let image = Small { architecture, ..Small::new(1) }.make(&bench, &format!("image-{name}"));
        bench.seal(&image, name, 1);
    }
    let sources = ["native", "other"].map(|name| bench.source(name));
    let output = archive(&bench, "both.tar");
    let made = report(&mut bundle(&bench, &[&sources[0], &sources[1], "--output", &output]));
    assert_eq!(made["releases"].as_array().unwrap().len(), 2);
    let device = Device::new(&bench, "device");
    for source in [output.clone(), format!("{output}:release")] {
        device.gybe(&["install", &source, "--slot", "a", "--no-arm"]).done();
    }
    // The tag leads to an index of both, as for any image for several architectures.
    let inspect = ["inspect", "--raw", &format!("{output}:release")];
    let index: Value = serde_json::from_str(&succeed(tool("skopeo").args(inspect))).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);

    // A bundle is a source, too.
    let one = archive(&bench, "one.tar");
    report(&mut bundle(&bench, &[&output, "--arch", other, "--output", &one]));
    let refused = format!("there is no image for linux/{}", native());
    device.gybe(&["install", &one, "--slot", "a"]).ended(REFUSED, &[&refused]);
    let none = bundle(&bench, &[&one, "--arch", native(), "--output", &one]).output().unwrap();
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains(&format!("has no release for {}, only for {other}", native())), "{said}");
}

#[test]
fn what_would_be_of_no_use_is_not_bundled() {
    let bench = Bench::new("bundle-refused");
    chain(&bench);
    let image = Small::new(1).make(&bench, "image-again");
    succeed(&mut bench.seal_command(&image, "unsigned", 1));
    let mut foreign = bench.program("gybe-publish");
    foreign.args(["seal", "--image", &image, "--output", &bench.source("foreign")]);
    foreign.args(["--compatible", "other-gateway", "--rollback-index", "1", "--version", "1"]);
    succeed(foreign.arg("--key").arg(bench.key("release")).args(["--level", "3"]));
    let [one, two, unsigned, foreign] =
        ["one", "two", "unsigned", "foreign"].map(|name| bench.source(name));
    let output = archive(&bench, "none.tar");
    fs::write(bench.path("none.tar"), "what was there before").unwrap();
    for (arguments, part) in [
        (&[unsigned.as_str()][..], "hint: sign it with gybe-publish sign"),
        (&[&image], "is not a release"),
        (&[&one, &two], "two releases for"),
        (&[&two, "--base", &foreign], "is for no device that one of the releases is for"),
        (&[&two, "--base", &image], "is not a release"),
    ] {
        let ended = run(bundle(&bench, &["--output", &output]).args(arguments));
        ended.ended(FAILED, &[part]);
    }
    // A pack that was damaged makes no bundle, and leaves what was there.
    let parts = bench::Parts::read(&bench.path("two"));
    parts.damage("pack", |bytes| bytes[100] ^= 1);
    run(&mut bundle(&bench, &[&two, "--output", &output])).ended(FAILED, &["is corrupt"]);
    assert_eq!(fs::read(bench.path("none.tar")).unwrap(), b"what was there before");
    let left: Vec<_> = fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".new"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

/// A stick: a file system in a file, behind a loop device.
struct Stick {
    device: String,
}

impl Stick {
    /// One with these files, as `device` sees it at `/dev/stick`; none where this machine does not let
    /// us make one, unless it must.
    fn of(bench: &Bench, kind: &str, content: &Path, device: &Device<'_>) -> Option<Self> {
        let is_root = succeed(Command::new("id").arg("-u")).trim() == "0";
        let possible = is_root && Path::new("/dev/loop-control").exists();
        let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
        assert!(possible || !forced, "sticks need root and loop devices");
        if !possible {
            return None;
        }
        let image: PathBuf = bench.path(&format!("stick-{kind}"));
        fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
        if kind == "ext4" {
            let mut make = tool("mke2fs");
            make.args(["-q", "-t", kind, "-d"]).arg(content);
            succeed(make.arg(&image));
        } else {
            succeed(tool("mkfs.vfat").arg(&image));
            let mut copy = tool("sh");
            copy.args(["-c", "cd \"$1\" && mcopy -s -i \"$0\" * ::"]);
            succeed(copy.arg(&image).arg(content));
        }
        let shown = succeed(tool("losetup").args(["--find", "--show", "--read-only"]).arg(&image));
        let loop_device = shown.trim().to_owned();
        symlink(&loop_device, device.path("dev/stick")).unwrap();
        Some(Self { device: loop_device })
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        drop(tool("losetup").arg("--detach").arg(&self.device).status());
    }
}

#[test]
fn a_real_file_system_is_mounted_for_a_moment_and_its_bundle_installs() {
    let bench = Bench::new("bundle-stick");
    chain(&bench);
    let content = bench.path("content");
    fs::create_dir_all(&content).unwrap();
    let output = archive(&bench, "content/acme.gybe.tar");
    succeed(&mut bundle(&bench, &[&bench.source("two"), "--output", &output]));
    succeed(&mut bundle(
        &bench,
        &[&bench.source("two"), "--output", &format!("oci:{}", content.join("gybe").display())],
    ));
    // Not every kernel that tests run on has every file system; the agent's are asked for by name.
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    let is_known = |kind: &&str| known.lines().any(|line| line.trim() == *kind);
    let kinds: Vec<_> = ["vfat", "ext4"].into_iter().filter(is_known).collect();
    let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
    assert!(!kinds.is_empty() || !forced, "the kernel has neither vfat nor ext4");
    for kind in kinds {
        let device = Device::with(&bench, &format!("device-{kind}"), &bench.source("one"));
        let Some(stick) = Stick::of(&bench, kind, &content, &device) else { return };
        device.gybe(&["usb", "/dev/stick"]).done();
        assert_eq!(device.status()["b"]["release"]["version"], "2.0.0", "{kind}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&format!("{} ", stick.device)), "{mounts}");
    }
    // A file system that is none: looked at, and let be.
    let device = Device::with(&bench, "device-none", &bench.source("one"));
    let Some(stick) = Stick::of(&bench, "vfat", &content, &device) else { return };
    drop(stick);
    fs::remove_file(device.path("dev/stick")).unwrap();
    let blank = bench.path("blank");
    fs::File::create(&blank).unwrap().set_len(1 << 20).unwrap();
    let shown = succeed(tool("losetup").args(["--find", "--show", "--read-only"]).arg(&blank));
    let blank = Stick { device: shown.trim().to_owned() };
    symlink(&blank.device, device.path("dev/stick")).unwrap();
    let ended = device.gybe(&["usb", "/dev/stick"]).done();
    assert!(ended.stdout.contains("it has no file system that is read from sticks"), "{ended:?}");
}
