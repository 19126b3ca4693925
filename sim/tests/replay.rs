//! A log of writes in the right order has no moment that would be the end of a device, and in a wrong
//! one that moment is found.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::boot::BootState;
use gybe_core::digest::Digest;
use gybe_core::slot::{PerSlot, Slot};
use gybe_core::trailer::{Progress, Trailer};
use gybe_core::verity::{Geometry, TreeBuilder, leaf, superblock};
use gybe_sim::Random;
use gybe_sim::replay::{Fault, Report, Unproven, replay};

const MIB: usize = 1 << 20;
/// Every partition has one MiB, which is what a boot target fills.
const PART_BLOCKS: usize = MIB / BLOCK_LEN;
const ROOT_BLOCKS: usize = 140;
const SECTOR_LEN: usize = 512;
/// In the order of the table, the first at 1 MiB.
const NAMES: [&str; 5] = ["gybe_env", "boot_a", "root_a", "boot_b", "root_b"];

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{name} is missing; run: cargo full-test"));
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
}

fn part(name: &str) -> usize {
    (1 + NAMES.iter().position(|found| *found == name).unwrap()) * MIB
}

/// A FAT of one MiB with these files.
fn fat(folder: &Path, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let image = folder.join("fat");
    let image = image.to_str().unwrap();
    drop(fs::remove_file(image));
    tool("mkfs.vfat", &["-C", "-s", "1", image, "1024"]);
    for (name, content) in files {
        let file = folder.join(name);
        fs::write(&file, content).unwrap();
        tool("mcopy", &["-i", image, file.to_str().unwrap(), &format!("::{name}")]);
    }
    fs::read(image).unwrap()
}

/// A release as it lies in the partitions of a slot.
struct Written {
    boot: Vec<u8>,
    root: Vec<u8>,
}

fn root_hash(blocks: &[Block], tree: &mut Vec<u8>) -> Digest {
    let geometry = Geometry::new(blocks.len() as u64).unwrap();
    tree.resize(usize::try_from(geometry.tree_blocks()).unwrap() * BLOCK_LEN, 0);
    tree[..BLOCK_LEN].copy_from_slice(&superblock(&geometry));
    let mut builder = TreeBuilder::new(geometry);
    let mut sink = |at: u64, block: &Block| {
        tree[usize::try_from(at).unwrap() * BLOCK_LEN..][..BLOCK_LEN].copy_from_slice(block);
        Ok::<(), ()>(())
    };
    for block in blocks {
        builder.push(leaf(block), &mut sink).unwrap();
    }
    builder.finish(&mut sink).unwrap()
}

fn release(folder: &Path, seed: u64) -> Written {
    let mut random = Random::new(seed);
    let mut blocks: Vec<Block> = vec![[0; BLOCK_LEN]; ROOT_BLOCKS];
    blocks.iter_mut().for_each(|block| random.fill(block));
    let mut tree = vec![];
    let hash = root_hash(&blocks, &mut tree);
    let env = format!("gybe_format=1\ngybe_cmdline=quiet roothash={}\n", hash.hex());
    let noise = blocks.as_flattened()[..50_000].to_vec();
    let files = [("vmlinuz", noise.clone()), ("initrd.img", noise), ("gybe.env", env.into())];
    let boot = fat(folder, &files);
    let boot_hash = root_hash(boot.as_chunks().0, &mut vec![]);
    let target = |name: &str, blocks: usize, hash: Digest, tree: bool| {
        let (size, hash) = (blocks * BLOCK_LEN, hash.hex());
        format!(r#"{{"name":"{name}","size":{size},"rootHash":"{hash}","tree":{tree}}}"#)
    };
    let config = format!(
        r#"{{"format":1,"agentMin":"0.1.0","loaderMin":1,"architecture":"amd64",
        "hash":"sha256","blockSize":4096,"pageSize":4096,"chunkSizeMax":262144,
        "frameSizeMax":1048576,"windowSizeMax":1048576,
        "recipe":{{"tableSize":16,"tableDigest":"{}"}},
        "packs":[{{"id":0,"frames":1}}],"targets":[{},{}]}}"#,
        Digest::of(b"table"),
        target("root", ROOT_BLOCKS, hash, true),
        target("boot", PART_BLOCKS, boot_hash, false),
    );
    let manifest = format!("release {seed}");
    let parts = [manifest.as_bytes(), config.as_bytes(), b"signatures", b"recipe"];
    let described = parts.map(|part| (part.len() as u64, Digest::of(part)));
    let [(_, digest), ..] = described;
    let taken = (ROOT_BLOCKS + tree.len() / BLOCK_LEN) as u64;
    let mut trailer = Trailer::plan(digest, described, taken, PART_BLOCKS as u64).unwrap();
    trailer.progress = Progress::Complete;
    let mut root = [blocks.as_flattened(), &tree].concat();
    root.resize(MIB, 0);
    let mut at =
        MIB - BLOCK_LEN * (1 + parts.iter().map(|p| p.len().div_ceil(BLOCK_LEN)).sum::<usize>());
    for part in parts {
        root[at..][..part.len()].copy_from_slice(part);
        at += part.len().next_multiple_of(BLOCK_LEN);
    }
    root[at..].copy_from_slice(&trailer.encode());
    Written { boot, root }
}

