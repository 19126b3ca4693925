//! Tables are replaced and power is cut: what Linux and GRUB read then is the old table or the new.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::device::gpt::tests::{Bytes, made_by_sfdisk};

const MIB: usize = 1 << 20;
const SECTOR_LEN: usize = 512;
/// Length of the image of the factory, and of the disk that it is written to.
const IMAGE_LEN: u64 = 7 << 20;
const DISK_LEN: usize = 9 * MIB;

const SCRIPT: &str = "label: gpt\nfirst-lba: 34\n\
    start=2048, size=2048, type=U, name=esp\n\
    start=4096, size=4096, name=root_a, attrs=LegacyBIOSBootable\n\
    start=8192, size=4096, name=state\n";

/// A disk to which the factory's image was written, with boot code in its MBR.
fn flashed() -> Bytes {
    let mut bytes = made_by_sfdisk(IMAGE_LEN, SCRIPT);
    bytes[..440].fill(0xeb);
    bytes.resize(DISK_LEN, 0);
    Bytes { bytes, sector_len: SECTOR_LEN as u64 }
}

/// Random bytes that are the same in every run.
fn counter(from: u8) -> impl Fn() -> io::Result<[u8; 16]> {
    let next = Cell::new(from);
    move || {
        next.set(next.get().wrapping_add(1));
        Ok([next.get(); 16])
    }
}

fn plan(disk: &Bytes, known: Option<Guid>) -> Result<Plan, PlanError> {
    make(disk, "state", &Fresh { known, random: &counter(known.map_or(0, |guid| guid.0[0])) })
}

