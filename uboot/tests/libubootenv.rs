//! `fw_printenv`, `fw_setenv`, `mkenvimage` and `mkimage` agree with us, both ways.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gybe_core::boot::{BootEnv as _, BootState, EnvFile, Health, Loaded};
use gybe_core::slot::Slot::{A, B};
use gybe_uboot::{Environment, FILE_LEN, FwEnv, Image, ImageError, Stamp};

const LEN: usize = 0x4000;

fn run(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).output();
    output.unwrap_or_else(|_| panic!("{tool} is missing; run: cargo full-test, which installs it"))
}

fn done(tool: &str, arguments: &[&str]) -> String {
    let output = run(tool, arguments);
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An area of a file.
struct Area {
    path: PathBuf,
    offset: u64,
}

impl EnvFile for Area {
    type Error = io::Error;

    fn read(&mut self, content: &mut [u8]) -> io::Result<usize> {
        File::open(&self.path)?.read_at(content, self.offset)
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.write_all_at(content, self.offset)
    }
}

/// A redundant environment in one file, and the `fw_env.config` that names it.
struct Redundant {
    folder: tempfile::TempDir,
}

/// What `mkenvimage -r` is given: variables of others, and a state.
const COMMITTED: &str =
    "bootcmd=run distro_bootcmd\nbootdelay=2\ngybe_a=good\ngybe_b=bad\ngybe_end=1\ngybe_order=a\n";

fn good_a() -> BootState {
    BootState::factory(Some(A))
}

impl Redundant {
    /// With both copies as `mkenvimage` makes them.
    fn new(variables: &str) -> Self {
        let redundant = Self { folder: tempfile::tempdir().unwrap() };
        let (text, image) = (redundant.path("env.txt"), redundant.path("env.img"));
        fs::write(&text, variables).unwrap();
        let len = LEN.to_string();
        done("mkenvimage", &["-r", "-s", &len, "-p", "0", "-o", &image, &text]);
        let image = fs::read(image).unwrap();
        fs::write(redundant.path("env"), image.repeat(2)).unwrap();
        let lines =
            [0, LEN].map(|offset| format!("{} {offset:#x} {LEN:#x}\n", redundant.path("env")));
        fs::write(redundant.path("fw_env.config"), lines.concat()).unwrap();
        redundant
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn environment(&self) -> Environment<Area, Vec<u8>> {
        let config = fs::read_to_string(self.path("fw_env.config")).unwrap();
        let config = FwEnv::parse(&config).unwrap();
        let areas = [config.first, config.second].map(|area| {
            assert_eq!(area.len, LEN);
            Area { path: area.device.into(), offset: area.offset }
        });
        Environment::redundant(areas, [vec![0; LEN], vec![0; LEN]])
    }

    fn printenv(&self, names: &[&str]) -> Output {
        let config = self.path("fw_env.config");
        run("fw_printenv", &[&["-c", config.as_str()], names].concat())
    }

    fn print(&self) -> Vec<String> {
        let output = self.printenv(&[]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    fn setenv(&self, script: &str) {
        let (config, file) = (self.path("fw_env.config"), self.path("script"));
        fs::write(&file, script).unwrap();
        done("fw_setenv", &["-c", &config, "-s", &file]);
    }

    /// Changes one byte of a copy.
    fn patch(&self, copy: usize, at: usize, byte: u8) {
        let at = (copy * LEN + at).try_into().unwrap();
        OpenOptions::new()
            .write(true)
            .open(self.path("env"))
            .unwrap()
            .write_all_at(&[byte], at)
            .unwrap();
    }

    fn flags(&self) -> [u8; 2] {
        let env = fs::read(self.path("env")).unwrap();
        [env[4], env[LEN + 4]]
    }
}

#[test]
fn mkenvimage_makes_the_bytes_that_we_make() {
    let made = Redundant::new(COMMITTED);
    let image = &fs::read(made.path("env.img")).unwrap();
    let read = Image::parse_redundant(image).unwrap();
    assert_eq!((read.stamp(), read.state()), (Stamp::Flags(1), Ok(Some(good_a()))));
    // The same variables in our order.
    let order = "bootcmd=run distro_bootcmd\nbootdelay=2\ngybe_order=a\ngybe_a=good\ngybe_b=bad\ngybe_end=1\n";
    let ordered = fs::read(Redundant::new(order).path("env.img")).unwrap();
    let mut ours = vec![0; LEN];
    read.write(Some(&good_a()), Stamp::Flags(1), &mut ours).unwrap();
    assert!(ours == ordered);
}

#[test]
fn fw_printenv_prints_what_we_wrote_beside_the_variables_of_others() {
    let redundant = Redundant::new("bootcmd=run distro_bootcmd\nbootdelay=2\n");
    let mut environment = redundant.environment();
    assert_eq!(environment.load().unwrap(), Loaded { state: None, health: Health::Whole });
    environment.store(&good_a().arm(B, 3).unwrap()).unwrap();
    let expected = [
        "bootcmd=run distro_bootcmd",
        "bootdelay=2",
        "gybe_a=good",
        "gybe_b=bad",
        "gybe_end=1",
        "gybe_order=a",
        "gybe_tries=3",
        "gybe_try=b",
    ];
    assert_eq!(redundant.print(), expected);
    assert_eq!(redundant.flags(), [1, 2], "one write of the other copy");
}

#[test]
fn we_read_what_fw_setenv_wrote_and_it_flips_copies_as_we_do() {
    let redundant = Redundant::new(COMMITTED);
    redundant.setenv("gybe_try=b\ngybe_tries=2\n");
    assert_eq!(redundant.flags(), [1, 2]);
    let mut environment = redundant.environment();
    let mut state = good_a().arm(B, 2).unwrap();
    assert_eq!(environment.load().unwrap().state, Some(state));
    state = state.boot().store.unwrap();
    environment.store(&state).unwrap();
    assert_eq!(redundant.flags(), [3, 2]);
    redundant.setenv("gybe_try=\ngybe_tries=\ngybe_failed=b:tries\nbootdelay=5\n");
    assert_eq!(redundant.flags(), [3, 4]);
    let reason = gybe_core::boot::Reason::Tries;
    assert_eq!(environment.load().unwrap().state, Some(state.fail(B, reason).unwrap()));
    environment.store(&good_a()).unwrap();
    assert!(redundant.print().contains(&"bootdelay=5".to_owned()));
}

#[test]
fn of_two_copies_fw_printenv_takes_the_one_we_take() {
    let redundant = Redundant::new(COMMITTED);
    let mut second = vec![0; LEN];
    let first = fs::read(redundant.path("env.img")).unwrap();
    let state_b = BootState::factory(Some(B));
    Image::parse_redundant(&first)
        .unwrap()
        .write(Some(&state_b), Stamp::Flags(1), &mut second)
        .unwrap();
    fs::write(redundant.path("env"), [first, second].concat()).unwrap();
    let flags = [0, 1, 2, 5, 126, 127, 128, 253, 254, 255];
    for (first, second) in flags.into_iter().flat_map(|first| flags.map(|second| (first, second))) {
        redundant.patch(0, 4, first);
        redundant.patch(1, 4, second);
        let printed = redundant.printenv(&["-n", "gybe_order"]);
        let ours = redundant.environment().load().unwrap().state.unwrap().order;
        assert_eq!(
            String::from_utf8_lossy(&printed.stdout).trim(),
            ours.name(),
            "flags ({first}, {second})"
        );
    }
}

#[test]
fn a_damaged_copy_costs_both_of_us_nothing_and_two_are_an_error_for_both() {
    let redundant = Redundant::new(COMMITTED);
    let mut environment = redundant.environment();
    for copy in [0, 1] {
        redundant.patch(copy, 100, 0xff);
        assert_eq!(redundant.print().len(), 6);
        assert_eq!(environment.load().unwrap().health, Health::CopyDamaged);
        environment.store(&good_a()).unwrap();
        assert_eq!(environment.load().unwrap().health, Health::Whole);
        assert_eq!(redundant.print().len(), 6);
    }
    redundant.patch(0, 100, 0xff);
    redundant.patch(1, 100, 0xff);
    let before = fs::read(redundant.path("env")).unwrap();
    assert!(!redundant.printenv(&[]).status.success());
    environment.load().unwrap_err();
    environment.store(&good_a()).unwrap_err();
    assert!(fs::read(redundant.path("env")).unwrap() == before, "nothing was written");
}

#[test]
fn a_file_of_the_two_file_form_is_what_fw_printenv_knows_as_a_single_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let areas = ["gybe.env", "gybe2.env"].map(|name| {
        fs::write(path(name), b"").unwrap();
        Area { path: path(name), offset: 0 }
    });
    let mut environment = Environment::files(areas, [vec![0; FILE_LEN], vec![0; FILE_LEN]]);
    environment.format().unwrap();
    environment.store(&good_a()).unwrap();
    let config = path("fw_env.config");
    let config_of = |name: &str| format!("{} 0x0 {FILE_LEN:#x}\n", path(name).display());
    fs::write(&config, config_of("gybe2.env")).unwrap();
    let config = config.to_str().unwrap();
    let mut lines: Vec<String> =
        done("fw_printenv", &["-c", config]).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["gybe_a=good", "gybe_b=bad", "gybe_end=1", "gybe_order=a", "gybe_seq=1"]);
    let script = path("script");
    fs::write(&script, "gybe_try=b\ngybe_tries=1\ngybe_seq=1a\n").unwrap();
    done("fw_setenv", &["-c", config, "-s", script.to_str().unwrap()]);
    assert_eq!(environment.load().unwrap().state, Some(good_a().arm(B, 1).unwrap()));
    let written = fs::read(path("gybe2.env")).unwrap();
    assert_eq!(Image::parse_file(&written).unwrap().stamp(), Stamp::Sequence(0x1a));
    // The same bytes are no redundant copy, because a flags byte is not under the checksum.
    assert!(matches!(Image::parse_redundant(&written), Err(ImageError::Checksum { .. })));
}

fn script() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("boot.cmd")).unwrap()
}

