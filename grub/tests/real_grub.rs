//! The boot script, run by GRUB itself, decides as the core does.
//!
//! `grub-emu` is GRUB as a program of the host: its own script interpreter, file systems and
//! `save_env` on a disk image. The versions that devices have are run one after the other. Functions stand in for `linux` and `initrd`, which it
//! has not in every version, and say what would have been started.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gybe_core::boot::{BootState, Failed, Load, Reason, TRIES_MAX, Trial};
use gybe_core::slot::{PerSlot, Slot};
use gybe_grub::Block;

const SECTOR_LEN: usize = 512;
/// Each partition of the disk is this long; the first begins after as much.
const PARTITION_LEN: usize = 1 << 20;

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output
        .unwrap_or_else(|_| panic!("{name} is missing; run: cargo full-test, which installs it"));
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
}

/// Every character that a signed command line may have besides letters and digits.
const ODD: &str = "odd=!#$%&()*+,-./:;<=>?@[]^_`{|}~";

/// A GRUB and a disk with a loader's partition, the environment, and two boot targets.
struct Disk {
    emu: PathBuf,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    live_at: usize,
    safe_at: usize,
}

/// What GRUB was asked to do.
#[derive(Clone, Copy)]
struct Case<'a> {
    live: &'a [u8],
    safe: &'a [u8],
    loadable: PerSlot<bool>,
    writable: bool,
}

/// What GRUB did.
#[derive(Debug, PartialEq, Eq)]
struct Did {
    booted: Option<(Slot, bool)>,
    live: Vec<u8>,
}

