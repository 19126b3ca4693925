//! A factory disk in miniature, and a GRUB run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gybe_core::slot::{PerSlot, Slot};
use gybe_grub::Block;

pub(crate) const SECTOR_LEN: usize = 512;
const PARTITIONS: usize = 7;
const ENVIRONMENT: usize = 3;
/// Each partition of the disk is this long; the first begins after as much.
const PARTITION_LEN: usize = 1 << 20;

/// The partition of a slot's boot target; that of its root target follows.
const fn boot(slot: Slot) -> usize {
    match slot {
        Slot::A => 4,
        Slot::B => 6,
    }
}

/// As Linux spells it.
fn part_uuid(partition: usize) -> String {
    format!("0123abcd-4567-89ab-cdef-00000000000{partition}")
}

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output
        .unwrap_or_else(|_| panic!("{name} is missing; run: cargo full-test, which installs it"));
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
}

/// Every character that a signed command line may have besides letters and digits.
const ODD: &str = "odd=!#$%&()*+,-./:;<=>?@[]^_`{|}~";

/// The script as an integrator would set it.
fn script(root: Root) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grub.cfg");
    let mut script = fs::read_to_string(script).unwrap();
    let mut set = |from: &str, to: &str| {
        assert_eq!(script.matches(from).count(), 1, "{from}");
        script = script.replace(from, to);
    };
    set("gybe_local=\"\"", "gybe_local=\"local=1\"");
    // A command of GRUB's own, which later versions have here, goes before a function of that name.
    set(" linux \"", " stand_in_linux \"");
    set(" initrd \"", " stand_in_initrd \"");
    match root {
        Root::There => {}
        Root::Lost => {
            [("gpt5", "gpt25"), ("gpt7", "gpt27")].into_iter().for_each(|(from, to)| set(from, to))
        }
        Root::Named => Slot::ALL.into_iter().for_each(|slot| {
            let name = format!("gybe_args_{slot}=");
            let of = ["data", "hash"].map(|of| format!("systemd.verity_root_{of}=named"));
            set(&format!("{name}\"\""), &format!("{name}\"{}\"", of.join(" ")));
        }),
    }
    script
}

/// A factory disk's partitions without the last: the loader's two, the environment, boot and root of
/// each slot.
pub(crate) struct Disk {
    emu: PathBuf,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) bytes: Vec<u8>,
    pub(crate) live_at: usize,
    pub(crate) safe_at: usize,
}

/// What GRUB was asked to do.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) live: &'a [u8],
    pub(crate) safe: &'a [u8],
    pub(crate) loadable: PerSlot<bool>,
    pub(crate) writable: bool,
    pub(crate) root: Root,
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

/// What GRUB did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Did {
    pub(crate) booted: Option<(Slot, bool)>,
    pub(crate) live: Vec<u8>,
}

/// Every GRUB that there is: 2.14 only where Debian's newest suite could be had. Side by side, because
/// a GRUB that can load nothing waits before it restarts.
pub(crate) fn every_grub(test: fn(Disk)) {
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

impl Disk {
    fn new(emu: PathBuf) -> Self {
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
        tool("sh", &["-c", &format!("command -v sfdisk && sfdisk --quiet {disk} < {table}")]);
        let mut marks = [b'1', b'2'].map(|mark| vec![mark; Block::LEN]);
        for (mark, name) in marks.iter_mut().zip(["grubenv", "grubenv.safe"]) {
            mark[0] = b'@';
            fs::write(path(name), &mark).unwrap();
        }
        for name in ["vmlinuz", "initrd.img"] {
            fs::write(path(name), name).unwrap();
        }
        for index in [ENVIRONMENT, boot(Slot::A), boot(Slot::B)] {
            let offset = start(index).to_string();
            let blocks = (PARTITION_LEN / 1024).to_string();
            tool("mkfs.vfat", &["--offset", &offset, "-s", "1", &disk, &blocks]);
        }
        let copy = |index: usize, name: &str, to: &str| {
            let image = format!("{disk}@@{}", index * PARTITION_LEN);
            tool("mcopy", &["-i", &image, &path(name), &format!("::{to}")]);
        };
        copy(ENVIRONMENT, "grubenv", "grubenv");
        copy(ENVIRONMENT, "grubenv.safe", "grubenv.safe");
        for slot in Slot::ALL {
            let index = boot(slot);
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
        let stand_ins = "function stand_in_linux { WORDS test -f \"$1\"; }\n\
            function stand_in_initrd { if [ -f \"$1\" ]; then echo BOOT; exit; fi; return 1; }\n\
            set root='hd0,gpt1'\nsource (host)SCRIPT\n";
        let words: String = (1..=10).map(|index| format!("echo \"WORD ${{{index}}}\"; ")).collect();
        let stand_ins = stand_ins.replace("WORDS ", &words);
        let stand_ins = stand_ins.replace("SCRIPT", &path("script.cfg"));
        fs::write(path("grub/grub.cfg"), stand_ins).unwrap();
        fs::write(path("device.map"), format!("(hd0) {disk}\n")).unwrap();
        let bytes = fs::read(&disk).unwrap();
        let find =
            |mark: &Vec<u8>| bytes.windows(Block::LEN).position(|found| found == mark).unwrap();
        let [live_at, safe_at] = marks.each_ref().map(find);
        Self { emu, folder, bytes, live_at, safe_at }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, case: Case<'_>) -> (Did, String) {
        let mut bytes = self.bytes.clone();
        bytes[self.live_at..][..Block::LEN].copy_from_slice(case.live);
        bytes[self.safe_at..][..Block::LEN].copy_from_slice(case.safe);
        for slot in Slot::ALL {
            if !case.loadable.of(slot) {
                bytes[boot(slot) * PARTITION_LEN..][..4096].fill(0);
            }
        }
        fs::write(self.path("disk.img"), &bytes).unwrap();
        fs::write(self.path("script.cfg"), script(case.root)).unwrap();
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
            let partition = format!("(hd0,gpt{})/vmlinuz", boot(slot));
            let hash = format!("roothash={slot}0");
            let argument = format!("gybe.slot={slot}");
            let mut expected = vec![partition.as_str(), "quiet", ODD, &hash, &argument];
            expected.extend(trial.then_some("gybe.trial=1"));
            let device = match case.root {
                Root::There => format!("PARTUUID={}", part_uuid(boot(slot) + 1)),
                Root::Lost => format!("PARTLABEL=root_{slot}"),
                Root::Named => "named".to_owned(),
            };
            let device = ["data", "hash"].map(|of| format!("systemd.verity_root_{of}={device}"));
            expected.extend(["gybe.loader=1", &device[0], &device[1], "local=1"]);
            assert_eq!(words, expected, "{said}");
            (slot, trial)
        });
        let disk = fs::read(self.path("disk.img")).unwrap();
        (Did { booted, live: disk[self.live_at..][..Block::LEN].to_vec() }, said)
    }
}
