//! A board: QEMU's `virt`, emulated, with a disk that has the environment, the script and two boot
//! targets; and what a U-Boot there makes of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gybe_core::boot::BootState;
use gybe_core::digest::Digest;
use gybe_core::slot::{PerSlot, Slot};
use gybe_uboot::{FILE_LEN, Image, Stamp};

const HOW: &str = "is missing; run: cargo full-test, which installs it";
const SECTOR_LEN: usize = 512;
const PARTITIONS: usize = 5;
const ENVIRONMENT: usize = 1;
/// Each partition of the disk is this long; the first begins after as much.
const PARTITION_LEN: usize = 1 << 20;
/// Every character that a signed command line may have besides letters and digits.
const ODD: &str = "odd=!#$%&()*+,-./:;<=>?@[]^_`{|}~";

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

/// How the script is to find the partitions of the root targets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// By their numbers.
    There,
    /// Not at all: no partition has such a number.
    Lost,
    /// The integrator says where they are.
    Named,
}

/// The two forms of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two files that the script reads and writes.
    Files,
    /// U-Boot's own, with two copies.
    Redundant,
}

impl Kind {
    fn copy_len(self) -> usize {
        match self {
            Self::Files => FILE_LEN,
            Self::Redundant => 0x4000,
        }
    }

    /// How a copy of this age says so.
    pub(crate) fn stamp(self, age: u32) -> Stamp {
        match self {
            Self::Files => Stamp::Sequence(age),
            // The age wraps, as U-Boot's does.
            Self::Redundant => Stamp::Flags(age.to_le_bytes()[0]),
        }
    }

    pub(crate) fn parse(self, copy: &[u8]) -> Image<'_> {
        match self {
            Self::Files => Image::parse_file(copy).unwrap(),
            Self::Redundant => Image::parse_redundant(copy).unwrap(),
        }
    }
}

/// A U-Boot and a disk.
pub(crate) struct Board {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    u_boot: PathBuf,
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    copies_at: [usize; 2],
    /// A copy as the device left its factory: with the board's own variables and none of ours.
    factory: Vec<u8>,
    root: Root,
}

/// What a U-Boot did.
pub(crate) struct Did {
    /// The slot that it would have started, and whether on trial.
    pub(crate) booted: Option<(Slot, bool)>,
    /// Both copies of the environment afterwards.
    pub(crate) copies: [Vec<u8>; 2],
    /// All that it said.
    pub(crate) said: String,
}

/// A program of the folder of newer tools, or the host's.
fn tool(name: &str) -> Command {
    let newer = tools().join("bin").join(name);
    let mut command = Command::new(if newer.exists() { newer } else { name.into() });
    command.stdin(Stdio::null());
    command
}

fn tools() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    std::env::var_os("GYBE_TOOLS").map_or(target, PathBuf::from)
}

fn succeed(name: &str, arguments: &[&str]) {
    let output = tool(name).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{name} {HOW}"));
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
}

/// The script as an integrator of this board would set it; it says what it would start, and stops.
fn script(kind: Kind, root: Root) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("boot.cmd");
    let mut script = fs::read_to_string(script).unwrap();
    let mut set = |from: &str, to: &str| {
        assert_eq!(script.matches(from).count(), 1, "{from}");
        script = script.replace(from, to);
    };
    let word = if kind == Kind::Files { "files" } else { "redundant" };
    set("gybe_kind=redundant", &format!("gybe_kind={word}"));
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

/// What lies in a slot's boot target.
fn content(slot: Slot, name: &str) -> String {
    format!("{name} of slot {slot}")
}

impl Board {
    /// Debian's builds, with two files, and one with a redundant environment and the `hash` command,
    /// which Debian's have not.
    pub(crate) fn all() -> Vec<Self> {
        ["2023.01", "2025.01"]
            .map(|version| Self::new(version, Kind::Files))
            .into_iter()
            .chain([Self::redundant()])
            .collect()
    }

    /// The one with a redundant environment.
    pub(crate) fn redundant() -> Self {
        let mut board = Self::new("redundant", Kind::Redundant);
        // The factory's environment is the one that this U-Boot was built with. Where no copy is right,
        // U-Boot 2025.01 saves to the first twice before it begins to take turns.
        board.put_script("saveenv; saveenv; saveenv; poweroff");
        let damaged = board.copies(&board.bytes);
        let did = board.run(&damaged, PerSlot { a: true, b: true }, true);
        let [first, second] = did.copies;
        assert_eq!(board.kind.parse(&first).value("bootdelay"), Some("0"), "{}", did.said);
        assert_eq!(board.kind.parse(&second).value("bootdelay"), Some("0"), "{}", did.said);
        board.factory = first;
        board.find_root(Root::There);
        board
    }

    /// Sets how the script is to find the root targets.
    pub(crate) fn find_root(&mut self, root: Root) {
        self.put_script(&script(self.kind, root));
        self.root = root;
    }

