//! The units for systemd: sound, and in an order that systemd does not have to break.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this machine's systemd has its targets.
const SYSTEMD: &str = "/usr/lib/systemd/system";
const ENABLED: [&str; 3] = ["gybe-health.service", "gybe-trial-deadline.service", "gybe.service"];
/// Something of an integrator's that waits for a healthy system, as systemd's own documentation has it.
const WAITING: &str = "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n\
                       [Service]\nType=oneshot\nExecStart=/usr/bin/gybe\n\
                       [Install]\nWantedBy=multi-user.target\n";

fn system() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/system")
}

/// Runs a tool; gives all that it says.
fn run(command: &mut Command) -> String {
    let ended = command.output().unwrap_or_else(|cause| {
        panic!("{command:?}: {cause}; run: cargo full-test, which installs it")
    });
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    said + &String::from_utf8_lossy(&ended.stderr)
}

/// A system with our units and one that waits for a healthy system.
fn image(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    run(Command::new("cp").arg("-a").arg(format!("{SYSTEMD}/.")).arg(&units));
    run(Command::new("cp").arg("-r").arg(system().join("systemd/.")).arg(&units));
    fs::write(units.join("waiting.service"), WAITING).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    run(Command::new("cp").arg("/bin/true").arg(root.join("usr/bin/gybe")));
    fs::create_dir_all(root.join("bin")).unwrap();
    run(Command::new("cp").arg("/bin/true").arg(root.join("bin/kill")));
    root
}

/// What systemd says of the default target with our units enabled.
fn verify(root: &Path) -> String {
    let option = format!("--root={}", root.display());
    let mut enable = Command::new("systemctl");
    run(enable.arg(&option).args(["--quiet", "enable", "waiting.service"]).args(ENABLED));
    for unit in ENABLED {
        let found = run(Command::new("find").arg(root.join("etc")).args(["-name", unit]));
        assert!(found.contains(unit), "{unit} is not enabled");
    }
    let said = run(Command::new("systemd-analyze").args(["verify", &option, "multi-user.target"]));
    let ours =
        |line: &&str| ["gybe", "boot-complete", "waiting"].iter().any(|it| line.contains(it));
    said.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_units_are_sound_and_close_no_cycle() {
    let root = image("units");
    assert_eq!(verify(&root), "");
    let option = format!("--root={}", root.display());
    let mut each = Command::new("systemd-analyze");
    let ours = ["gybe-trial-failed.service", "gybe-usb@sda1.service"];
    let said = run(each.args(["verify", &option]).args(ours));
    assert!(!said.contains("gybe-"), "{said}");
}

#[test]
fn the_timer_is_sound_and_takes_the_daemons_place() {
    let root = image("units-timer");
    let option = format!("--root={}", root.display());
    run(Command::new("systemctl").args([&option, "--quiet", "enable", "gybe-upgrade.timer"]));
    let link = root.join("etc/systemd/system/timers.target.wants/gybe-upgrade.timer");
    assert!(link.is_symlink(), "{} is not there", link.display());
    let mut each = Command::new("systemd-analyze");
    let said = run(each.args(["verify", &option, "gybe-upgrade.timer", "gybe-upgrade.service"]));
    assert!(!said.contains("gybe"), "{said}");
    let units = root.join("usr/lib/systemd/system");
    let read = |name: &str| fs::read_to_string(units.join(name)).unwrap();
    assert!(read("gybe.service").contains("Conflicts=gybe-upgrade.timer"));
    // What an install needs must not be taken from the one and left to the other.
    let of = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("Restrict") || line.contains("Cap"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(of(read("gybe.service")), of(read("gybe-upgrade.service")));
}

#[test]
fn a_health_check_behind_multi_user_would_close_a_cycle() {
    let root = image("units-cycle");
    let unit = root.join("usr/lib/systemd/system/gybe-health.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("After=basic.target", "After=multi-user.target")).unwrap();
    let said = verify(&root);
    assert!(said.contains("ordering cycle"), "{said}");
}

#[test]
fn greenboots_own_unit_runs_gybe_with_the_drop_in() {
    let root = image("units-greenboot");
    let units = root.join("usr/lib/systemd/system");
    let greenboot = "[Unit]\nOnFailure=redboot.target\n[Service]\nType=oneshot\n\
                     ExecStart=/usr/libexec/greenboot/greenboot check\n";
    fs::write(units.join("greenboot-healthcheck.service"), greenboot).unwrap();
    let from = system().join("greenboot/greenboot-healthcheck.service.d");
    run(Command::new("cp").arg("-r").arg(from).arg(&units));
    let option = format!("--root={}", root.display());
    let mut cat = Command::new("systemd-analyze");
    let said = run(cat.args(["verify", &option, "greenboot-healthcheck.service"]));
    // Its own program is not there, and nothing asks for it any more.
    assert!(!said.contains("greenboot"), "{said}");
}

/// What udev makes of a block device of this machine, if it were a stick with this file system.
fn plugged_in(file_system: &str, bus: &str) -> String {
    let disk = fs::read_dir("/sys/class/block").unwrap().next().unwrap().unwrap().file_name();
    let rules = system().join("udev/90-gybe-usb.rules");
    // Rules are read from fixed folders: ours are there for this process only, and nobody else's.
    let script = "set -e; mount -t tmpfs none /run; mkdir -p /run/udev/rules.d
        mount -t tmpfs none /usr/lib/udev/rules.d; mkdir -p /etc/udev/rules.d
        mount -t tmpfs none /etc/udev/rules.d
        cp \"$0\" /run/udev/rules.d/
        echo \"ENV{ID_BUS}=\\\"$2\\\", ENV{ID_FS_TYPE}=\\\"$3\\\"\" > /run/udev/rules.d/80-test.rules
        udevadm test --action=add \"/sys/class/block/$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(rules);
    run(command.arg(disk).args([bus, file_system]))
}

#[test]
fn a_stick_that_is_plugged_in_starts_its_unit_and_nothing_else_does() {
    let forced = std::env::var("GYBE_JUDGES").as_deref() == Ok("all");
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    assert!(is_root || !forced, "udev reads rules from where only root can put them");
    if !is_root {
        return;
    }
    let said = plugged_in("vfat", "usb");
    assert!(said.contains("SYSTEMD_WANTS=gybe-usb@"), "{said}");
    // What udev does not understand it names by file and line: 90-gybe-usb.rules:7.
    assert!(!said.contains("90-gybe-usb.rules:"), "{said}");
    for (file_system, bus) in [("squashfs", "usb"), ("vfat", "ata")] {
        let said = plugged_in(file_system, bus);
        assert!(!said.contains("SYSTEMD_WANTS") && said.contains("ID_BUS="), "{said}");
    }
}