#[test]
fn the_boot_script_is_made_into_an_image_with_its_own_text() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("boot.scr");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("boot.cmd");
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    done("mkimage", &["-A", "arm64", "-T", "script", "-d", source, out]);
    assert!(fs::read(out).unwrap().ends_with(script().as_bytes()));
}

/// Names of the script that are no part of the state: the integrator's, its own, and the boot
/// target's.
const SCRIPT_NAMES: [&str; 43] = [
    "gybe_disk",
    "gybe_kind",
    "gybe_env_part",
    "gybe_file_1",
    "gybe_file_2",
    "gybe_boot_a",
    "gybe_boot_b",
    "gybe_root_a",
    "gybe_root_b",
    "gybe_args_a",
    "gybe_args_b",
    "gybe_local",
    "gybe_dtb",
    "gybe_at",
    "gybe_at_2",
    "gybe_found",
    "gybe_seq_1",
    "gybe_next",
    "gybe_first",
    "gybe_second",
    "gybe_open",
    "gybe_good",
    "gybe_good_a",
    "gybe_good_b",
    "gybe_trial",
    "gybe_slot",
    "gybe_slots",
    "gybe_left",
    "gybe_below",
    "gybe_n",
    "gybe_saved",
    "gybe_control",
    "gybe_part",
    "gybe_root",
    "gybe_device",
    "gybe_uuid",
    "gybe_args",
    "gybe_ok",
    "gybe_fdt",
    "gybe_sha256",
    "gybe_format",
    "gybe_kernel_sha256",
    "gybe_initrd_sha256",
];

