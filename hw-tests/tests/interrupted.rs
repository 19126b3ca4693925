//! Installs on real partitions that are killed at any moment, and one that must then be let be.
//!
//! The partitions are those of a GPT behind loop devices where this machine lets us make one, else
//! plain files; with `GYBE_JUDGES=all` they must be partitions.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, Device, FAILED, REFUSED, Small, run, succeed, tool};
use serde_json::{Value, json};

/// How many installs are killed before their end, and how many attempts at that there may be: on a
/// fast machine more of them come to their end first.
const KILLS: u32 = 24;
const ATTEMPTS_MAX: u32 = 240;
const NAMES: [&str; 4] = ["root_a", "boot_a", "root_b", "boot_b"];

/// The four partitions of a disk, each behind a loop device of its own: not every kernel shows
/// the partitions of a loop device.
struct Disk {
    partitions: Vec<String>,
}

impl Disk {
    /// Makes the partitions be those of `device`.
    fn of(bench: &Bench, device: &Device<'_>) -> Option<Self> {
        let is_root = succeed(Command::new("id").arg("-u")).trim() == "0";
        let possible = is_root && Path::new("/dev/loop-control").exists();
        let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
        assert!(possible || !forced, "partitions need root and loop devices");
        if !possible {
            return None;
        }
        let file = bench.path("disk");
        fs::File::create(&file).unwrap().set_len(200 << 20).unwrap();
        let table = NAMES.map(|name| format!("size=45MiB, name={name}")).join("\n");
        let script = bench.path("table");
        fs::write(&script, format!("label: gpt\n{table}\n")).unwrap();
        let mut sfdisk = tool("sh");
        sfdisk.arg("-c").arg("sfdisk --quiet --no-reread \"$0\" < \"$1\"");
        succeed(sfdisk.arg(&file).arg(&script));
        let shown = succeed(tool("sfdisk").arg("--json").arg(&file));
        let table: Value = serde_json::from_str(&shown).unwrap();
        let mut disk = Self { partitions: Vec::new() };
        for (number, name) in NAMES.iter().enumerate() {
            let partition = &table["partitiontable"]["partitions"][number];
            assert_eq!(partition["name"], *name);
            let bytes = |member: &str| (partition[member].as_u64().unwrap() * 512).to_string();
            let mut losetup = tool("losetup");
            losetup.args(["--find", "--show", "--offset", &bytes("start")]);
            let shown = succeed(losetup.args(["--sizelimit", &bytes("size")]).arg(&file));
            let path = shown.trim().to_owned();
            fs::remove_file(device.partition(name)).unwrap();
            symlink(&path, device.partition(name)).unwrap();
            disk.partitions.push(path);
        }
        Some(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for partition in &self.partitions {
            drop(tool("losetup").arg("--detach").arg(partition).status());
        }
    }
}

/// Numbers that look random: which ones depends on the seed, which failures name.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// What an install reported before it ended or was killed.
#[derive(Default)]
struct Seen {
    /// The most bytes that were in place.
    done: u64,
    report: Option<Value>,
}

/// Installs the release and kills that after so many lines of progress and so much more time.
fn install(device: &Device<'_>, source: &str, end: Option<(&str, u64, Duration)>) -> Seen {
    let mut command = device.command(&["install", source, "--json", "--progress=json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = Seen::default();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: String| {
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] != "progress" {
            seen.report = Some(event);
        } else if event["phase"] == "fetch" {
            seen.done = event["done_bytes"].as_u64().unwrap();
        }
    };
    if let Some((signal, count, after)) = end {
        for line in lines.by_ref().take(usize::try_from(count).unwrap()) {
            note(line.unwrap());
        }
        let start = Instant::now();
        while start.elapsed() < after {
            std::thread::yield_now();
        }
        run(tool("kill").args([signal, &child.id().to_string()]));
    }
    lines.map_while(Result::ok).for_each(note);
    child.wait().unwrap();
    seen
}

#[test]
fn an_install_killed_at_any_moment_goes_on_where_it_was() {
    let bench = Bench::new("interrupted");
    let small = |seed| Small { files: 400, changed: 350, ..Small::new(seed) };
    let [_, sealed] = [("one", 1), ("two", 2)].map(|(name, number)| {
        let image = small(number).make(&bench, &format!("image-{name}"));
        bench.seal(&image, name, number)
    });
    let (one, two) = (bench.source("one"), bench.source("two"));
    let device = Device::new(&bench, "device");
    NAMES.iter().for_each(|name| device.resize(name, 45 << 20));
    let disk = Disk::of(&bench, &device);
    device.gybe(&["install", &one, "--slot", "a"]).done();
    device.boot();
    device.gybe(&["commit"]).done();
    let running = device.snapshot();
    device.gybe(&["install", &two, "--slot", "a"]).ended(REFUSED, &["is never written"]);
    if let Some(disk) = &disk {
        refuses_a_mounted_slot(&bench, &device, disk, &two);
    }

    let seed = 7;
    let mut random = Random(seed);
    let (mut best, mut in_time) = (0, 0);
    for kill in 0..ATTEMPTS_MAX {
        if in_time == KILLS {
            break;
        }
        let signal = if kill % 2 == 0 { "-KILL" } else { "-TERM" };
        // An install on its way to the end reports about as many lines as it has frames.
        let moment = (signal, random.below(30), Duration::from_micros(random.below(9_000)));
        let seen = install(&device, &two, Some(moment));
        let status = device.status();
        let at = format!("seed {seed}, kill {kill} {moment:?}: {status}");
        if seen.report.is_some() || status["b"]["state"] == "trial" {
            // It came to its end before the signal did: begin again with an empty slot.
            device.gybe(&["rollback"]).done();
            for name in ["root_b", "boot_b"] {
                let len = fs::metadata(device.partition(name)).unwrap().len().max(45 << 20);
                let zeros = vec![0; usize::try_from(len).unwrap()];
                let file = fs::OpenOptions::new().write(true).open(device.partition(name));
                std::io::Write::write_all(&mut file.unwrap(), &zeros).unwrap();
            }
            best = 0;
            continue;
        }
        in_time += 1;
        best = best.max(seen.done);
        assert_eq!(status["a"]["state"], "good", "{at}");
        assert_eq!(status["next_boot"], "a", "{at}");
        let state = status["b"]["state"].as_str().unwrap();
        assert!(["unbootable", "proven"].contains(&state), "{at}");
        let now = device.snapshot();
        assert_eq!(now["dev/root_a"], running["dev/root_a"], "{at}");
        assert_eq!(now["dev/boot_a"], running["dev/boot_a"], "{at}");
    }
    assert_eq!(in_time, KILLS, "of {ATTEMPTS_MAX} attempts only these came in time");
    let report = install(&device, &two, None).report.unwrap();
    let cost = |name: &str| report["cost"][name].as_u64().unwrap();
    // What was in place when the best of them was killed is not fetched again, but for what was on
    // its way then, and each target's first chunk, which is zero until the end.
    let on_its_way = 4 << 20;
    let kept = cost("skipped_bytes") + cost("zero_bytes") + on_its_way;
    assert!(kept >= best, "{best} bytes were in place: {report}");
    assert!(cost("skipped_bytes") > 0, "nothing was skipped: {report}");
    assert_eq!(device.status()["b"]["state"], json!("trial"));

    // The slot is what an install that nobody disturbed makes of it.
    let calm = Device::new(&bench, "calm");
    NAMES.iter().for_each(|name| calm.resize(name, 45 << 20));
    calm.gybe(&["install", &two, "--slot", "b"]).done();
    for (name, target) in ["root_b", "boot_b"].iter().zip(sealed["targets"].as_array().unwrap()) {
        let len = usize::try_from(target["bytes"].as_u64().unwrap()).unwrap();
        let [one, other] = [&device, &calm].map(|it| fs::read(it.partition(name)).unwrap());
        assert!(one[..len] == other[..len], "{name} is another one");
    }
    drop(disk);
}

/// A slot that is mounted is not written, whoever mounted it and wherever.
fn refuses_a_mounted_slot(bench: &Bench, device: &Device<'_>, disk: &Disk, source: &str) {
    let partition = &disk.partitions[3];
    succeed(tool("mkfs.ext4").arg("-q").arg(partition));
    let at = bench.path("mounted");
    fs::create_dir_all(&at).unwrap();
    succeed(tool("mount").arg(partition).arg(&at));
    let before = device.snapshot();
    let ended = device.gybe(&["install", source]);
    let after = device.snapshot();
    succeed(tool("umount").arg(&at));
    ended.ended(FAILED, &["boot_b is held by another program"]);
    assert_eq!(after["dev/root_b"], before["dev/root_b"]);
    assert_eq!(after["boot/env/grubenv"], before["boot/env/grubenv"]);
}