    fn new(name: &'static str, kind: Kind) -> Self {
        let u_boot = tools().join("machines/u-boot").join(name).join("u-boot.bin");
        assert!(u_boot.exists(), "{} {HOW}", u_boot.display());
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
        succeed("sh", &["-c", &format!("sfdisk --quiet {disk} < {table}")]);
        for index in [ENVIRONMENT, boot(Slot::A), boot(Slot::B)] {
            let (offset, blocks) = (start(index).to_string(), (PARTITION_LEN / 1024).to_string());
            succeed("mkfs.vfat", &["--offset", &offset, "-s", "1", &disk, &blocks]);
        }
        let copy = |index: usize, name: &str, content: &[u8]| {
            fs::write(path(name), content).unwrap();
            let image = format!("{disk}@@{}", index * PARTITION_LEN);
            succeed("mcopy", &["-i", &image, &path(name), &format!("::{name}")]);
        };
        let marks = [b'1', b'2'].map(|mark| vec![mark; kind.copy_len()]);
        let names = match kind {
            Kind::Files => ["gybe.env", "gybe2.env"],
            Kind::Redundant => ["uboot.env", "uboot-redund.env"],
        };
        for (mark, name) in marks.iter().zip(names) {
            copy(ENVIRONMENT, name, mark);
        }
        for slot in Slot::ALL {
            let index = boot(slot);
            let [kernel, initrd] = ["vmlinuz", "initrd.img"].map(|name| {
                let content = content(slot, name).into_bytes();
                copy(index, name, &content);
                Digest::of(&content).hex().to_string()
            });
            let env = format!(
                "# GRUB Environment Block\ngybe_format=1\n\
                 gybe_cmdline=quiet {ODD} roothash={slot}0\n\
                 gybe_kernel_sha256={kernel}\ngybe_initrd_sha256={initrd}\n"
            );
            copy(index, "gybe.env", format!("{env:#<1024}").as_bytes());
        }
        let bytes = fs::read(&disk).unwrap();
        let copies_at = marks.each_ref().map(|mark| position(&bytes, mark));
        let factory = vec![0; kind.copy_len()];
        let root = Root::There;
        let mut board = Self { name, kind, u_boot, folder, bytes, copies_at, factory, root };
        board.find_root(root);
        board
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn put_script(&mut self, text: &str) {
        let [source, script, disk] = ["boot.cmd", "boot.scr", "disk.img"].map(|n| self.path(n));
        fs::write(&source, text).unwrap();
        succeed("mkimage", &["-A", "arm64", "-T", "script", "-d", &source, &script]);
        fs::write(&disk, &self.bytes).unwrap();
        let image = format!("{disk}@@{PARTITION_LEN}");
        succeed("mcopy", &["-o", "-i", &image, &script, "::boot.scr"]);
        self.bytes = fs::read(&disk).unwrap();
    }

    fn copies(&self, disk: &[u8]) -> [Vec<u8>; 2] {
        self.copies_at.map(|at| disk[at..][..self.kind.copy_len()].to_vec())
    }

    /// A copy of the environment with this state and of this age.
    pub(crate) fn copy(&self, state: Option<&BootState>, age: u32) -> Vec<u8> {
        let mut copy = vec![0; self.kind.copy_len()];
        let factory = match self.kind {
            Kind::Files => Image::empty_file(),
            Kind::Redundant => self.kind.parse(&self.factory),
        };
        factory.write(state, self.kind.stamp(age), &mut copy).unwrap();
        copy
    }

    /// Changes one bit of a file in the boot target.
    pub(crate) fn flip(&mut self, slot: Slot, name: &str) {
        let at = position(&self.bytes, content(slot, name).as_bytes());
        self.bytes[at] ^= 1;
    }

    /// Starts the board with these copies of the environment.
    pub(crate) fn run(
        &self,
        copies: &[Vec<u8>; 2],
        loadable: PerSlot<bool>,
        writable: bool,
    ) -> Did {
        let mut bytes = self.bytes.clone();
        for (at, copy) in self.copies_at.iter().zip(copies) {
            bytes[*at..][..copy.len()].copy_from_slice(copy);
        }
        for slot in Slot::ALL {
            if !loadable.of(slot) {
                bytes[boot(slot) * PARTITION_LEN..][..4096].fill(0);
            }
        }
        let disk = self.path("disk.img");
        fs::write(&disk, &bytes).unwrap();
        let read_only = if writable { "off" } else { "on" };
        let drive = format!("if=none,id=d0,format=raw,readonly={read_only},file={disk}");
        let mut board = tool("qemu-system-aarch64");
        board.args(["-M", "virt", "-cpu", "cortex-a57", "-m", "512", "-display", "none"]);
        board.args(["-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot"]);
        board.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=d0"]);
        board.arg("-bios").arg(&self.u_boot);
        let mut limited = Command::new("timeout");
        limited.arg("120").arg(board.get_program()).args(board.get_args());
        limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = limited.spawn().unwrap();
        let said = self.converse(&mut child);
        assert_ne!(
            child.wait().unwrap().code(),
            Some(127),
            "qemu-system-aarch64 (qemu-system-arm) {HOW}"
        );
        assert!(said.contains("## Executing script"), "{}: {said}", self.name);
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
        Did { booted, copies: self.copies(&fs::read(&disk).unwrap()), said }
    }

    /// Starts the script where U-Boot waits for a key, and returns all that was said. Ours, which
    /// starts it by itself, asks for none.
    fn converse(&self, child: &mut Child) -> String {
        let asks = b"stop autoboot";
        let starts = "\nsetenv devtype virtio; setenv devnum 0; virtio scan\n\
            load virtio 0:1 ${scriptaddr} boot.scr; source ${scriptaddr}\n";
        let mut keyboard = child.stdin.take().filter(|_| self.kind == Kind::Files);
        let mut screen = child.stdout.take().unwrap();
        let (mut said, mut chunk) = (vec![], [0; 4096]);
        loop {
            let len = screen.read(&mut chunk).unwrap();
            if len == 0 {
                return String::from_utf8_lossy(&said).replace('\r', "");
            }
            said.extend_from_slice(&chunk[..len]);
            if said.windows(asks.len()).any(|part| part == asks) {
                // What is typed earlier is lost: the board has not found its keyboard yet.
                if let Some(mut keyboard) = keyboard.take() {
                    keyboard.write_all(starts.as_bytes()).unwrap();
                }
            }
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|found| found == wanted).unwrap()
}