impl Disk {
    fn new(emu: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let disk = path("disk.img");
        fs::write(&disk, vec![0; 6 * PARTITION_LEN]).unwrap();
        let start = |index: usize| index * PARTITION_LEN / SECTOR_LEN;
        let sizes = (1..=4).map(|index| format!("start={}, size={}\n", start(index), start(1)));
        let table = path("table");
        fs::write(&table, format!("label: gpt\n{}", sizes.collect::<String>())).unwrap();
        tool("sh", &["-c", &format!("command -v sfdisk && sfdisk --quiet {disk} < {table}")]);
        let mut marks = [b'1', b'2'].map(|mark| vec![mark; Block::LEN]);
        for (mark, name) in marks.iter_mut().zip(["grubenv", "grubenv.safe"]) {
            mark[0] = b'@';
            fs::write(path(name), &mark).unwrap();
        }
        for name in ["vmlinuz", "initrd.img"] {
            fs::write(path(name), name).unwrap();
        }
        for index in 2..=4 {
            let offset = start(index).to_string();
            let blocks = (PARTITION_LEN / 1024).to_string();
            tool("mkfs.vfat", &["--offset", &offset, "-s", "1", &disk, &blocks]);
        }
        let copy = |index: usize, name: &str, to: &str| {
            let image = format!("{disk}@@{}", index * PARTITION_LEN);
            tool("mcopy", &["-i", &image, &path(name), &format!("::{to}")]);
        };
        copy(2, "grubenv", "grubenv");
        copy(2, "grubenv.safe", "grubenv.safe");
        for (index, slot) in [(3, "a"), (4, "b")] {
            let env = format!(
                "# GRUB Environment Block\ngybe_format=1\ngybe_cmdline=quiet {ODD} roothash={slot}0\n"
            );
            fs::write(path("gybe.env"), format!("{env:#<1024}")).unwrap();
            let sums = ["vmlinuz", "initrd.img"].map(|name| {
                format!("{}  {name}\n", gybe_core::digest::Digest::of(name.as_bytes()).hex())
            });
            fs::write(path("sha256.sum"), sums.concat()).unwrap();
            for name in ["vmlinuz", "initrd.img", "gybe.env", "sha256.sum"] {
                copy(index, name, name);
            }
        }
        fs::create_dir(path("grub")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grub.cfg");
        let script = fs::read_to_string(script).unwrap();
        let script = script
            .replace(" linux \"", " stand_in_linux \"")
            .replace(" initrd \"", " stand_in_initrd \"");
        fs::write(path("script"), script).unwrap();
        let script = path("script");
        let stand_ins = "function stand_in_linux { WORDS test -f \"$1\"; }\n\
            function stand_in_initrd { if [ -f \"$1\" ]; then echo BOOT; exit; fi; return 1; }\n\
            set root='hd0,gpt1'\nsource (host)SCRIPT\n";
        let words: String = (1..=7).map(|index| format!("echo \"WORD ${index}\"; ")).collect();
        let stand_ins = stand_ins.replace("WORDS ", &words);
        let stand_ins = stand_ins.replace("SCRIPT", &script);
        fs::write(path("grub/grub.cfg"), stand_ins).unwrap();
        fs::write(path("device.map"), format!("(hd0) {disk}\n")).unwrap();
        let bytes = fs::read(&disk).unwrap();
        let find =
            |mark: &Vec<u8>| bytes.windows(Block::LEN).position(|found| found == mark).unwrap();
        let [live_at, safe_at] = marks.each_ref().map(find);
        Self { emu, folder, bytes, live_at, safe_at }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, case: Case<'_>) -> (Did, String) {
        let mut bytes = self.bytes.clone();
        bytes[self.live_at..][..Block::LEN].copy_from_slice(case.live);
        bytes[self.safe_at..][..Block::LEN].copy_from_slice(case.safe);
        for (slot, index) in [(Slot::A, 3), (Slot::B, 4)] {
            if !case.loadable.of(slot) {
                bytes[index * PARTITION_LEN..][..4096].fill(0);
            }
        }
        fs::write(self.path("disk.img"), &bytes).unwrap();
        // A write beyond the limit on file sizes fails; with the signal ignored, GRUB sees that.
        let limit = if case.writable { "" } else { "trap '' XFSZ; ulimit -f 0; " };
        let emu = format!(
            "{limit}exec timeout 60 {} -m device.map -d {}",
            self.emu.display(),
            self.path("grub").display()
        );
        let output = Command::new("bash")
            .args(["-c", &emu])
            .current_dir(self.folder.path())
            .env("TERM", "vt100")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let booted = said.contains("BOOT").then(|| {
            // A line for each word, because a terminal wraps long ones.
            let start = said.rfind("WORD (hd0").unwrap();
            let words: Vec<&str> = said[start..]
                .lines()
                .filter_map(|line| line.split_once("WORD "))
                .map(|(_, word)| word)
                .filter(|word| !word.is_empty())
                .collect();
            let slot = if words.contains(&"gybe.slot=b") { Slot::B } else { Slot::A };
            let trial = words.contains(&"gybe.trial=1");
            let partition = match slot {
                Slot::A => "(hd0,gpt3)/vmlinuz",
                Slot::B => "(hd0,gpt4)/vmlinuz",
            };
            let hash = format!("roothash={slot}0");
            let argument = format!("gybe.slot={slot}");
            let mut expected = vec![partition, "quiet", ODD, &hash, &argument];
            expected.extend(trial.then_some("gybe.trial=1"));
            expected.push("gybe.loader=1");
            assert_eq!(words[..expected.len()], expected, "{said}");
            (slot, trial)
        });
        let disk = fs::read(self.path("disk.img")).unwrap();
        (Did { booted, live: disk[self.live_at..][..Block::LEN].to_vec() }, said)
    }
}

/// Every GRUB that there is: 2.14 only where Debian's newest suite could be had. Side by side, because
/// a GRUB that can load nothing waits before it restarts.
fn every_grub(test: fn(Disk)) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let tools = std::env::var_os("GYBE_TOOLS").map_or(target, PathBuf::from);
    std::thread::scope(|scope| {
        for version in ["2.06", "2.12", "2.14"] {
            let emu = tools.join("machines/grub").join(version).join("bin/grub-emu");
            if emu.exists() {
                let name = format!("GRUB {version}");
                let thread = std::thread::Builder::new().name(name);
                thread.spawn_scoped(scope, move || test(Disk::new(emu))).unwrap();
            } else {
                assert_eq!(version, "2.14", "{} is missing; run: cargo full-test", emu.display());
            }
        }
    });
}

fn block(state: &BootState) -> Block {
    Block::empty().with_state(state).unwrap()
}

