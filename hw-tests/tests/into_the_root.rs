//! From the kernel into the verified root, in a real kernel: `/var`, `/etc`, what is damaged, what is
//! lost, and disks that look alike.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;
mod root_guest;

use std::fs;

use bench::Bench;
use root_guest::{Disk, Releases};

#[test]
fn a_device_comes_into_its_root_whatever_is_damaged_or_lost() {
    let bench = Bench::new("into-the-root");
    let releases = Releases::new(&bench, |root| {
        fs::write(root.join("etc/untouched"), "of version 2\n").unwrap();
        fs::write(root.join("etc/new"), "new in version 2\n").unwrap();
    });
    let disk = Disk::new(&releases.device, bench.path("disk"));
    let line = |slot: &str| releases.signed_line(slot) + &disk.appended(slot, false);
    disk.lengthen(32 << 20);
    let flashed = disk.uuid("root_a");

    // Slot A: everything is verified and mounted, `/etc` and `/var` can be written, `/usr` cannot.
    let said = releases.boot(
        &[&disk],
        &line("a"),
        "cat /proc/mounts /var/lib/acme/default /etc/motd; ls -1 /run/gybe
         echo changed in slot a > /etc/motd; echo shared > /var/shared
         chmod 600 /etc/untouched; echo x 2>&1 > /usr/x || echo cannot write
         gybe grow-state && gybe grow-state; df -m /var | tail -1; grep vda6 /proc/partitions",
    );
    for part in [
        "/dev/mapper/root / erofs ro,",
        "/dev/vda6 /var ext4 rw,",
        "overlay /etc overlay rw,",
        "/dev/vda1 /run/gybe/env vfat ro,nosuid,nodev,noexec,",
        "as the factory has it\nas the image has it\nenv\n",
        "cannot write",
        "the script ends",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    // The state has all of the disk; the partitions have names of their own, which the loader asks for.
    let [blocks, size] = [" 49152 vda6\n", "/dev/vda6 "].map(|it| said.find(it));
    assert!(blocks.is_some() && size.is_some(), "{said}");
    assert_eq!(said.matches("partition table replaced").count(), 1, "{said}");
    assert_eq!(said.matches("the state file system has grown").count(), 1, "{said}");
    assert_ne!(disk.uuid("root_a"), flashed);

    // Slot B takes the changes over, and follows its own image in everything else.
    let said = releases.boot(
        &[&disk],
        &line("b"),
        "cat /etc/motd /etc/untouched /etc/new /var/shared; stat -c %a /etc/untouched
         echo changed in slot b > /etc/motd; rm /var/lib/acme/default; ls -1 /run/gybe",
    );
    let expected = "changed in slot a\nof version 2\nnew in version 2\nshared\n600\nenv\n";
    assert!(said.contains(expected), "{said}");

    // Back in slot A its own changes are there, and no file comes back to `/var`. A second disk is
    // like the first. A block that was damaged is an error, and never other data.
    disk.flip("root_a", b"the marked block");
    let twin = disk.copy("twin");
    let said = releases.boot(
        &[&disk, &twin],
        &line("a"),
        "cat /etc/motd /run/gybe/ambiguous; ls /var/lib/acme
         cat /usr/share/marked 2>&1; cat /usr/share/large | wc -c",
    );
    let expected = "changed in slot a\n/dev/vda3 /dev/vdb3\n";
    assert!(said.contains(expected) && !said.contains("default"), "{said}");
    assert!(
        said.contains("read error: Input/output error\n") && !said.contains("the marked"),
        "{said}"
    );
    assert!(said.contains("\n100000\n"), "{said}");

    // Only the second disk has the root, and its state is gone: nothing of the first is used.
    disk.wipe("root_a");
    twin.wipe("state");
    let said = releases.boot(
        &[&disk, &twin],
        &line("a"),
        "cat /proc/mounts /run/gybe/state-lost /etc/motd /var/lib/acme/default; ls -1 /run/gybe
         echo still > /etc/written && cat /etc/written",
    );
    for part in [
        "gybe /var tmpfs rw,",
        "/dev/vdb1 /run/gybe/env vfat ro,",
        "cannot mount ext4 at /root/var: ",
        "\nas the image has it\nas the factory has it\n",
        "\nenv\nstate-lost\nstill\n",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    // A root that is not the signed one: a trial is over at once, and is not judged.
    let before = twin.environment();
    let trial = releases.signed_line("a") + &disk.appended("b", true);
    let said = releases.boot(&[&twin], &trial, "echo unreachable");
    assert!(said.contains("gybe: the trial's root cannot be opened, rebooting"), "{said}");
    assert!(said.contains("no partition has the signed root: /dev/vda5 has "), "{said}");
    assert!(!said.contains("the script begins"), "{said}");
    assert_eq!(twin.environment(), before);

    // A good slot is marked, once, because the other is good, too.
    twin.wipe("root_a");
    let said = releases.boot(&[&twin], &line("a"), "echo unreachable");
    assert!(said.contains("/dev/vda3: block 0 is damaged"), "{said}");
    assert!(said.contains("gybe: slot a is marked failed, rebooting"), "{said}");
    let after = twin.environment();
    assert!(after.contains("gybe_order=b\ngybe_a=bad\ngybe_b=good\n"), "{after}");
    assert!(after.contains("gybe_failed=a:verity\n"), "{after}");

    // The last good slot is not: the initramfs goes on with what it does about emergencies.
    twin.wipe("root_b");
    let said = releases.boot(&[&twin], &line("b"), "echo unreachable");
    assert!(
        said.contains("no other slot is good") && said.contains("open failed with 1"),
        "{said}"
    );
    assert_eq!(twin.environment(), after);
}
