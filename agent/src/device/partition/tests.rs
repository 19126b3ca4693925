//! What partitions promise, on plain files.

use std::fs;

use gybe_core::block::BLOCK_LEN;

use super::*;

const COUNT: u8 = 70;

/// A folder with a medium of [`COUNT`] blocks and a bit, which does not count.
fn medium() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root_b");
    let bytes: Vec<u8> = (0..COUNT).flat_map(|block| [block; BLOCK_LEN]).collect();
    fs::write(&path, [&bytes[..], b"tail"].concat()).unwrap();
    (folder, path)
}

fn open(path: &Path) -> Result<Partition, PartitionError> {
    Partition::open(path, &Mounts::default(), &[])
}

#[test]
fn blocks_are_read_where_they_lie_cached_and_direct() {
    let (_folder, path) = medium();
    let mut partition = open(&path).unwrap();
    assert_eq!(partition.block_count(), u64::from(COUNT));
    for _ in ["cached", "direct"] {
        // More than the direct reader takes at once.
        let mut blocks = vec![[0; BLOCK_LEN]; 68];
        partition.read(BlockIndex(2), &mut blocks).unwrap();
        for (expected, block) in (2..).zip(&blocks) {
            assert_eq!(block, &[expected; BLOCK_LEN]);
        }
        partition.drop_caches().unwrap();
    }
}

#[test]
fn what_was_written_is_read_back_from_the_medium() {
    let (_folder, path) = medium();
    let mut partition = open(&path).unwrap();
    partition.write(BlockIndex(3), &[[0xaa; BLOCK_LEN], [0xbb; BLOCK_LEN]]).unwrap();
    partition.drop_caches().unwrap();
    let mut blocks = [[0; BLOCK_LEN]; 4];
    partition.read(BlockIndex(2), &mut blocks).unwrap();
    assert_eq!(blocks.map(|block| block[9]), [2, 0xaa, 0xbb, 5]);
    // And again after a write behind the reader's back.
    partition.write(BlockIndex(2), &[[0xcc; BLOCK_LEN]]).unwrap();
    partition.flush().unwrap();
    partition.read(BlockIndex(2), &mut blocks).unwrap();
    assert_eq!(blocks.map(|block| block[9]), [0xcc, 0xaa, 0xbb, 5]);
}

#[test]
fn nothing_beyond_the_end_is_touched() {
    let (_folder, path) = medium();
    let mut partition = open(&path).unwrap();
    let blocks = [[1; BLOCK_LEN]; 2];
    let count = u64::from(COUNT);
    for index in [count - 1, count, u64::MAX / BLOCK_LEN_U64, u64::MAX] {
        let error = partition.write(BlockIndex(index), &blocks).unwrap_err();
        assert!(matches!(error, PartitionError::Range { block_count: 70, .. }), "{error}");
    }
    let message = partition.read(BlockIndex(count), &mut [[0; BLOCK_LEN]]).unwrap_err().to_string();
    assert_eq!(message, format!("no block 70 of {}: it has 70 blocks", path.display()));
    drop(partition);
    assert_eq!(fs::metadata(&path).unwrap().len(), count * BLOCK_LEN_U64 + 4);
}

#[test]
fn a_medium_is_held_by_one_program() {
    let (_folder, path) = medium();
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(PartitionError::Busy { .. })));
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn the_running_slot_is_not_opened_under_another_name() {
    let (folder, path) = medium();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let running = RunningPartition::open(&path).unwrap();
    let refused = Partition::open(&link, &Mounts::default(), &[running.identity()]);
    assert!(matches!(refused, Err(PartitionError::Running { .. })));
}

#[test]
fn what_is_not_a_medium_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()), Err(PartitionError::Open { .. })));
    assert!(matches!(open(&folder.path().join("x")), Err(PartitionError::Open { .. })));
}

#[test]
fn a_full_medium_says_which_block() {
    let error = PartitionError::Write {
        place: Place { path: "/dev/x".into(), index: BlockIndex(7), count: 3 },
        cause: io::ErrorKind::StorageFull.into(),
    };
    assert_eq!(error.to_string(), "cannot write block 7 and 2 more of /dev/x: no storage space");
}
