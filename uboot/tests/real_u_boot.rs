//! The boot script, run by U-Boot itself, decides as the core does.
//!
//! Debian's U-Boot for QEMU's `virt` board, emulated. It has no redundant environment that can be
//! written there, so the two-file form is judged in full, and of the redundant one that a failing
//! `saveenv` means no trial. It has no `hash` command either: digests are not checked here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gybe_core::boot::{BootState, Load, Trial};
use gybe_core::slot::{PerSlot, Slot};
use gybe_uboot::{FILE_LEN, Image, Stamp};

const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const HOW: &str = "is missing; run: cargo full-test, which installs it";
const SECTOR_LEN: usize = 512;
const PARTITIONS: usize = 5;
const ENVIRONMENT: usize = 1;
/// Each partition of the disk is this long; the first begins after as much.
const PARTITION_LEN: usize = 1 << 20;

/// The partition of a slot's boot target; that of its root target follows.
const fn boot(slot: Slot) -> usize {
    match slot {
        Slot::A => 2,
        Slot::B => 4,
    }
}

/// As Linux spells it.
fn part_uuid(partition: usize) -> String {
    format!("0123abcd-4567-89ab-cdef-00000000000{partition}")
}

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|_| panic!("{name} {HOW}"));
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
}

/// Every character that a signed command line may have besides letters and digits.
const ODD: &str = "odd=!#$%&()*+,-./:;<=>?@[]^_`{|}~";

/// A disk with the environment and the script, and two boot targets.
struct Disk {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    files_at: [usize; 2],
    root: Root,
}

/// How the script is to find the partitions of the root targets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    /// By their numbers.
    There,
    /// Not at all: no partition has such a number.
    Lost,
    /// The integrator says where they are.
    Named,
}

/// The script as an integrator of this board would set it; it says what it would start, and stops.
fn script(kind: &str, root: Root) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("boot.cmd");
    let mut script = fs::read_to_string(script).unwrap();
    let mut set = |from: &str, to: &str| {
        assert_eq!(script.matches(from).count(), 1, "{from}");
        script = script.replace(from, to);
    };
    set("gybe_kind=redundant", &format!("gybe_kind={kind}"));
    set("gybe_local=\"\"", "gybe_local=\"local=1\"");
    set("    booti ", "    printenv bootargs; poweroff; booti ");
    set("\nreset\n", "\npoweroff\n");
    for slot in Slot::ALL {
        let number = boot(slot) + 1;
        let of = ["data", "hash"].map(|of| format!("systemd.verity_root_{of}=named"));
        match root {
            Root::There => {}
            Root::Lost => set(&format!(":{number}\""), &format!(":2{number}\"")),
            Root::Named => set(
                &format!("gybe_args_{slot}=\"\""),
                &format!("gybe_args_{slot}=\"{}\"", of.join(" ")),
            ),
        }
    }
    script
}

impl Disk {
    fn new(kind: &str) -> Self {
        Self::with(kind, Root::There)
    }