/// A device in a file, and the log of what was written to it since.
struct Bench {
    folder: tempfile::TempDir,
    env_at: usize,
    log: Vec<u8>,
    count: u64,
}

impl Bench {
    /// Both slots hold releases and are Good.
    fn new(state: &BootState) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::write(&disk, vec![0; (2 + NAMES.len()) * MIB]).unwrap();
        let lines = NAMES.map(|name| {
            format!("start={}, size={}, name={name}\n", part(name) / SECTOR_LEN, MIB / SECTOR_LEN)
        });
        let table = folder.path().join("table");
        fs::write(&table, format!("label: gpt\n{}", lines.concat())).unwrap();
        let (disk, table) = (disk.to_str().unwrap(), table.to_str().unwrap());
        tool("sh", &["-c", &format!("PATH=$PATH:/sbin sfdisk --quiet {disk} < {table}")]);
        let mut bytes = fs::read(disk).unwrap();
        let block = gybe_grub::Block::empty().with_state(state).unwrap();
        let block = block.as_bytes().to_vec();
        let env =
            fat(folder.path(), &[("grubenv", block.clone()), ("grubenv.safe", block.clone())]);
        let found = env.windows(block.len()).position(|found| found == block).unwrap();
        let mut put =
            |name: &str, content: &[u8]| bytes[part(name)..][..MIB].copy_from_slice(content);
        put("gybe_env", &env);
        for (slot, seed) in [("a", 1), ("b", 2)] {
            let written = release(folder.path(), seed);
            put(&format!("boot_{slot}"), &written.boot);
            put(&format!("root_{slot}"), &written.root);
        }
        fs::write(disk, bytes).unwrap();
        Self { folder, env_at: part("gybe_env") + found, log: vec![], count: 0 }
    }

    fn entry(&mut self, at: usize, bytes: &[u8], flags: u64) {
        let numbers = [at / SECTOR_LEN, bytes.len() / SECTOR_LEN].map(|number| number as u64);
        let mut head = vec![];
        for number in [numbers[0], numbers[1], flags, 0] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.resize(SECTOR_LEN, 0);
        self.log.extend_from_slice(&[&head, bytes].concat());
        self.count += 1;
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.entry(at, bytes, 0);
    }

    fn flush(&mut self) {
        self.entry(0, &[], 1);
    }

    fn store(&mut self, state: &BootState) {
        let block = gybe_grub::Block::empty().with_state(state).unwrap();
        self.write(self.env_at, block.as_bytes());
        self.flush();
    }

    fn replay(&self) -> Report {
        let mut head = vec![];
        for number in [0x006a_7366_7773_6872, 1, self.count, SECTOR_LEN as u64] {
            head.extend_from_slice(&u64::to_le_bytes(number));
        }
        head.resize(SECTOR_LEN, 0);
        let log = self.folder.path().join("log");
        fs::write(&log, [&head, &self.log[..]].concat()).unwrap();
        let open = |name: &str| File::open(self.folder.path().join(name)).unwrap();
        replay(open("disk"), open("log")).unwrap()
    }
}

/// In which order an install writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    ArmsFirst,
    DoesNotClear,
}

