//! A real Debian image, sealed, carried and installed, as other programs see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use gybe_hw_tests::{device::Device, programs, sample};
use serde_json::Value;

/// A release of the sample image `v1`, made once for all tests of this file.
struct Release {
    programs: PathBuf,
    samples: sample::Samples,
    folder: PathBuf,
}

fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let samples = sample::images().expect("run: cargo full-test, which makes the images");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-release");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let release = Release { programs: programs::build().unwrap(), samples, folder };
        release.seal(&release.samples.image("v1"), &release.source());
        release
    })
}

impl Release {
    fn source(&self) -> String {
        self.layout("releases")
    }

    fn layout(&self, name: &str) -> String {
        format!("oci:{}:v1", self.folder.join(name).display())
    }

    fn seal(&self, image: &str, output: &str) {
        let key = self.samples.key();
        let mut seal = Command::new(self.programs.join("gybe-publish"));
        seal.args(["seal", "--image", image, "--output", output, "--level", "3"]);
        seal.args(["--compatible", "gybe-sample", "--version", "1.0.0", "--rollback-index", "1"]);
        seal.args(["--sequence", "1", "--key", key.to_str().unwrap()]);
        succeed(&mut seal);
    }

    fn device(&self, name: &str) -> Device {
        Device::create(&self.folder.join(name), &self.samples).unwrap()
    }

    fn gybe(&self, device: &Device) -> Command {
        let mut gybe = Command::new(self.programs.join("gybe"));
        gybe.arg("--root").arg(device.root()).stdin(Stdio::null());
        gybe
    }
}

/// Runs a tool, with those that are newer than the host's in its path.
fn tool(name: &str) -> Command {
    let newer = std::env::var_os("GYBE_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools"));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", newer.join("bin").display()));
    command
}

fn output(command: &mut Command) -> Output {
    let name = command.get_program().display().to_string();
    let missing = format!("{name} does not run; run: cargo full-test, which installs it");
    command.output().expect(&missing)
}

/// Removes what is not looked at after a test that passed: each device takes half a GB of disk.
fn remove(device: &Device) {
    fs::remove_dir_all(device.root()).unwrap();
}

/// What the command says on stdout; it must succeed.
fn succeed(command: &mut Command) -> String {
    let output = output(command);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{command:?}", output.status, talk.trim_end());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn manifest(layout: &str) -> Value {
    let text = succeed(tool("skopeo").args(["inspect", "--raw", layout]));
    serde_json::from_str(&text).unwrap()
}

fn annotation<'a>(manifest: &'a Value, name: &str) -> &'a str {
    manifest["annotations"][name].as_str().unwrap()
}

fn status(release: &Release, device: &Device) -> Value {
    serde_json::from_str(&succeed(release.gybe(device).args(["status", "--json"]))).unwrap()
}

#[test]
fn gzip_and_zstd_layers_become_the_same_release() {
    let release = release();
    let gzip = manifest(&release.source());
    let output = release.layout("from-zstd");
    release.seal(&release.samples.zstd_image(), &output);
    let zstd = manifest(&output);
    let root_hash = annotation(&gzip, "dev.gybe.root-hash");
    assert_eq!(root_hash, annotation(&zstd, "dev.gybe.root-hash"));
    assert_eq!(gzip["layers"], zstd["layers"], "recipe and packs");
    let source = "dev.gybe.source-digest";
    assert_ne!(annotation(&gzip, source), annotation(&zstd, source), "the images differ");
}

