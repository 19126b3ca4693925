//! Every back end on real files.

use std::fs;
use std::process::Command;

use gybe_core::boot::Health;
use gybe_core::slot::Slot;

use super::*;

/// A device with every boot environment, before its first use.
fn device() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    for (path, content) in [
        ("/etc/fw_env.config", &b"/dev/env 0x0 0x1000\n/dev/env 0x1000 0x1000\n"[..]),
        ("/dev/env", &[0; 0x2000]),
        ("/boot/x", b""),
    ] {
        let path = root.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (folder, root)
}

fn grub() -> Bootloader {
    Bootloader::Grub { environment: "/boot/grubenv".into() }
}

fn files() -> Bootloader {
    Bootloader::UbootFile { file: "/boot/gybe.env".into() }
}

#[test]
fn what_is_stored_is_loaded_by_the_next_program() {
    for bootloader in [grub(), files()] {
        let (_folder, root) = device();
        let mut environment = AnyEnvironment::open(&root, &bootloader).unwrap();
        assert!(environment.is_absent());
        environment.format().unwrap();
        assert!(!environment.is_absent());
        assert_eq!(environment.load().unwrap().state, None);
        let armed = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
        for state in [armed, armed.commit(Slot::B).unwrap(), armed.cancel_trial().unwrap()] {
            environment.store(&state).unwrap();
            let mut next = AnyEnvironment::open(&root, &bootloader).unwrap();
            let loaded = Loaded { state: Some(state), health: Health::Whole };
            assert_eq!(next.load().unwrap(), loaded);
        }
    }
}

#[test]
fn files_are_written_in_place() {
    let (_folder, root) = device();
    let mut environment = AnyEnvironment::open(&root, &grub()).unwrap();
    let state = BootState::factory(Some(Slot::A));
    environment.store(&state).unwrap();
    let inode = |path| crate::device::identity::Identity::at(&root.path(path)).unwrap();
    let before = inode("/boot/grubenv");
    environment.store(&state.arm(Slot::B, 3).unwrap()).unwrap();
    assert_eq!(inode("/boot/grubenv"), before);
    assert_eq!(fs::metadata(root.path("/boot/grubenv")).unwrap().len(), 1024);
    assert_eq!(fs::metadata(root.path("/boot/grubenv.safe")).unwrap().len(), 1024);
}

#[test]
fn an_environment_that_nobody_can_read_says_where_it_lies() {
    let (_folder, root) = device();
    let redundant = Bootloader::UbootRedundant { fw_env: "/etc/fw_env.config".into() };
    let error = AnyEnvironment::open(&root, &redundant).unwrap().load().unwrap_err();
    assert!(error.to_string().starts_with("boot environment, first copy: "), "{error}");
    let error = AnyEnvironment::open(&root, &files()).unwrap().load().unwrap_err();
    assert!(error.to_string().contains("/boot/gybe2.env: No such file"), "{error}");
    let missing = Bootloader::UbootRedundant { fw_env: "/etc/none".into() };
    let error = AnyEnvironment::open(&root, &missing).unwrap_err();
    assert!(error.to_string().ends_with("/etc/none does not exist"), "{error}");
}

#[test]
fn a_second_file_keeps_its_extension() {
    assert_eq!(second_file(Path::new("/boot/gybe.env")), Path::new("/boot/gybe2.env"));
    assert_eq!(second_file(Path::new("/boot/state")), Path::new("/boot/state2"));
}

/// The judge: libubootenv makes the environment, and reads what we stored in it.
#[test]
fn fw_printenv_reads_what_was_stored_and_its_lock_is_taken() {
    let (_folder, root) = device();
    let config = root.path("/etc/fw_env.config");
    let env = root.path("/dev/env");
    let areas = format!("{0} 0x0 0x1000\n{0} 0x1000 0x1000\n", env.display());
    let own = root.path("/etc/own.config");
    fs::write(&own, areas).unwrap();
    let tool = |tool: &str, arguments: &[&str]| {
        let output = Command::new(tool).arg("-c").arg(&own).args(arguments).output();
        let output = output.unwrap_or_else(|cause| {
            panic!("cannot run {tool}: {cause}; run: cargo full-test, which installs it")
        });
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let defaults = root.path("/etc/defaults");
    fs::write(&defaults, "bootdelay=2\n").unwrap();
    let defaults = defaults.to_string_lossy();
    assert!(tool("fw_setenv", &["-f", &defaults, "bootdelay", "3"]).0);

    fs::create_dir_all(root.path("/var/lock")).unwrap();
    let fw_env = config.strip_prefix(root.path("/")).unwrap();
    let redundant = Bootloader::UbootRedundant { fw_env: Path::new("/").join(fw_env) };
    let mut environment = AnyEnvironment::open(&root, &redundant).unwrap();
    assert_eq!(environment.load().unwrap(), Loaded { state: None, health: Health::CopyDamaged });
    let state = BootState::factory(Some(Slot::A)).arm(Slot::B, 2).unwrap();
    environment.store(&state).unwrap();
    assert!(root.path(FW_ENV_LOCK).exists());
    let (_, printed) = tool("fw_printenv", &[]);
    for line in ["bootdelay=3", "gybe_order=a", "gybe_try=b", "gybe_tries=2"] {
        assert!(printed.lines().any(|found| found == line), "{line} is not in {printed}");
    }
    assert!(tool("fw_setenv", &["gybe_tries", "1"]).0);
    let spent = environment.load().unwrap();
    assert_eq!(spent.health, Health::Whole);
    assert_eq!(spent.state.unwrap().trial.unwrap().tries_left, 1);
}