/// Does all steps.
fn carry_out(disk: &mut Bytes, plan: &Plan) {
    for step in &plan.steps {
        if let Step::Write { offset, bytes } = step {
            let at = usize::try_from(*offset).unwrap();
            disk.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// The partitions that GRUB sees: it reads the primary table only, and looks at no checksum.
/// Source: GRUB `grub-core/partmap/gpt.c`, read 2026-11.
fn as_grub(disk: &Bytes) -> Option<Vec<(u64, u64, Guid)>> {
    let header = &disk.bytes[SECTOR_LEN..2 * SECTOR_LEN];
    if &header[..8] != b"EFI PART" || disk.bytes[450] != 0xee {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    let at = usize::try_from(number(72)).unwrap() * SECTOR_LEN;
    let entries = Entry::decode_all(&disk.bytes[at..at + 128 * 128]);
    Some(used(&entries).map(|it| (it.first, it.last, it.guid)).collect())
}

fn as_seen(table: &Table) -> Vec<(u64, u64, Guid)> {
    used(&table.entries).map(|it| (it.first, it.last, it.guid)).collect()
}

/// Cuts power in step `cut` of `plan`: of what was not flushed before, `kept` says sector by sector
/// whether the medium has it.
fn cut(disk: &Bytes, plan: &Plan, cut: usize, kept: &mut impl FnMut() -> bool) -> Bytes {
    let mut after = Bytes { bytes: disk.bytes.clone(), sector_len: disk.sector_len };
    let done = plan.steps.iter().take(cut + 1);
    let flushed = done.clone().rposition_of_flush();
    for (index, step) in done.enumerate() {
        let Step::Write { offset, bytes } = step else { continue };
        let at = usize::try_from(*offset).unwrap();
        for (number, sector) in bytes.chunks(SECTOR_LEN).enumerate() {
            if flushed.is_some_and(|flushed| index < flushed) || kept() {
                let at = at + number * SECTOR_LEN;
                after.bytes[at..at + SECTOR_LEN].copy_from_slice(sector);
            }
        }
    }
    after
}

trait LastFlush {
    fn rposition_of_flush(self) -> Option<usize>;
}

impl<'a, I: Iterator<Item = &'a Step>> LastFlush for I {
    fn rposition_of_flush(self) -> Option<usize> {
        let flushes = self.enumerate().filter(|(_, step)| **step == Step::Flush);
        flushes.map(|(index, _)| index).last()
    }
}

/// Claims that every reader sees one of `tables` on the disk, and that it is the primary one.
fn assert_whole(disk: &Bytes, tables: &[&Table], at: &str) {
    let primary = Table::read(disk, PRIMARY_LBA);
    let primary = primary.unwrap_or_else(|| panic!("{at}: no primary table"));
    let seen = as_seen(&primary);
    assert!(tables.iter().any(|table| as_seen(table) == seen), "{at}: {seen:?}");
    assert_eq!(as_grub(disk), Some(seen), "{at}: GRUB sees another table");
    assert_eq!(disk.bytes[..440], [0xeb; 440], "{at}: the boot code");
}

/// The plans of some boots: growing, growing again on larger disks, and GUIDs given anew.
fn replacements() -> &'static [(Bytes, Plan)] {
    static ALL: LazyLock<Vec<(Bytes, Plan)>> = LazyLock::new(make_replacements);
    &ALL
}

fn make_replacements() -> Vec<(Bytes, Plan)> {
    let mut disk = flashed();
    let mut all = Vec::new();
    let mut known = None;
    for len in [DISK_LEN, DISK_LEN + 2 * MIB, DISK_LEN + 3 * MIB] {
        disk.bytes.resize(len, 0);
        let plan = plan(&disk, known).unwrap();
        assert!(!plan.steps.is_empty());
        known = Some(plan.disk);
        all.push((Bytes { bytes: disk.bytes.clone(), sector_len: 512 }, plan.clone()));
        carry_out(&mut disk, &plan);
    }
    // The same disk with other GUIDs: the backup is overwritten in its place.
    let plan = make(&disk, "state", &Fresh { known: None, random: &counter(50) }).unwrap();
    all.push((disk, plan));
    all
}

#[test]
fn every_prefix_of_the_writes_and_every_torn_sector_leaves_a_whole_table() {
    let mut cuts = 0;
    for (disk, plan) in replacements() {
        let old = Table::read_as_linux(disk).unwrap();
        let mut after = Bytes { bytes: disk.bytes.clone(), sector_len: 512 };
        carry_out(&mut after, plan);
        let new = Table::read_as_linux(&after).unwrap();
        assert_ne!(as_seen(&old), as_seen(&new));
        for (index, step) in plan.steps.iter().enumerate() {
            let sectors = match step {
                Step::Write { bytes, .. } => bytes.len() / SECTOR_LEN,
                Step::Flush => 0,
            };
            for written in 0..=sectors {
                let unflushed = plan.steps.iter().take(index).rev();
                let before: usize = unflushed
                    .take_while(|step| **step != Step::Flush)
                    .map(|step| match step {
                        Step::Write { bytes, .. } => bytes.len() / SECTOR_LEN,
                        Step::Flush => 0,
                    })
                    .sum();
                let mut left = before + written;
                let mut kept = || {
                    let kept = left > 0;
                    left = left.saturating_sub(1);
                    kept
                };
                let torn = cut(disk, plan, index, &mut kept);
                assert_whole(&torn, &[&old, &new], &format!("step {index}, sector {written}"));
                cuts += 1;
            }
        }
        assert_whole(&after, &[&new], "at the end");
    }
    assert!(cuts > 250, "{cuts}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_medium_keeps_of_what_was_not_flushed_a_table_is_whole(
        which in 0usize..4, index in 0usize..9, bits in prop::collection::vec(any::<bool>(), 80),
    ) {
        let (disk, plan) = &replacements()[which];
        let old = Table::read_as_linux(disk).unwrap();
        let mut after = Bytes { bytes: disk.bytes.clone(), sector_len: 512 };
        carry_out(&mut after, plan);
        let new = Table::read_as_linux(&after).unwrap();
        let mut bits = bits.into_iter().cycle();
        let mut torn = cut(disk, plan, index, &mut || bits.next().unwrap());
        assert_whole(&torn, &[&old, &new], &format!("step {index}"));
        // And the next boot does it again, to the end.
        let again = make(&torn, "state", &Fresh { known: None, random: &counter(100) }).unwrap();
        carry_out(&mut torn, &again);
        let whole = Table::read_as_linux(&torn).unwrap();
        assert_whole(&torn, &[&whole], "after the next boot");
        prop_assert_eq!(whole.entries[2].last, new.entries[2].last);
        let backup = Table::read(&torn, torn.sectors() - 1).unwrap();
        prop_assert_eq!(backup.entries, whole.entries);
    }
}

#[test]
fn a_state_that_has_grown_is_whole_to_sfdisk_and_sgdisk_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (before, plan)) in replacements().iter().enumerate() {
        let old = Table::read_as_linux(before).unwrap();
        let mut disk = Bytes { bytes: before.bytes.clone(), sector_len: 512 };
        carry_out(&mut disk, plan);
        let path = folder.path().join(number.to_string());
        File::create(&path).unwrap().write_all_at(&disk.bytes, 0).unwrap();
        for (judge, option) in [("/sbin/sfdisk", "--verify"), ("/sbin/sgdisk", "--verify")] {
            let said = Command::new(judge).arg(option).arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
            assert!(said.contains("No errors") || said.contains("No problems found"), "{said}");
            // That the entries lie elsewhere is known, and is why this works.
            let warnings = said.replace("Warning: There is a gap between the main ", "");
            assert!(!warnings.contains("arning") && !said.contains("mismatch"), "{said}");
        }
        let new = Table::read_as_linux(&disk).unwrap();
        for (old, new) in old.entries.iter().zip(&new.entries) {
            let kept = old.kind == Guid::ESP || !old.is_used();
            assert_eq!((old.first, old.label()), (new.first, new.label()));
            assert!(number != 0 && number != 3 || (old.guid == new.guid) == kept);
        }
        let end = (new.entries[2].last + 1) * 512;
        assert_eq!((end % (1 << 20), disk.bytes.len() as u64 - end), (0, 1 << 20));
        assert_eq!((plan.index, plan.state_len(512)), (3, end - 8192 * 512));
        assert_eq!(self::plan(&disk, Some(plan.disk)).unwrap().steps, []);
    }
}

#[test]
fn firmware_before_the_first_mib_leaves_room_for_fewer_entries() {
    let script = SCRIPT.replace("start=2048, size=2048", "start=64, size=2048");
    let mut bytes = made_by_sfdisk(IMAGE_LEN, &script);
    bytes.resize(DISK_LEN, 0);
    let mut disk = Bytes { bytes, sector_len: 512 };
    let mut known = None;
    for (place, len) in [(34, DISK_LEN), (4, DISK_LEN + 2 * MIB), (34, DISK_LEN + 3 * MIB)] {
        disk.bytes.resize(len, 0);
        let plan = plan(&disk, known).unwrap();
        carry_out(&mut disk, &plan);
        let table = Table::read(&disk, PRIMARY_LBA).unwrap();
        assert_eq!((table.header.entries_lba, table.header.count), (place, 120));
        assert_eq!(Table::read(&disk, disk.sectors() - 1).unwrap().entries, table.entries);
        assert_eq!(self::plan(&disk, Some(plan.disk)).unwrap().steps, []);
        known = Some(plan.disk);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().write_all_at(&disk.bytes, 0).unwrap();
    for judge in ["/sbin/sfdisk", "/sbin/sgdisk"] {
        let said = Command::new(judge).arg("--verify").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.contains("No errors") || said.contains("No problems found"), "{said}");
    }
}

#[test]
fn a_disk_that_is_not_as_the_factory_made_it_is_left_alone() {
    let mut shrunk = flashed();
    shrunk.bytes.truncate(5 * MIB);
    let mut empty = flashed();
    empty.bytes[SECTOR_LEN..DISK_LEN].fill(0);
    let mut firmware = flashed();
    firmware.bytes[2016 * SECTOR_LEN + 7] = 1;
    let with = |changes: &[(&str, &str)]| {
        let changed = changes.iter().fold(SCRIPT.to_owned(), |it, (from, to)| it.replace(from, to));
        let mut bytes = made_by_sfdisk(IMAGE_LEN, &changed);
        bytes.resize(DISK_LEN, 0);
        Bytes { bytes, sector_len: 512 }
    };
    for (disk, expected) in [
        (shrunk, "the disk has no partition table that is whole"),
        (empty, "the disk has no partition table that is whole"),
        (firmware, "sectors 2016 to 2047 before the first partition are in use"),
        (with(&[("name=state", "name=x")]), "the disk has not exactly one partition state"),
        (with(&[("name=root_a", "name=state")]), "the disk has not exactly one partition state"),
        (
            with(&[("name=state", "name=x"), ("name=root_a", "name=state")]),
            "state is not the last partition of the disk",
        ),
        (
            with(&[("start=2048, size=2048", "start=34, size=2048")]),
            "no room for partition entries before sector 34, where the first partition begins",
        ),
    ] {
        assert_eq!(plan(&disk, None).unwrap_err().to_string(), expected);
    }
}