#[test]
fn what_skopeo_or_oras_copies_still_installs() {
    let release = release();
    let listed = fs::read(release.folder.join("releases/index.json")).unwrap();
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let digest = listed["manifests"][0]["digest"].as_str().unwrap();
    let signature = format!("{}.sig", digest.replace(':', "-"));
    let with_tag = release.source().replace(":v1", &format!(":{signature}"));
    let copied = release.layout("by-skopeo");
    succeed(tool("skopeo").args(["copy", &release.source(), &copied]));
    let copied_signature = copied.replace(":v1", &format!(":{signature}"));
    succeed(tool("skopeo").args(["copy", &with_tag, &copied_signature]));

    let attached = release.layout("by-oras");
    let plain = |layout: &str| layout.strip_prefix("oci:").unwrap().to_owned();
    let mut oras = tool("oras");
    oras.args(["copy", "--recursive", "--from-oci-layout", &plain(&release.source())]);
    succeed(oras.args(["--to-oci-layout", &plain(&attached)]));

    let device = release.device("copies");
    for (slot, source) in [("a", copied), ("b", attached)] {
        succeed(release.gybe(&device).args(["install", &source, "--slot", slot, "--no-arm"]));
        let status = status(release, &device);
        assert_eq!(status[slot]["state"], "proven", "slot {slot} from {source}");
        assert_eq!(status[slot]["release"]["digest"].as_str(), Some(digest));
    }
    let same = |target: &str| {
        let [a, b] = ["a", "b"].map(|slot| device.partition(target, slot));
        succeed(tool("cmp").args(["--bytes", "20000000"]).args([a, b]))
    };
    assert_eq!([same("root"), same("boot")], ["", ""], "slot A and slot B");
    remove(&device);
}

#[test]
fn an_install_that_is_killed_again_and_again_ends_where_one_that_is_not_does() {
    let release = release();
    let device = release.device("killed");
    let arguments = ["install", &release.source(), "--slot", "b", "--progress=json", "--json"];
    for percent in [10, 35, 60, 85] {
        let mut gybe = release.gybe(&device);
        let mut child =
            gybe.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reached = lines.map_while(Result::ok).any(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            let number = |name: &str| event[name].as_u64().unwrap_or(0);
            event["phase"] == "fetch"
                && number("done_bytes") * 100 >= number("total_bytes") * percent
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "{percent} % was never reported");
        let status = status(release, &device);
        assert_eq!(status["b"]["state"], "unbootable", "killed at {percent} %");
        let mut head = [1; 4096];
        let root = fs::File::open(device.partition("root", "b")).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&root, &mut head, 0).unwrap();
        assert!(head.iter().all(|byte| *byte == 0), "an unproven slot can be loaded");
    }
    let report = succeed(release.gybe(&device).args(arguments));
    let last: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    let cost = |name: &str| last["cost"][name].as_u64().unwrap();
    assert!(cost("skipped_bytes") * 2 > cost("total_bytes"), "what was right is kept: {last}");
    assert_eq!(last["armed"], true);
    succeed(release.gybe(&device).args(["verify", "--slots"]));
    remove(&device);
}

/// What an install of any image may have in memory at once. The programs of tests are not made
/// small: what a device runs takes less.
const MEMORY_MAX: u64 = 24 << 20;

/// Claims that installing from `source` to a new device stays within [`MEMORY_MAX`], and that the image
/// is so large that this means something.
fn install_in_a_small_memory(release: &Release, name: &str, source: &str) {
    let device = release.device(name);
    let mut gybe = release.gybe(&device);
    gybe.args(["install", source, "--slot", "a", "--progress=json"]);
    let mut child = gybe.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut peak, mut total) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        total = event["total_bytes"].as_u64().unwrap_or(total);
        // The high-water mark is gone with the process, so it is read at each event.
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib =
            line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
    }
    assert!(child.wait().unwrap().success());
    assert!(total > 16 * MEMORY_MAX, "the image has only {total} bytes");
    assert!(peak > 0 && peak <= MEMORY_MAX, "{source}: {peak} bytes, limit {MEMORY_MAX}");
    remove(&device);
}

#[test]
fn an_install_of_a_large_image_stays_within_a_small_memory() {
    let release = release();
    install_in_a_small_memory(release, "memory", &release.source());
}

#[test]
fn a_bundle_in_one_file_is_installed_in_place_within_a_small_memory() {
    let release = release();
    let archive = format!("oci-archive:{}", release.folder.join("v1.gybe.tar").display());
    let mut bundle = Command::new(release.programs.join("gybe-publish"));
    succeed(bundle.args(["bundle", &release.source(), "--output", &archive]));
    install_in_a_small_memory(release, "memory-archive", &archive);
}