/// What the core says of `load`, with these slots loadable.
fn booted(load: Load, loadable: PerSlot<bool>) -> Option<(Slot, bool)> {
    let mut slots = [Some(load.slot), load.otherwise].into_iter().flatten();
    slots.find(|slot| *loadable.of(*slot)).map(|slot| (slot, load.trial))
}

const LOADABLE: PerSlot<bool> = PerSlot { a: true, b: true };

fn states() -> Vec<BootState> {
    let goods = [[true, true], [true, false], [false, true], [false, false]];
    let mut states = vec![];
    for (order, [a, b]) in Slot::ALL.into_iter().flat_map(|slot| goods.map(|good| (slot, good))) {
        let idle = BootState { order, good: PerSlot { a, b }, trial: None, failed: None };
        states.push(idle);
        for (slot, tries_left) in Slot::ALL.into_iter().flat_map(|s| [0, 1, 3].map(|t| (s, t))) {
            if !idle.is_good(slot) {
                states.push(BootState { trial: Some(Trial { slot, tries_left }), ..idle });
            }
        }
    }
    states
}

#[test]
fn grub_decides_as_the_core_does_in_every_state() {
    every_grub(decides_as_the_core_does);
}

fn decides_as_the_core_does(disk: Disk) {
    let states = states();
    assert_eq!(states.len(), 32);
    for state in states {
        let before = block(&state);
        let safe = block(&BootState { trial: None, ..state });
        let boot = state.boot();
        for writable in [true, false] {
            // Without anything to write it makes no difference whether one could.
            if boot.store.is_none() && !writable {
                continue;
            }
            let case = Case {
                live: before.as_bytes(),
                safe: safe.as_bytes(),
                loadable: LOADABLE,
                writable,
            };
            let (did, said) = disk.run(case);
            let (load, after) = match (writable, boot.store) {
                (true, Some(next)) => (boot.stored, block(&next)),
                (true, None) => (boot.stored, before.clone()),
                (false, _) => (boot.unstored, before.clone()),
            };
            let live = Block::parse(&did.live).unwrap();
            assert_eq!(did.booted, booted(load, LOADABLE), "{state:?} writable {writable}\n{said}");
            assert_eq!(live.state(), after.state(), "{state:?} writable {writable}\n{said}");
            assert_eq!(live.as_bytes()[SECTOR_LEN..], before.as_bytes()[SECTOR_LEN..]);
        }
    }
}

#[test]
fn a_slot_on_trial_does_not_stand_in_for_a_good_one_in_grub() {
    every_grub(does_not_stand_in);
}

fn does_not_stand_in(disk: Disk) {
    let state = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
    let live = block(&state);
    let loadable = PerSlot { a: false, b: true };
    assert_eq!(booted(state.boot().unstored, loadable), None);
    let case = Case { live: live.as_bytes(), safe: live.as_bytes(), loadable, writable: false };
    let (did, said) = disk.run(case);
    assert_eq!(did, Did { booted: None, live: live.as_bytes().to_vec() }, "{said}");
}

#[test]
fn grub_goes_on_to_the_other_slot_or_resets() {
    every_grub(goes_on);
}

fn goes_on(disk: Disk) {
    let good_a = BootState::factory(Some(Slot::A));
    let both = BootState { good: PerSlot { a: true, b: true }, ..good_a };
    let trial = good_a.arm(Slot::B, 2).unwrap();
    for state in [good_a, both, BootState { order: Slot::B, ..both }, trial] {
        let before = block(&state);
        let boot = state.boot();
        for [a, b] in [[false, true], [true, false], [false, false]] {
            let loadable = PerSlot { a, b };
            let case =
                Case { live: before.as_bytes(), safe: before.as_bytes(), loadable, writable: true };
            let (did, said) = disk.run(case);
            assert_eq!(did.booted, booted(boot.stored, loadable), "{state:?} {loadable:?}\n{said}");
        }
    }
}

#[test]
fn grub_takes_the_safe_file_and_no_trial_when_the_live_one_is_damaged() {
    every_grub(takes_the_safe_file);
}