    fn with(kind: &str, root: Root) -> Self {
        assert!(Path::new(U_BOOT).exists(), "{U_BOOT} (u-boot-qemu) {HOW}");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let disk = path("disk.img");
        fs::write(&disk, vec![0; (PARTITIONS + 2) * PARTITION_LEN]).unwrap();
        let start = |index: usize| index * PARTITION_LEN / SECTOR_LEN;
        let sizes = (1..=PARTITIONS).map(|index| {
            format!("start={}, size={}, uuid={}\n", start(index), start(1), part_uuid(index))
        });
        let table = path("table");
        fs::write(&table, format!("label: gpt\n{}", sizes.collect::<String>())).unwrap();
        tool("sh", &["-c", &format!("sfdisk --quiet {disk} < {table}")]);
        for index in [ENVIRONMENT, boot(Slot::A), boot(Slot::B)] {
            let (offset, blocks) = (start(index).to_string(), (PARTITION_LEN / 1024).to_string());
            tool("mkfs.vfat", &["--offset", &offset, "-s", "1", &disk, &blocks]);
        }
        let copy = |index: usize, name: &str, to: &str| {
            let image = format!("{disk}@@{}", index * PARTITION_LEN);
            tool("mcopy", &["-i", &image, &path(name), &format!("::{to}")]);
        };
        fs::write(path("boot.cmd"), script(kind, root)).unwrap();
        tool(
            "mkimage",
            &["-A", "arm64", "-T", "script", "-d", &path("boot.cmd"), &path("boot.scr")],
        );
        copy(ENVIRONMENT, "boot.scr", "boot.scr");
        let marks = [b'1', b'2'].map(|mark| vec![mark; FILE_LEN]);
        for (mark, name) in marks.iter().zip(["gybe.env", "gybe2.env"]) {
            fs::write(path(name), mark).unwrap();
            copy(ENVIRONMENT, name, name);
        }
        for slot in Slot::ALL {
            let index = boot(slot);
            let env = "# GRUB Environment Block\ngybe_format=1\n";
            let env = format!("{env}gybe_cmdline=quiet {ODD} roothash={slot}0\n");
            fs::write(path("slot.env"), format!("{env:#<1024}")).unwrap();
            copy(index, "slot.env", "gybe.env");
            for name in ["vmlinuz", "initrd.img"] {
                fs::write(path(name), name).unwrap();
                copy(index, name, name);
            }
        }
        let bytes = fs::read(&disk).unwrap();
        let find =
            |mark: &Vec<u8>| bytes.windows(FILE_LEN).position(|found| found == mark).unwrap();
        let files_at = marks.each_ref().map(find);
        Self { folder, bytes, files_at, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the board: `before` is typed at the prompt, then the script is run. Returns the slot
    /// that would have been started, whether on trial, both files, and all that was said.
    fn run(
        &self,
        files: &[Vec<u8>; 2],
        loadable: PerSlot<bool>,
        writable: bool,
        before: &str,
    ) -> (Option<(Slot, bool)>, [Vec<u8>; 2], String) {
        let mut bytes = self.bytes.clone();
        for (at, file) in self.files_at.iter().zip(files) {
            bytes[*at..][..FILE_LEN].copy_from_slice(file);
        }
        for slot in Slot::ALL {
            if !loadable.of(slot) {
                bytes[boot(slot) * PARTITION_LEN..][..4096].fill(0);
            }
        }
        fs::write(self.path("disk.img"), &bytes).unwrap();
        let read_only = if writable { "off" } else { "on" };
        let disk = self.path("disk.img");
        let drive =
            format!("if=none,id=d0,format=raw,readonly={read_only},file={}", disk.display());
        let board = "-M virt -cpu cortex-a57 -m 512 -display none -serial stdio -monitor none -nic none -no-reboot";
        let mut child = Command::new("timeout")
            .args(["120", "qemu-system-aarch64"])
            .args(board.split(' '))
            .args(["-bios", U_BOOT, "-drive", &drive, "-device", "virtio-blk-pci,drive=d0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first key ends the wait before the automatic start; one behind it may be lost with it.
        let typed = format!(
            "\n\n\n{before}\nsetenv devtype virtio; setenv devnum 0\nvirtio scan; load virtio 0:1 ${{scriptaddr}} boot.scr; source ${{scriptaddr}}\n"
        );
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_ne!(output.status.code(), Some(127), "qemu-system-aarch64 (qemu-system-arm) {HOW}");
        let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert!(said.contains("## Executing script"), "{said}\n{:?}", output.stderr);
        let booted = said.lines().find_map(|line| line.strip_prefix("bootargs=")).map(|line| {
            let slot = if line.contains("gybe.slot=b") { Slot::B } else { Slot::A };
            let trial = if line.contains("gybe.trial=1") { " gybe.trial=1" } else { "" };
            let device = match self.root {
                Root::There => format!("PARTUUID={}", part_uuid(boot(slot) + 1)),
                Root::Lost => format!("PARTLABEL=root_{slot}"),
                Root::Named => "named".to_owned(),
            };
            let expected = format!(
                "quiet {ODD} roothash={slot}0 gybe.slot={slot}{trial} gybe.loader=1 \
                 systemd.verity_root_data={device} systemd.verity_root_hash={device} local=1"
            );
            assert_eq!(line, expected);
            (slot, !trial.is_empty())
        });
        let disk = fs::read(self.path("disk.img")).unwrap();
        let files = self.files_at.map(|at| disk[at..][..FILE_LEN].to_vec());
        (booted, files, said)
    }
}

fn file(state: Option<&BootState>, sequence: u32) -> Vec<u8> {
    let mut file = vec![0; FILE_LEN];
    Image::empty_file().write(state, Stamp::Sequence(sequence), &mut file).unwrap();
    file
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
        for (slot, tries_left) in Slot::ALL.into_iter().flat_map(|s| [0, 1, 7].map(|t| (s, t))) {
            if !idle.is_good(slot) {
                states.push(BootState { trial: Some(Trial { slot, tries_left }), ..idle });
            }
        }
    }
    states
}

#[test]
fn u_boot_decides_as_the_core_does_in_every_state() {
    let disk = Disk::new("files");
    let older = file(Some(&BootState::factory(Some(Slot::B)).arm(Slot::A, 5).unwrap()), 0xff);
    for (state, number) in states().into_iter().zip(0_usize..) {
        let current = file(Some(&state), 0x100);
        // The state in force is in the first and in the second file by turns.
        let first = number.is_multiple_of(2);
        let files = if first { [current, older.clone()] } else { [older.clone(), current] };
        let boot = state.boot();
        let (did, [first_after, second_after], said) = disk.run(&files, LOADABLE, true, "");
        assert_eq!(did, booted(boot.stored, LOADABLE), "{state:?}\n{said}");
        let [in_force, other] = &files;
        let (in_force, other) = if first { (in_force, other) } else { (other, in_force) };
        let (in_force_after, other_after) =
            if first { (&first_after, &second_after) } else { (&second_after, &first_after) };
        assert!(in_force_after == in_force, "the copy in force was written: {state:?}");
        match boot.store {
            None => assert!(other_after == other, "something was written: {state:?}"),
            Some(next) => {
                let after = Image::parse_file(other_after).unwrap();
                let expected = (Stamp::Sequence(0x101), Ok(Some(next)));
                assert_eq!((after.stamp(), after.state()), expected, "{state:?}\n{said}");
            }
        }
    }
}

#[test]
fn u_boot_tries_nothing_that_it_cannot_count() {
    let disk = Disk::new("files");
    for state in
        states().into_iter().filter(|state| state.order == Slot::A && state.trial.is_some())
    {
        let files = [file(Some(&state), 1), file(None, 0)];
        let (did, after, said) = disk.run(&files, LOADABLE, false, "");
        assert_eq!(did, booted(state.boot().unstored, LOADABLE), "{state:?}\n{said}");
        assert!(after == files);
    }
}

#[test]
fn a_slot_on_trial_does_not_stand_in_for_a_good_one_in_u_boot() {
    let disk = Disk::new("files");
    let state = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
    let files = [file(Some(&state), 1), file(None, 0)];
    let loadable = PerSlot { a: false, b: true };
    assert_eq!(booted(state.boot().unstored, loadable), None);
    let (did, _, said) = disk.run(&files, loadable, false, "");
    assert_eq!(did, None, "{said}");
}

#[test]
fn u_boot_goes_on_to_the_other_slot_or_resets() {
    let disk = Disk::new("files");
    let good_a = BootState::factory(Some(Slot::A));
    let both = BootState { good: PerSlot { a: true, b: true }, ..good_a };
    let trial = good_a.arm(Slot::B, 2).unwrap();
    for state in [good_a, BootState { order: Slot::B, ..both }, trial] {
        for [a, b] in [[false, true], [true, false], [false, false]] {
            let loadable = PerSlot { a, b };
            let files = [file(None, 0), file(Some(&state), 1)];
            let (did, _, said) = disk.run(&files, loadable, true, "");
            assert_eq!(
                did,
                booted(state.boot().stored, loadable),
                "{state:?} {loadable:?}\n{said}"
            );
        }
    }
}

#[test]
fn u_boot_names_the_root_by_its_partition_or_as_the_integrator_does() {
    for root in [Root::Lost, Root::Named] {
        let disk = Disk::with("files", root);
        for order in Slot::ALL {
            let files = [file(Some(&BootState::factory(Some(order))), 1), file(None, 0)];
            let (did, _, said) = disk.run(&files, LOADABLE, true, "");
            assert_eq!(did, Some((order, false)), "{said}");
        }
    }
}

#[test]
fn u_boot_takes_the_whole_file_or_starts_as_from_the_factory() {
    let disk = Disk::new("files");
    let good_b = file(Some(&BootState::factory(Some(Slot::B))), 9);
    let armed = file(Some(&BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap()), 10);
    let mut torn = armed.clone();
    torn[FILE_LEN / 2] ^= 1;
    for (files, expected) in [
        ([torn.clone(), good_b.clone()], Slot::B),
        ([good_b, torn.clone()], Slot::B),
        ([torn.clone(), torn], Slot::A),
        ([file(None, 0), file(None, 0)], Slot::A),
    ] {
        let (did, after, said) = disk.run(&files, LOADABLE, true, "");
        assert_eq!(did, Some((expected, false)), "{said}");
        assert!(after == files, "nothing was written");
    }
}

#[test]
fn a_redundant_environment_that_cannot_be_saved_means_no_trial() {
    let disk = Disk::new("redundant");
    let files = [file(None, 0), file(None, 0)];
    let armed = "setenv gybe_order a; setenv gybe_a good; setenv gybe_b bad; setenv gybe_try b; setenv gybe_end 1";
    for (tries, expected) in [("3", Slot::A), ("0", Slot::A), ("x", Slot::A)] {
        let before = format!("{armed}; setenv gybe_tries {tries}");
        let (did, _, said) = disk.run(&files, LOADABLE, true, &before);
        assert_eq!(did, Some((expected, false)), "{said}");
        assert!(said.contains("Saving Environment"), "{said}");
    }
    let (did, _, said) = disk.run(&files, LOADABLE, true, "");
    assert_eq!(did, Some((Slot::A, false)), "{said}");
    let (did, _, said) = disk.run(
        &files,
        LOADABLE,
        true,
        "setenv gybe_order b; setenv gybe_a good; setenv gybe_b good; setenv gybe_end 1",
    );
    assert_eq!(did, Some((Slot::B, false)), "{said}");
    assert!(!said.contains("Saving Environment"), "nothing was to be written: {said}");
}
