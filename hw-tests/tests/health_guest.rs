//! Trials in a real kernel: a hardware watchdog that bites, a panic in pstore, a root that is not the
//! signed one, and reboots that nothing asks an init for.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;
mod root_guest;

use std::fs;

use bench::Bench;
use root_guest::{Disk, Releases, machine};
use serde_json::Value;

/// The modules that only this test needs; the root has them.
const MODULES: [&str; 3] = ["watchdog", "i6300esb", "ramoops"];
/// The watchdog of QEMU, and what it does when it bites.
const WATCHDOG: [&str; 5] = ["-no-reboot", "-device", "i6300esb", "-action", "watchdog=poweroff"];
/// What every script here begins with.
const PROLOGUE: &str = "\
for module in watchdog i6300esb; do insmod /usr/lib/extra/$module.ko; done
checks=/etc/greenboot/check/required.d; mkdir -p $checks /etc/gybe
printf '[health]\\nwatchdog_timeout_s = 5\\n' > /etc/gybe/config.toml
";

/// The last line of JSON that was said.
fn json(said: &str) -> Value {
    let lines = said.lines().rev().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).next().unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_trial_ends_as_it_should_in_a_real_kernel() {
    let bench = Bench::new("health-guest");
    let releases = Releases::new(&bench, |root| {
        let folder = root.join("usr/lib/extra");
        fs::create_dir_all(&folder).unwrap();
        for name in MODULES {
            let file = format!("{name}.ko");
            fs::copy(machine().join("modules").join(&file), folder.join(file)).unwrap();
        }
        fs::write(root.join("etc/new"), "new in version 2\n").unwrap();
    });
    let factory = Disk::new(&releases.device, bench.path("disk"));
    factory.set(&["gybe_b=bad", "gybe_try=b", "gybe_tries=xx"]);
    let line =
        |slot: &str, trial: bool| releases.signed_line(slot) + &factory.appended(slot, trial);
    let on_trial = |disk: &Disk, script: &str, options: &[&str]| {
        releases.boot_with(&[disk], &line("b", true), &format!("{PROLOGUE}{script}"), options)
    };

    // Checks that take longer than the watchdog waits: it is fed, and stopped by the commit.
    let disk = factory.copy("committed");
    let said = on_trial(
        &disk,
        "echo 'sleep 8; echo checked' > $checks/10_slow.sh
         gybe health --json; echo exit code $?; gybe status --json; sleep 8; echo it runs on",
        &WATCHDOG,
    );
    for part in ["10_slow.sh: checked\n", "exit code 0\n", "it runs on\n", "the script ends"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let status = json(&said);
    assert_eq!(status["b"]["state"], "good", "{said}");
    assert_eq!(status["health"]["watchdog"], "/dev/watchdog0", "{said}");
    assert_eq!(status["trials"][0]["attempts"][0]["reached"], "committed", "{said}");
    assert!(disk.environment().contains("gybe_b=good\ngybe_try=\n"), "{}", disk.environment());

    // The agent is killed while a check hangs: nobody feeds the watchdog, and it ends the machine.
    let disk = factory.copy("hangs");
    let said = on_trial(
        &disk,
        "echo 'kill -9 $PPID; echo nobody feeds it; sleep 1000' > $checks/10_hangs.sh
         gybe health; echo exit code $?; sleep 30; echo it survived",
        &WATCHDOG,
    );
    assert!(said.contains("the script begins") && !said.contains("it survived"), "{said}");
    let said = releases.boot(&[&disk], &line("a", false), "gybe status --json");
    let attempt = json(&said)["trials"][0]["attempts"][0].clone();
    assert_eq!((&attempt["check"], &attempt["fault"]), (&"10_hangs.sh".into(), &Value::Null));

    // A check fails at the last try: the kernel reboots, and the environment says why.
    let disk = factory.copy("fails");
    disk.set(&["gybe_tries="]);
    let said = on_trial(
        &disk,
        "echo 'echo no route; exit 3' > $checks/10_net.sh; gybe health; echo it runs on",
        &WATCHDOG,
    );
    assert!(said.contains("10_net.sh: no route") && !said.contains("it runs on"), "{said}");
    assert!(disk.environment().contains("gybe_failed=b:health\n"), "{}", disk.environment());
    let said = releases.boot(&[&disk], &line("a", false), "gybe status; gybe status --json");
    assert!(said.contains("fell back    from 2 to 1: health"), "{said}");
    let attempt = json(&said)["trials"][0]["attempts"][0].clone();
    assert_eq!(attempt["output"], "no route\nexit code 3");
    assert!(attempt["kernel"].as_str().unwrap().contains("i6300ESB"), "{attempt}");

    // The kernel panics in the first attempt; the second finds its last words.
    let disk = factory.copy("panics");
    let said = releases.boot_with(
        &[&disk],
        &format!("{} memmap=1M$0x10000000 panic=1", line("b", true)),
        &format!(
            "{PROLOGUE}
             insmod /usr/lib/extra/ramoops.ko mem_address=0x10000000 mem_size=0x100000 \
                 record_size=0x20000
             mount -t pstore pstore /sys/fs/pstore
             echo '[ -e /sys/fs/pstore/dmesg-ramoops-0 ] || echo c > /proc/sysrq-trigger' \
                 > $checks/10_panics.sh
             gybe health; gybe status --json"
        ),
        &[],
    );
    let attempts = json(&said)["trials"][0]["attempts"].clone();
    assert_eq!(
        (&attempts[0]["fault"], &attempts[0]["check"]),
        (&"panic".into(), &"10_panics.sh".into()),
        "{said}"
    );
    assert!(attempts[0]["kernel"].as_str().unwrap().contains("sysrq"), "{attempts}");
    assert_eq!(attempts[1]["reached"], "committed", "{said}");

    // The root is not the signed one: the initramfs says so in the evidence.
    let disk = factory.copy("altered");
    disk.wipe("root_b");
    let said = on_trial(&disk, "", &["-no-reboot"]);
    assert!(said.contains("the trial's root cannot be opened, rebooting"), "{said}");
    disk.set(&["gybe_try=", "gybe_tries=", "gybe_failed=b:tries"]);
    let said = releases.boot(&[&disk], &line("a", false), "gybe status --json");
    let attempt = json(&said)["trials"][0]["attempts"][0].clone();
    assert_eq!((&attempt["fault"], &attempt["reached"]), (&"verity".into(), &"initramfs".into()));
    assert!(attempt["output"].as_str().unwrap().contains("is damaged"), "{attempt}");
}
