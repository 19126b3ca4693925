//! `grub-editenv` and `grub-script-check` of GRUB 2.06 agree with us, both ways.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gybe_core::boot::{BootState, Reason};
use gybe_core::slot::Slot::{A, B};
use gybe_grub::{Block, BlockError};

fn run(tool: &str, arguments: &[&str], file: &Path) -> Output {
    let output = Command::new(tool).arg(file).args(arguments).output();
    output.unwrap_or_else(|_| panic!("{tool} is missing; run: cargo full-test, which installs it"))
}

/// Runs `grub-editenv FILE ARGUMENTS` and returns what it prints.
fn editenv(file: &Path, arguments: &[&str]) -> String {
    let output = run("grub-editenv", arguments, file);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn read(file: &Path) -> Block {
    Block::parse(&fs::read(file).unwrap()).unwrap()
}

fn armed() -> BootState {
    BootState::factory(Some(A)).arm(B, 3).unwrap()
}

const ARMED: &str =
    "gybe_order=a\ngybe_a=good\ngybe_b=bad\ngybe_try=b\ngybe_tries=xxx\ngybe_failed=\ngybe_end=1\n";

#[test]
fn grub_editenv_lists_what_we_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    fs::write(&file, Block::empty().with_state(&armed()).unwrap().as_bytes()).unwrap();
    assert_eq!(editenv(&file, &["list"]), ARMED);
}

#[test]
fn the_block_that_grub_editenv_creates_is_a_factory_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    editenv(&file, &["create"]);
    assert_eq!(read(&file).state(), Ok(None));
    assert_eq!(read(&file).with_state(&armed()).unwrap().state(), Ok(Some(armed())));
}

#[test]
fn we_read_what_grub_editenv_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    editenv(&file, &["create"]);
    let mut arguments = vec!["set"];
    arguments.extend(ARMED.lines());
    editenv(&file, &arguments);
    assert_eq!(read(&file).state(), Ok(Some(armed())));
}

#[test]
fn what_the_loader_changes_in_place_is_read_as_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    fs::write(&file, Block::empty().with_state(&armed()).unwrap().as_bytes()).unwrap();
    let mut state = armed();
    for assignments in [
        &["gybe_tries=xx"][..],
        &["gybe_tries=x"],
        &["gybe_tries="],
        &["gybe_try=", "gybe_tries=", "gybe_failed=b:tries"],
    ] {
        editenv(&file, &[&["set"], assignments].concat());
        state = state.boot().store.unwrap();
        assert_eq!(read(&file).state(), Ok(Some(state)), "{assignments:?}");
    }
    let rewritten = read(&file).with_state(&state).unwrap();
    assert_eq!(editenv_of(&rewritten), editenv(&file, &["list"]));
}

fn editenv_of(block: &Block) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    fs::write(&file, block.as_bytes()).unwrap();
    editenv(&file, &["list"])
}

#[test]
fn variables_of_others_survive_us_and_ours_survive_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    editenv(&file, &["create"]);
    editenv(&file, &["set", "saved_entry=debian \\ two\nlines", "kernelopts=root=UUID=1 ro"]);
    let others = editenv(&file, &["list"]);
    let block = read(&file).with_state(&armed()).unwrap();
    fs::write(&file, block.as_bytes()).unwrap();
    assert_eq!(editenv(&file, &["list"]), format!("{ARMED}{others}"));
    editenv(&file, &["set", "boot_success=1"]);
    editenv(&file, &["unset", "kernelopts"]);
    assert_eq!(read(&file).state(), Ok(Some(armed())));
    assert_eq!(read(&file).value("boot_success"), Some(&b"1"[..]));
}

#[test]
fn a_failure_always_finds_room_whatever_else_is_in_the_block() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    let mut longest = Block::empty();
    for len in 820..1024 {
        fs::write(&file, Block::empty().as_bytes()).unwrap();
        let output = run("grub-editenv", &["set", &format!("others={}", "y".repeat(len))], &file);
        let full = !output.status.success() || read(&file).with_state(&armed()).is_err();
        if full {
            break;
        }
        longest = read(&file).with_state(&armed()).unwrap();
    }
    fs::write(&file, longest.as_bytes()).unwrap();
    editenv(&file, &["set", "gybe_try=", "gybe_tries=", "gybe_failed=b:sixteen-letters-"]);
    let reason = Reason::from_word("sixteen-letters-").unwrap();
    assert_eq!(read(&file).state(), Ok(Some(armed().fail(B, reason).unwrap())));
}

/// Measured with GRUB 2.06: what its tool takes and we refuse, because only one length is right.
#[test]
fn files_of_another_length_are_refused_even_where_grub_editenv_is_lenient() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grubenv");
    let whole = Block::empty();
    for (content, listed) in [
        (vec![], false),
        ([whole.as_bytes(), &b"\n"[..]].concat(), true),
        (whole.as_bytes()[..512].to_vec(), true),
    ] {
        fs::write(&file, &content).unwrap();
        assert_eq!(run("grub-editenv", &["list"], &file).status.success(), listed);
        let found = content.len();
        assert_eq!(Block::parse(&content), Err(BlockError::Length { found }));
    }
}

#[test]
fn the_boot_script_is_a_grub_script() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grub.cfg");
    let output = run("grub-script-check", &[], &script);
    assert!(output.status.success(), "{output:?}");
    let broken = tempfile::tempdir().unwrap();
    let broken = broken.path().join("grub.cfg");
    fs::write(&broken, "if true; then\n").unwrap();
    assert!(!run("grub-script-check", &[], &broken).status.success());
}

/// Names of the script that are no environment variables: the integrator's, and its own.
const SCRIPT_NAMES: [&str; 23] = [
    "gybe_disk",
    "gybe_env",
    "gybe_boot_a",
    "gybe_boot_b",
    "gybe_root_a",
    "gybe_root_b",
    "gybe_args_a",
    "gybe_args_b",
    "gybe_local",
    "gybe_dtb",
    "gybe_read",
    "gybe_whole",
    "gybe_load",
    "gybe_part",
    "gybe_root",
    "gybe_device",
    "gybe_args",
    "gybe_trial",
    "gybe_check",
    "gybe_first",
    "gybe_second",
    "gybe_good",
    // In a boot target's gybe.env, beside the command line.
    "gybe_format",
];

#[test]
fn every_name_in_the_boot_script_is_one_of_ours() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grub.cfg");
    let script = fs::read_to_string(script).unwrap();
    let names = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut used: Vec<&str> = names.filter(|name| name.starts_with("gybe_")).collect();
    used.sort_unstable();
    used.dedup();
    let known = [
        &gybe_core::boot::variables::NAMES[..],
        &SCRIPT_NAMES,
        &[gybe_core::boot::CMDLINE_VARIABLE],
    ]
    .concat();
    for name in &used {
        assert!(known.contains(name), "{name} is in grub.cfg and nowhere else");
    }
    for name in known {
        assert!(used.contains(&name), "{name} is not used in grub.cfg");
    }
}

#[test]
fn the_boot_script_reports_the_contract_of_the_core() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("grub.cfg");
    let script = fs::read_to_string(script).unwrap();
    let argument = |name, value: &str| script.contains(&format!("{name}={value}"));
    let contract = gybe_core::boot::LOADER_CONTRACT.to_string();
    assert!(argument(gybe_core::boot::LOADER_ARGUMENT, &contract));
    assert!(argument(gybe_core::boot::SLOT_ARGUMENT, "$1"));
    assert!(argument(gybe_core::boot::TRIAL_ARGUMENT, "1"));
}
