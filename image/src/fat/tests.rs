//! What is refused, and where data lie.

use super::*;

fn file(path: &str, len: usize) -> File {
    File { path: path.into(), source: Source::Bytes(Arc::from(vec![b'x'; len])) }
}

fn refusal(files: Vec<File>) -> String {
    layout("boot", files, SectorLen::B512).unwrap_err().to_string()
}

#[test]
fn what_fat_cannot_store_is_refused() {
    for (files, message) in [
        (vec![file("a", 1), file("A", 1)], "A is the same name on FAT as a"),
        (vec![file("a", 1), file("a", 1)], "a is the same name on FAT as a"),
        (vec![file("d/x", 1), file("D/x", 1)], "D/x is the same name on FAT as d"),
        (vec![file("d/x", 1), file("d", 1)], "d is the same name on FAT as d"),
        (vec![file("d", 1), file("d/x", 1)], "d/x leads through d, which is a file"),
        (vec![file("a:b", 1)], "a:b: FAT cannot store the name \"a:b\""),
        (vec![file("/a", 1)], "/a: FAT cannot store the name \"\""),
        (vec![file("d/..", 1)], "d/..: FAT cannot store the name \"..\""),
        (vec![file("a/b/c/d/e/f/g/h/i", 1)], "a/b/c/d/e/f/g/h/i leads through 9 names, limit 8"),
        (vec![file("a", 0); 8193], "boot has 8193 files, limit 8192"),
    ] {
        assert_eq!(refusal(files), message);
    }
    assert!(refusal(vec![file(&"x".repeat(256), 1)]).contains("FAT cannot store the name"));
}

#[test]
fn every_extent_begins_at_a_block_and_the_first_holds_only_the_boot_sector() {
    let files = vec![file("vmlinuz", 5000), file("empty", 0), file("initrd.img", 1)];
    let target = layout("boot", files, SectorLen::B512).unwrap();
    let lens: Vec<_> = target.extents.iter().map(|extent| extent.source.len()).collect();
    // Boot sector; two tables and the root directory; the two files that have bytes.
    assert_eq!(lens, [4096, 3 * 4096, 5000, 1]);
    let Source::Bytes(block) = &target.extents[0].source else { panic!("not bytes") };
    assert!(block[512..].iter().all(|byte| *byte == 0));
}

#[test]
fn no_count_of_clusters_is_near_where_programs_differ() {
    let clusters = |blocks: usize| {
        let files = vec![file("a", blocks * BLOCK_LEN)];
        let plan =
            Plan::of(&Directories::of(&files).unwrap(), &files, SectorLen::B512, &Volume::BOOT)
                .unwrap();
        let blocks_in_front = plan.reserved_blocks + 2 * plan.table_blocks + plan.root_blocks;
        (plan.width, plan.total_sectors / 8 - blocks_in_front, plan.unused)
    };
    use plan::Width::{Bits12, Bits16, Bits32};
    assert_eq!(clusters(0), (Bits12, 1, 1));
    assert_eq!(clusters(4068), (Bits12, 4068, 0));
    assert_eq!(clusters(4069), (Bits16, 4101, 32));
    assert_eq!(clusters(4200), (Bits16, 4200, 0));
    assert_eq!(clusters(65_508), (Bits16, 65_508, 0));
    // The root directory is a cluster now.
    assert_eq!(clusters(65_509), (Bits32, 65_541, 31));
    assert_eq!(clusters(70_000), (Bits32, 70_001, 0));
}

#[test]
fn a_volume_is_as_long_as_its_partition_or_a_little_shorter() {
    let shape = |blocks: u64, file_blocks: usize| {
        let files = vec![file("a", file_blocks * BLOCK_LEN)];
        let volume = Volume { label: *b"GYBE ENV   ", id: 7, blocks };
        let directories = Directories::of(&files).unwrap();
        let plan = Plan::of(&directories, &files, SectorLen::B512, &volume).unwrap();
        (plan.width, u64::from(plan.total_sectors / 8), u64::from(plan.unused))
    };
    use plan::Width::{Bits12, Bits16, Bits32};
    // Room for a few clusters more would make it one that programs take for FAT16.
    assert_eq!(shape(4096, 1), (Bits12, 1 + 2 * 2 + 1 + 4068, 4067));
    assert_eq!(shape(2000, 1), (Bits12, 2000, 1995));
    // Or its tables would have more room than there is.
    assert_eq!(shape(16_384, 1), (Bits16, 16_384, 16_365));
    assert_eq!(shape(131_072, 1), (Bits32, 131_070, 130_811));
    // What the files need it always has.
    assert_eq!(shape(100, 4069), (Bits16, 1 + 2 * 3 + 1 + 4101, 32));
}
