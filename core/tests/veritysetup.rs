//! Foreign judge: cryptsetup's `veritysetup` accepts our tree and finds a flipped bit.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

use std::fs;
use std::process::Command;

use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::verity::{Geometry, TreeBuilder, leaf, superblock};

fn veritysetup(image: &std::path::Path, blocks: u64, root: &str) -> bool {
    let offset = format!("--hash-offset={}", blocks * BLOCK_LEN as u64);
    let mut run = Command::new("veritysetup");
    let run = run.arg("verify").args([image, image]).args([root, &offset]).output();
    run.expect("cannot run veritysetup; run: cargo full-test, which installs it").status.success()
}

#[test]
fn veritysetup_accepts_the_tree_and_finds_a_flipped_bit() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    for count in [1u64, 2, 128, 129, 20_000] {
        let data: Vec<Block> = (0..count)
            .map(|index| {
                let mut block = [0x5a; BLOCK_LEN];
                block[..8].copy_from_slice(&index.to_le_bytes());
                block
            })
            .collect();
        let geometry = Geometry::new(count).unwrap();
        let mut tree = vec![[0; BLOCK_LEN]; usize::try_from(geometry.tree_blocks()).unwrap()];
        tree[0] = superblock(&geometry);
        let mut builder = TreeBuilder::new(geometry);
        let mut sink = |at: u64, block: &Block| {
            tree[usize::try_from(at).unwrap()] = *block;
            Ok::<(), ()>(())
        };
        for block in &data {
            builder.push(leaf(block), &mut sink).unwrap();
        }
        let root = builder.finish(&mut sink).unwrap().hex().to_string();
        let mut bytes = [data.as_flattened(), tree.as_flattened()].concat();
        fs::write(&image, &bytes).unwrap();
        assert!(veritysetup(&image, count, &root), "{count} blocks: refused");
        bytes[4095] ^= 1;
        fs::write(&image, &bytes).unwrap();
        assert!(!veritysetup(&image, count, &root), "{count} blocks: the flipped bit passed");
    }
}