fn takes_the_safe_file(disk: Disk) {
    // A trial in it, which is not written there, would not be made either.
    let safe = block(&BootState::factory(Some(Slot::B)).arm(Slot::A, 3).unwrap());
    let armed = block(&BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap());
    let cut = |name: &str| {
        let mut bytes = *armed.as_bytes();
        let at = bytes.windows(name.len()).position(|found| found == name.as_bytes()).unwrap();
        bytes[at..].fill(b'#');
        bytes
    };
    let odd = |from: &str, to: &str| {
        let text = String::from_utf8(armed.as_bytes().to_vec()).unwrap().replacen(from, to, 1);
        <[u8; Block::LEN]>::try_from(text.as_bytes()).unwrap()
    };
    for live in [
        [0; Block::LEN],
        [b'#'; Block::LEN],
        *Block::empty().as_bytes(),
        cut("gybe_end"),
        cut("gybe_order"),
        odd("gybe_order=a", "gybe_order=c"),
        odd("gybe_tries=xxx", "gybe_tries=xyx"),
        odd(
            "gybe_tries=xxx\ngybe_failed=\ngybe_end=1\n#####",
            "gybe_tries=xxxxxxxx\ngybe_failed=\ngybe_end=1\n",
        ),
        odd("gybe_end=1", "gybe_end=2"),
    ] {
        // The agent sees it the same way.
        let read = Block::parse(&live).ok().and_then(|block| block.state().ok().flatten());
        assert_eq!(read, None);
        let case = Case { live: &live, safe: safe.as_bytes(), loadable: LOADABLE, writable: true };
        let (did, said) = disk.run(case);
        assert_eq!(did, Did { booted: Some((Slot::B, false)), live: live.to_vec() }, "{said}");
        let empty = Block::empty();
        let factory = Case { safe: empty.as_bytes(), ..case };
        assert_eq!(disk.run(factory).0.booted, Some((Slot::A, false)));
    }
}

#[test]
fn grub_does_not_load_a_kernel_with_another_digest() {
    every_grub(checks_the_digest);
}

fn checks_the_digest(mut disk: Disk) {
    let kernel = disk.bytes.windows(7).rposition(|found| found == b"vmlinuz");
    let places: Vec<usize> = (0..disk.bytes.len() - 10)
        .filter(|at| at % SECTOR_LEN == 0 && disk.bytes[*at..].starts_with(b"vmlinuz\0"))
        .collect();
    assert!(kernel.is_some() && places.len() == 2, "{places:?}");
    disk.bytes[places[0]] = b'V';
    let both =
        BootState { good: PerSlot { a: true, b: true }, ..BootState::factory(Some(Slot::A)) };
    let live = block(&both);
    let case =
        Case { live: live.as_bytes(), safe: live.as_bytes(), loadable: LOADABLE, writable: true };
    let (did, said) = disk.run(case);
    assert_eq!(did.booted, Some((Slot::B, false)), "{said}");
    assert_eq!(did.live, live.as_bytes(), "and nothing was written");
}

#[test]
fn grub_counts_seven_tries_and_keeps_the_failure_of_another_version() {
    every_grub(counts);
}

fn counts(disk: Disk) {
    let mut state = BootState::factory(Some(Slot::A)).arm(Slot::B, TRIES_MAX).unwrap();
    let reason = Reason::from_word("thermal").unwrap();
    state.failed = Some(Failed { slot: Slot::B, reason });
    let safe = block(&BootState::factory(Some(Slot::A)));
    let mut live = block(&state);
    for left in (0..TRIES_MAX).rev() {
        let case = Case {
            live: live.as_bytes(),
            safe: safe.as_bytes(),
            loadable: LOADABLE,
            writable: true,
        };
        let (did, said) = disk.run(case);
        assert_eq!(did.booted, Some((Slot::B, true)), "{said}");
        live = Block::parse(&did.live).unwrap();
        let trial = Some(Trial { slot: Slot::B, tries_left: left });
        assert_eq!(live.state(), Ok(Some(BootState { trial, ..state })));
    }
    let case =
        Case { live: live.as_bytes(), safe: safe.as_bytes(), loadable: LOADABLE, writable: true };
    let (did, _) = disk.run(case);
    assert_eq!(did.booted, Some((Slot::A, false)));
    let failed = Some(Failed { slot: Slot::B, reason: Reason::Tries });
    let after = Block::parse(&did.live).unwrap().state();
    assert_eq!(after, Ok(Some(BootState { trial: None, failed, ..state })));
}