#[test]
fn the_kernel_and_every_judge_see_in_the_slot_what_umoci_unpacks() {
    if succeed(Command::new("id").arg("-u")).trim() != "0" {
        let all = std::env::var("GYBE_JUDGES").is_ok_and(|judges| judges == "all");
        assert!(!all, "mounting needs root");
        return;
    }
    let release = release();
    let device = release.device("judged");
    succeed(release.gybe(&device).args(["install", &release.source(), "--slot", "a"]));
    let root = device.partition("root", "a");
    succeed(tool("fsck.erofs").arg(&root));
    succeed(tool("fsck.fat").arg("-n").arg(device.partition("boot", "a")));

    let hash = annotation(&manifest(&release.source()), "dev.gybe.root-hash").to_owned();
    // The superblock of EROFS lies at 1024 and holds the count of 4 KiB blocks at 36.
    let mut count = [0; 4];
    let file = fs::File::open(&root).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut count, 1024 + 36).unwrap();
    let offset = format!("--hash-offset={}", u64::from(u32::from_le_bytes(count)) * 4096);
    let hex = hash.strip_prefix("sha256:").unwrap_or(&hash);
    succeed(tool("veritysetup").arg("verify").args([&root, &root]).args([hex, &offset]));

    let bundle = release.folder.join("bundle");
    let image = release.samples.image("v1");
    let mut unpack = tool("umoci");
    unpack.args(["unpack", "--image", image.strip_prefix("oci:").unwrap()]);
    succeed(unpack.arg(&bundle));
    let unpacked = bundle.join("rootfs");
    // What belongs to the running machine is empty in a slot.
    for folder in ["boot", "run", "sysroot", "tmp"] {
        for entry in fs::read_dir(unpacked.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
    move_out_initramfs(&unpacked, &bundle.join("initramfs.img"));
    let mounted = Mount::new(&root, release.folder.join("mounted"));
    let seen = [&unpacked, &mounted.at].map(|at| listing(at));
    assert!(seen[0].len() > 9000, "only {} entries", seen[0].len());
    let differing: Vec<_> =
        seen[0].iter().zip(&seen[1]).filter(|(one, other)| one != other).collect();
    assert_eq!(seen[0].len(), seen[1].len(), "entries; first difference: {:?}", differing.first());
    assert!(differing.is_empty(), "{} differ: {:?}", differing.len(), differing.first());
    let mut diff = tool("diff");
    diff.args(["--recursive", "--no-dereference", "--brief"]).arg("--exclude=dev");
    assert_eq!(succeed(diff.args([&unpacked, &mounted.at])), "", "contents");
    let xattrs = [&unpacked, &mounted.at].map(|at| {
        let mut read = tool("getfattr");
        read.args([
            "--recursive",
            "--no-dereference",
            "--dump",
            "--match=-",
            "--encoding=hex",
            ".",
        ]);
        let text = succeed(read.current_dir(at));
        let mut found: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
        found.sort();
        found
    });
    assert_eq!(xattrs[0], xattrs[1], "extended attributes");
    drop(mounted);
    fs::remove_dir_all(&bundle).unwrap();
    remove(&device);
}

/// Moves the one file out of the tree that a slot has in its boot target; the folder keeps its time.
fn move_out_initramfs(tree: &Path, to: &Path) {
    let folder =
        fs::read_dir(tree.join("usr/lib/modules")).unwrap().next().unwrap().unwrap().path();
    let stamp = to.with_extension("stamp");
    fs::write(&stamp, "").unwrap();
    succeed(tool("touch").arg("--reference").args([&folder, &stamp]));
    fs::rename(folder.join("initramfs.img"), to).unwrap();
    succeed(tool("touch").arg("--reference").args([&stamp, &folder]));
}

/// Every entry with type, mode, owner, links, length, time, link target; directories have no length.
fn listing(at: &Path) -> Vec<String> {
    let mut find = tool("find");
    find.args([".", "-mindepth", "1"]);
    find.args(["(", "-type", "d", "-printf", "%P\\t%y %m %U:%G %n %T@\\n", ")", "-o"]);
    find.args(["-printf", "%P\\t%y %m %U:%G %n %s %T@ %l\\n"]);
    let emptied = ["boot\t", "run\t", "sysroot\t", "tmp\t"];
    let text = succeed(find.current_dir(at));
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !emptied.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// A mounted image, unmounted when the test ends, however it does.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        succeed(tool("mount").args(["-t", "erofs", "-o", "loop,ro"]).args([image, &at]));
        Self { at }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(tool("umount").arg(&self.at).status());
    }
}
