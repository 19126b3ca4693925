//! The device as it is in the field: partitions, a mounted root, no `--root`.
//!
//! The running system is a folder in a file system on a loop device, entered with chroot in a mount
//! name space of its own. Needs root and loop devices; without them nothing is claimed here, unless
//! `GYBE_JUDGES=all` says that everything must be.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixture::{Device, Ended, Recipe, Release, trust_files};
use gybe_agent::device::identity::DeviceNumber;
use gybe_agent::device::mounts::Mounts;
use gybe_agent::device::partition::Partition;
use gybe_agent::device::sysfs::Sysfs;
use gybe_core::block::{BLOCK_LEN, BlockIndex, WriteBlocks as _};
use serde_json::{Value, json};

/// Runs a tool, which must be there and succeed; gives what it says.
#[track_caller]
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|cause| {
        panic!("cannot run {tool}: {cause}; run: cargo full-test, which installs it")
    });
    let Ended { code, stdout, stderr } = Ended::of(&output);
    assert_eq!(code, 0, "{tool} {arguments:?}: {stderr}");
    stdout.trim().to_owned()
}

/// Whether this machine lets us try.
fn is_possible() -> bool {
    let possible = run("id", &["-u"]) == "0" && Path::new("/dev/loop-control").exists();
    let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
    assert!(possible || !forced, "partitions need root and loop devices");
    possible
}

/// A loop device over a file.
struct Loop {
    device: String,
}

