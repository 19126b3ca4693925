//! Slots that are damaged where the loader, the initramfs or the running system finds it.

use super::{
    health::{TRIES, last_fallback},
    update::expect_state,
};
use crate::hw::{
    case::{BOTH, Case, GRUB, U_BOOT, ensure},
    machine::{Model, Start},
    rig::Rig,
    trouble::Trouble,
};

/// Where a bit is flipped in the kernel: behind every header, before the end of the smallest.
const IN_THE_KERNEL: u64 = 4_000_000;

/// Loaders that check digests: Debian's U-Boot has no `hash`, and starts what it reads.
const HASHING: &[Model] = &[Model::BIOS, Model::U_BOOT_REDUNDANT];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "kernel-missing",
        claim: "a kernel that is not there costs a try, and the device falls back",
        every: BOTH,
        on: BOTH,
        start: Start::Written,
        run: kernel_missing,
    },
    Case {
        name: "kernel-bit-flipped-in-trial",
        claim: "a kernel with one flipped bit is not started, which costs a try",
        every: HASHING,
        on: HASHING,
        start: Start::Written,
        run: kernel_bit_flipped_in_trial,
    },
    Case {
        name: "kernel-bit-flipped-in-good-slot",
        claim: "when the kernel of a committed slot has a flipped bit, the other Good slot boots",
        every: HASHING,
        on: HASHING,
        start: Start::BothGood,
        run: kernel_bit_flipped_in_good_slot,
    },
    Case {
        name: "root-hash-wrong",
        claim: "a root that does not match the root hash is not mounted, and the device falls back",
        every: U_BOOT,
        on: BOTH,
        start: Start::Written,
        run: root_hash_wrong,
    },
    Case {
        name: "root-bit-flipped-in-trial",
        claim: "a flipped bit in the new root is an error when it is read, and the device falls back",
        every: U_BOOT,
        on: BOTH,
        start: Start::Written,
        run: root_bit_flipped_in_trial,
    },
    Case {
        name: "root-bit-flipped-while-running",
        claim: "a flipped bit in the running root is an I/O error, never wrong data",
        every: GRUB,
        on: BOTH,
        start: Start::Factory,
        run: root_bit_flipped_while_running,
    },
];

/// Does `change` with the boot target of slot `slot` mounted at `/mnt`.
fn change_boot_target(rig: &mut Rig, slot: &str, change: &str) -> Result<(), Trouble> {
    rig.must(&format!(
        "mount -t vfat $(part boot_{slot}) /mnt && {{ {change}; }} && umount /mnt && sync"
    ))?;
    Ok(())
}

/// Flips the lowest bit of the byte at `at` in `file`, a file or a partition.
fn flip(file: &str, at: u64) -> String {
    format!(
        "byte=$(dd if={file} bs=1 skip={at} count=1 2> /dev/null | hexdump -e '1/1 \"%u\"'); \
         printf \"\\\\$(printf %03o $((byte ^ 1)))\" | \
         dd of={file} bs=1 seek={at} conv=notrunc 2> /dev/null"
    )
}

/// Flips a bit in the canary of the root in `slot`, on the medium.
fn flip_canary(rig: &mut Rig, slot: &str) -> Result<(), Trouble> {
    let found = rig.must(&format!(
        "strings -t d -n 24 $(part root_{slot}) | grep GYBE-CANARY-LINE | head -n 1"
    ))?;
    let at: u64 =
        found.split_whitespace().next().and_then(|at| at.parse().ok()).ok_or_else(|| {
            Trouble::case(format!("the canary is not in the root of slot {slot}: {found}"))
        })?;
    rig.must(&format!("disk=$(part root_{slot}) && {{ {}; }}; sync", flip("$disk", at)))?;
    rig.must("echo 3 > /proc/sys/vm/drop_caches")?;
    Ok(())
}

/// Reboots, and the loader must come back to release 1 without having started release 2.
fn falls_back_unstarted(rig: &mut Rig) -> Result<(), Trouble> {
    rig.reboot()?;
    let up = rig.expect_up("1", "a", false)?;
    ensure(up.state_kept, || "the state is lost".to_owned())?;
    rig.health_done()
}

fn kernel_missing(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    change_boot_target(rig, "b", "rm /mnt/vmlinuz")?;
    falls_back_unstarted(rig)?;
    last_fallback(rig)?;
    Ok(String::new())
}

fn kernel_bit_flipped_in_trial(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    change_boot_target(rig, "b", &flip("/mnt/vmlinuz", IN_THE_KERNEL))?;
    falls_back_unstarted(rig)?;
    last_fallback(rig)?;
    Ok(String::new())
}

fn kernel_bit_flipped_in_good_slot(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.start("2", "b")?;
    change_boot_target(rig, "b", &flip("/mnt/vmlinuz", IN_THE_KERNEL))?;
    rig.reboot()?;
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    Ok(String::new())
}

fn root_hash_wrong(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    let other = "sed 's/roothash=[0-7]/roothash=8/;t;s/roothash=[89a-f]/roothash=0/'";
    let change =
        format!("{other} /mnt/gybe.env > /tmp/gybe.env && cat /tmp/gybe.env > /mnt/gybe.env");
    change_boot_target(rig, "b", &change)?;
    rig.reboot()?;
    for _ in 0..TRIES {
        let line = rig.see_initramfs()?;
        ensure(line.contains("gybe.slot=b"), || format!("not a trial of slot b: {line}"))?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    last_fallback(rig)?;
    Ok(String::new())
}

fn root_bit_flipped_in_trial(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    start_and_arm(rig)?;
    flip_canary(rig, "b")?;
    rig.reboot()?;
    for _ in 0..TRIES {
        rig.expect_up("2", "b", true)?;
        rig.see("guest: red", 60)?;
    }
    rig.expect_up("1", "a", false)?;
    rig.health_done()?;
    expect_state(rig, "b", "failed")?;
    Ok(String::new())
}

fn root_bit_flipped_while_running(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.start("1", "a")?;
    rig.must("cp /usr/share/guest/canary /tmp/before")?;
    flip_canary(rig, "a")?;
    let read = rig.run("cat /usr/share/guest/canary > /tmp/after")?;
    ensure(read.code != 0 && read.text.contains("Input/output error"), || {
        format!("reading the canary ended with {}: {}", read.code, read.text)
    })?;
    // What came before the bad block is right.
    rig.must("cmp -n $(stat -c %s /tmp/after) /tmp/before /tmp/after")?;
    Ok(String::new())
}

fn start_and_arm(rig: &mut Rig) -> Result<(), Trouble> {
    // No fault of the guest's own: the damage is done before the reboot.
    rig.plugged.stick = true;
    rig.start("1", "a")?;
    rig.install("v2")?;
    Ok(())
}