#[test]
fn every_name_in_the_boot_script_is_one_of_ours() {
    let script = script();
    let names = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut used: Vec<&str> = names.filter(|name| name.starts_with("gybe_")).collect();
    used.sort_unstable();
    used.dedup();
    let own = [gybe_uboot::SEQUENCE, gybe_core::boot::CMDLINE_VARIABLE];
    let known = [&gybe_core::boot::variables::NAMES[..], &SCRIPT_NAMES, &own].concat();
    for name in &used {
        assert!(known.contains(name), "{name} is in boot.cmd and nowhere else");
    }
    for name in known {
        assert!(used.contains(&name), "{name} is not used in boot.cmd");
    }
}

#[test]
fn the_boot_script_imports_by_name_and_saves_only_our_variables() {
    let script = script();
    let code = || script.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    for line in code().filter(|line| line.contains("env import") || line.contains("env export")) {
        assert!(line.contains(" gybe_"), "without names: {line}");
    }
    let before_saving = code().take_while(|line| !line.contains("saveenv"));
    for name in before_saving.filter_map(|line| line.strip_prefix("setenv ")?.split(' ').next()) {
        assert!(gybe_core::boot::variables::NAMES.contains(&name), "{name} would be saved");
    }
}

#[test]
fn the_boot_script_reports_the_contract_of_the_core() {
    let contract = gybe_core::boot::LOADER_CONTRACT.to_string();
    let argument = |name, value: &str| script().contains(&format!("{name}={value}"));
    assert!(argument(gybe_core::boot::LOADER_ARGUMENT, &contract));
    assert!(argument(gybe_core::boot::SLOT_ARGUMENT, "${gybe_slot}"));
    assert!(argument(gybe_core::boot::TRIAL_ARGUMENT, "1"));
    assert!(script().contains(&format!("{FILE_LEN:#x}")));
}