impl Loop {
    fn new(file: &Path) -> Self {
        Self { device: run("losetup", &["--find", "--show", &file.to_string_lossy()]) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// A machine with four partitions, whose root file system is on the first.
struct Machine {
    folder: tempfile::TempDir,
    partitions: Vec<Loop>,
}

const NAMES: [&str; 4] = ["root_a", "boot_a", "root_b", "boot_b"];

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let partitions = NAMES.map(|name| {
            let file = folder.path().join(name);
            fs::File::create(&file).unwrap().set_len(256 << 20).unwrap();
            Loop::new(&file)
        });
        let machine = Self { folder, partitions: partitions.into() };
        machine.make_system();
        machine
    }

    fn device(&self, name: &str) -> &str {
        &self.partitions[NAMES.iter().position(|it| *it == name).unwrap()].device
    }

    /// The system: the binary and its libraries, the configuration, and a place for everything.
    fn make_system(&self) {
        let system = self.folder.path().join("system");
        let put = |path: &str, content: &[u8]| {
            let path = system.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for folder in ["proc", "sys", "dev", "tmp", "media", "mnt", "boot/env", "var/lib/gybe"] {
            fs::create_dir_all(system.join(folder)).unwrap();
        }
        let config = format!(
            "compatible = \"{}\"\n\
             [slot.a]\nroot = \"{}\"\nboot = \"{}\"\n\
             [slot.b]\nroot = \"{}\"\nboot = \"{}\"\n\
             [bootloader]\nkind = \"grub\"\nenvironment = \"/boot/env/grubenv\"\n",
            fixture::COMPATIBLE,
            self.device("root_a"),
            self.device("boot_a"),
            self.device("root_b"),
            self.device("boot_b"),
        );
        put("usr/lib/gybe/config.toml", config.as_bytes());
        for (name, content) in trust_files() {
            put(&format!("usr/lib/gybe/{name}"), content.as_bytes());
        }
        // As from the factory: an environment block that holds nothing.
        let block = format!("{:#<1024}", "# GRUB Environment Block\n");
        for name in ["grubenv", "grubenv.safe"] {
            put(&format!("boot/env/{name}"), block.as_bytes());
        }
        let binary = env!("CARGO_BIN_EXE_gybe");
        put("gybe", &fs::read(binary).unwrap());
        run("chmod", &["755", &system.join("gybe").to_string_lossy()]);
        for word in run("ldd", &[binary]).split_whitespace().filter(|word| word.starts_with('/')) {
            put(word, &fs::read(word).unwrap());
            let copy = system.join(word.trim_start_matches('/'));
            run("chmod", &["755", &copy.to_string_lossy()]);
        }
        let system = system.to_string_lossy();
        run("mkfs.ext4", &["-q", "-d", &system, self.device("root_a")]);
    }

    /// Runs `script` in the machine, which was started with `line`.
    fn shell(&self, line: &str, before: &str, arguments: &str) -> Ended {
        let file = self.folder.path().join("cmdline");
        fs::write(&file, line).unwrap();
        let at = self.folder.path().join("running");
        fs::create_dir_all(&at).unwrap();
        let (at, file) = (at.display(), file.display());
        let folder = self.folder.path().display();
        let root = self.device("root_a");
        let script = format!(
            "set -e; mount {root} {at}; mount --rbind /dev {at}/dev; mount --rbind /sys {at}/sys; \
             mount -t proc proc {at}/proc; mount --bind {file} {at}/proc/cmdline; \
             mount --bind {folder} {at}/media; {before}\n exec chroot {at} /gybe {arguments}"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        Ended::of(&command.env_remove("GYBE_LOG").output().unwrap())
    }

    fn gybe(&self, line: &str, arguments: &str) -> Ended {
        self.shell(line, "", arguments)
    }

    fn status(&self, line: &str) -> Value {
        self.gybe(line, "status --json").done().json()
    }

    /// Makes `release` visible inside, and gives its source there.
    fn insert(&self, name: &str, release: &Release) -> String {
        let to: PathBuf = self.folder.path().join(name);
        run("cp", &["-r", &release.folder().to_string_lossy(), &to.to_string_lossy()]);
        format!("oci:/media/{name}:release")
    }
}

const FAILED: i32 = 1;
const REFUSED: i32 = 3;

#[test]
fn a_machine_with_partitions_knows_what_runs_and_writes_the_other_slot() {
    if !is_possible() {
        return;
    }
    let machine = Machine::new();
    let line = "quiet gybe.slot=a gybe.loader=1";
    let status = machine.status(line);
    assert_eq!((&status["running"], &status["a"]["state"]), (&json!("a"), &json!("good")));

    // What the loader says is compared with the device that is mounted as the root.
    let contradiction = "says slot b, but the root is that of slot a";
    machine.gybe("gybe.slot=b", "status").ended(FAILED, contradiction);
    assert_eq!(machine.status("quiet")["running"], "a");

    let two = Recipe::new("2.0.0", 2).seal();
    let source = machine.insert("two", &two);
    let install = format!("install {source}");
    machine.gybe(line, &format!("{install} --slot a")).ended(REFUSED, "is never written");

    let boot = machine.device("boot_b");
    run("mkfs.ext4", &["-q", boot]);
    let inside = format!("mount {boot} {}/mnt;", machine.folder.path().join("running").display());
    let part = format!("{boot} is mounted at /mnt");
    machine.shell(line, &inside, &install).ended(FAILED, &part);
    // A mount that this name space does not show is one that the kernel knows.
    let outside = format!("mount {boot} /mnt;");
    let part = format!("{boot} is held by another program");
    machine.shell(line, &outside, &install).ended(FAILED, &part);

    machine.gybe(line, &install).done();
    let status = machine.status(line);
    assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!("trial"), &json!("b")));
    let mut held = fs::read(machine.device("root_b")).unwrap();
    held.truncate(two.root.len() * 4096);
    assert!(held == two.root.as_flattened(), "slot B is not what was sealed");
}

#[test]
fn an_environment_that_is_kept_read_only_is_writable_only_while_it_is_written() {
    if !is_possible() {
        return;
    }
    let machine = Machine::new();
    let line = "gybe.slot=a gybe.loader=1";
    let two = Recipe::new("2.0.0", 2).seal();
    let source = machine.insert("two", &two);
    let root = machine.folder.path().join("running");
    let read_only =
        format!("mount -o remount,ro {0}; mount -t tmpfs none {0}/var/lib/gybe;", root.display());
    machine.shell(line, &read_only, &format!("install {source}")).done();
    assert_eq!(machine.status(line)["b"]["state"], "trial");
    let state = machine.shell(line, &read_only, "rollback --json").done().json();
    assert_eq!(state["done"], "trial-cancelled");
}

/// Installs twice into a slot on a file system that has room for half of it, and then for all:
/// `linked` says how `dev/root_b` leads there. Gives what was said, and the report of the second.
fn install_where_room_ends(linked: &str) -> (Ended, Value) {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(9).seal();
    let device = Device::with(&one);
    let (folder, source) = (device.root().display(), two.source());
    let gybe = format!("{} --root {folder}", env!("CARGO_BIN_EXE_gybe"));
    let script = format!(
        "set -e; mkdir {folder}/full; mount -t tmpfs -o size=600k none {folder}/full
         mv {folder}/dev/root_b {folder}/full/; cd {folder}/dev; {linked}
         ! {gybe} install {source}
         {gybe} status --json
         mount -o remount,size=10m {folder}/full
         {gybe} install {source} --json"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    let ended = Ended::of(&command.env_remove("GYBE_LOG").output().unwrap());
    let ended = ended.done();
    let reports: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [status, report] = reports.as_slice() else { panic!("{ended:#?}") };
    assert_eq!(status["a"]["state"], "good");
    assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!("unbootable"), &json!("a")));
    assert_eq!(report["armed"], true);
    let report = report.clone();
    (ended, report)
}