/// What an agent writes, and the loader and the agent after it.
fn install(bench: &mut Bench, before: BootState, order: Order) {
    let new = release(bench.folder.path(), 3);
    let (boot, root) = (part("boot_b"), part("root_b"));
    let zeros = [0; BLOCK_LEN];
    let cleared = before.clear(Slot::B, Some(Slot::A)).unwrap();
    if order != Order::DoesNotClear {
        bench.store(&cleared);
        bench.write(boot, &zeros);
        bench.write(root, &zeros);
        bench.flush();
    }
    let armed = cleared.arm(Slot::B, 2).unwrap();
    if order == Order::ArmsFirst {
        bench.store(&armed);
    }
    bench.write(root + BLOCK_LEN, &new.root[BLOCK_LEN..]);
    bench.write(boot + BLOCK_LEN, &new.boot[BLOCK_LEN..]);
    bench.flush();
    bench.write(root, &new.root[..BLOCK_LEN]);
    bench.flush();
    bench.write(boot, &new.boot[..BLOCK_LEN]);
    bench.flush();
    bench.store(&armed);
    bench.store(&armed.boot().store.unwrap());
    bench.store(&armed.commit(Slot::B).unwrap());
}

fn good_both(order: Slot) -> BootState {
    BootState { good: PerSlot { a: true, b: true }, ..BootState::factory(Some(order)) }
}

#[test]
fn an_update_in_the_right_order_has_no_moment_without_a_whole_slot() {
    let state = good_both(Slot::A);
    let mut bench = Bench::new(&state);
    install(&mut bench, state, Order::Right);
    let report = bench.replay();
    assert_eq!(report.violations, []);
    // Every entry ends with a cut, and the first begins with one.
    assert_eq!(report.cuts, 1 + bench.count);
    let slot_sectors = 2 * MIB / SECTOR_LEN;
    let writes = 4 * 2 + slot_sectors + 2 * BLOCK_LEN / SECTOR_LEN;
    assert_eq!(
        report.tears,
        (writes - 4 - 6) as u64,
        "one less than it has sectors, of every write"
    );
}

#[test]
fn a_slot_that_is_armed_before_it_is_written_is_found() {
    let state = good_both(Slot::A);
    let mut bench = Bench::new(&state);
    install(&mut bench, state, Order::ArmsFirst);
    let report = bench.replay();
    let first = &report.violations[0];
    // The environment and a flush, two blocks and a flush; then the first sector of the next write.
    assert_eq!((first.entries, first.sectors), (5, 1));
    assert_eq!(first.fault, Fault::Armed(Slot::B, Unproven::NotLoadable));
}

#[test]
fn a_slot_that_is_written_over_while_it_may_boot_is_found_within_a_write() {
    let state = good_both(Slot::B);
    let mut bench = Bench::new(&state);
    install(&mut bench, state, Order::DoesNotClear);
    let report = bench.replay();
    let first = &report.violations[0];
    assert_eq!((first.entries, first.sectors), (0, 1));
    assert_eq!(first.fault, Fault::Starts(Slot::B, Unproven::RootHash));
}

#[test]
fn a_partition_table_that_is_written_in_place_is_found() {
    let state = good_both(Slot::A);
    let mut bench = Bench::new(&state);
    let disk = fs::read(bench.folder.path().join("disk")).unwrap();
    // A longer last partition: its entry, then the header, which says what the entries' checksum is.
    let (header, entries) = (SECTOR_LEN, 2 * SECTOR_LEN);
    let last = entries + 128 * (NAMES.len() - 1);
    let mut sector = disk[last / SECTOR_LEN * SECTOR_LEN..][..SECTOR_LEN].to_vec();
    sector[last % SECTOR_LEN + 40] ^= 1;
    bench.write(last / SECTOR_LEN * SECTOR_LEN, &sector);
    bench.write(header, &disk[header..][..SECTOR_LEN]);
    let report = bench.replay();
    let moments: Vec<_> = report.violations.iter().map(|v| (v.entries, v.sectors)).collect();
    assert_eq!(moments, [(1, 0), (2, 0)]);
    assert!(report.violations.iter().all(|violation| violation.fault == Fault::Table));
}

#[test]
fn what_is_no_log_or_no_disk_is_refused() {
    let state = good_both(Slot::A);
    let bench = Bench::new(&state);
    let open = |name: &str| File::open(bench.folder.path().join(name)).unwrap();
    let error = replay(open("disk"), open("disk")).unwrap_err();
    assert_eq!(error.to_string(), "log: is not a log of writes of version 1");
    assert!(bench.replay().violations.is_empty());
    let error = replay(open("fat"), open("log")).unwrap_err();
    assert_eq!(error.to_string(), "disk: has no GUID partition table with entries of 128 bytes");
}