#[test]
fn a_medium_that_is_full_says_which_block_and_the_next_install_goes_on() {
    if !is_possible() {
        return;
    }
    let (ended, report) = install_where_room_ends("ln -s ../full/root_b root_b");
    ended.ended(0, "cannot write block").ended(0, "No space left on device");
    assert!(report["cost"]["skipped_bytes"].as_u64().unwrap() > 0, "{report}");
}

/// As a worn out card does: writing succeeds, and what was written is lost on the way to the medium.
#[test]
fn a_medium_that_loses_what_was_written_ends_the_install_and_the_next_one_sees_what_is_missing() {
    if !is_possible() {
        return;
    }
    let linked = "device=$(losetup --find --show ../full/root_b)
                  trap 'losetup --detach $device' EXIT; ln -s $device root_b";
    let (ended, report) = install_where_room_ends(linked);
    ended.ended(0, "cannot flush").ended(0, "hint: the medium failed");
    assert!(report["cost"]["skipped_bytes"].as_u64().unwrap() > 0, "{report}");
}

/// A file system of this size, on memory.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Self {
        let small = Self(tempfile::tempdir().unwrap());
        let at = small.0.path().to_string_lossy().into_owned();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "none", &at]);
        small
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// The error is met while writing goes on, by a thread that makes durable what was written.
#[test]
fn what_is_lost_behind_a_write_is_said_by_one_of_the_next() {
    if !is_possible() {
        return;
    }
    const MIB: usize = 256;
    let small = Small::new("4m");
    let file = small.0.path().join("disk");
    fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let disk = Loop::new(&file);
    let mut partition = Partition::open(Path::new(&disk.device), &Mounts::default(), &[]).unwrap();
    let blocks = vec![[0x55; BLOCK_LEN]; MIB];
    let begins = (0..64).map(|mib| BlockIndex(mib * 256));
    let errors: Vec<_> = begins.filter_map(|at| partition.write(at, &blocks).err()).collect();
    let told = errors.first().map(ToString::to_string).unwrap_or_default();
    assert!(told.starts_with(&format!("cannot flush {}: ", disk.device)), "{errors:?}");
}

#[test]
fn the_kernel_says_on_what_a_device_stands() {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
    let disk = Loop::new(&file);
    let number = |device: &str| {
        use std::os::unix::fs::MetadataExt as _;
        DeviceNumber::from_stat(fs::metadata(device).unwrap().rdev())
    };
    let sysfs = Sysfs::new("/sys");
    let own = number(&disk.device);
    assert_eq!(sysfs.disk_of(own), own);
    assert_eq!(sysfs.foundations(own).into_iter().collect::<Vec<_>>(), [own]);
}
