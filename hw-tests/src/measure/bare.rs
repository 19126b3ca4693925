//! The floor under an install: decode, hash, write and flush the same bytes, and nothing else.
//!
//! One thread takes the frames of a release one after the other, decodes each, takes the SHA-256 of
//! every block once as dm-verity needs it, writes the blocks to every place that the recipe names in
//! files that are there already, and flushes. No signature, no digest of a frame, no tree, no
//! read-back.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::ExitCode,
};

use sha2::{Digest as _, Sha256};

use super::{layout::Layout, recipe::Recipe};
use crate::say;

const USAGE: &str = "usage: bare-loop LAYOUT TAG TARGET...";
const BLOCK_LEN: usize = 4096;
const SALT_OF: &[u8] = b"gybe-verity-salt-v1";

/// Runs the loop; prints how many bytes were written.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let [layout, tag, targets @ ..] = &*arguments else {
        say::trouble(USAGE);
        return ExitCode::from(2);
    };
    let recipe = Layout(PathBuf::from(layout)).recipe(tag);
    let written = recipe.and_then(|(recipe, packs)| {
        write(&recipe, &packs, targets).map_err(|cause| format!("{tag}: {cause}"))
    });
    match written {
        Ok(written) => {
            say::line(&written.to_string());
            ExitCode::SUCCESS
        }
        Err(cause) => {
            say::trouble(&format!("bare-loop: {cause}"));
            ExitCode::FAILURE
        }
    }
}

fn write(recipe: &Recipe, packs: &[PathBuf], targets: &[String]) -> io::Result<u64> {
    let packs: Vec<File> = packs.iter().map(File::open).collect::<io::Result<_>>()?;
    let open = |target| OpenOptions::new().write(true).open(target);
    let targets: Vec<File> = targets.iter().map(open).collect::<io::Result<_>>()?;
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut decoder = zstd::bulk::Decompressor::new()?;
    let salt = Sha256::digest(SALT_OF);
    let (mut stored, mut raw) = (Vec::new(), Vec::new());
    let mut leaves = [0_u8; 32];
    let mut written = 0;
    for (frame, chunks) in recipe.needed() {
        let pack = packs.get(frame.pack).ok_or_else(missing)?;
        stored.resize(len(frame.len), 0);
        pack.read_exact_at(&mut stored, frame.at)?;
        raw.resize(len(frame.blocks) * BLOCK_LEN, 0);
        if frame.is_stored {
            raw.copy_from_slice(&stored);
        } else {
            let len = decoder.decompress_to_buffer(&stored, raw.as_mut_slice())?;
            if len != raw.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        for block in raw.chunks_exact(BLOCK_LEN) {
            let leaf = Sha256::new().chain_update(salt).chain_update(block).finalize();
            leaves.iter_mut().zip(leaf).for_each(|(sum, byte)| *sum ^= byte);
        }
        // Neighbours in a frame are neighbours in their target, but for what is there twice.
        for run in chunks.chunk_by(|one, next| {
            let end = (one.target, one.from + one.count, one.at + one.count);
            end == (next.target, next.from, next.at)
        }) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let (from, to) = (len(first.from), len(last.from + last.count));
            let bytes = raw.get(from * BLOCK_LEN..to * BLOCK_LEN).ok_or_else(missing)?;
            let target = targets.get(first.target).ok_or_else(missing)?;
            target.write_all_at(bytes, first.at * BLOCK_LEN as u64)?;
            written += bytes.len() as u64;
        }
    }
    targets.iter().try_for_each(File::sync_all)?;
    // Whoever asks for the hashes keeps the compiler from leaving them out.
    if leaves == [0; 32] && written > 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(written)
}

fn len(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::recipe::{Chunk, Frame};

    #[test]
    fn every_chunk_is_written_to_each_of_its_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let blocks = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().flat_map(|byte| vec![*byte; BLOCK_LEN]).collect()
        };
        let frame = zstd::bulk::compress(&blocks(&[2, 3]), 3).unwrap();
        std::fs::write(path("pack"), [b"other".to_vec(), blocks(&[1]), frame.clone()].concat())
            .unwrap();
        for target in ["root", "boot"] {
            std::fs::write(path(target), blocks(&[9, 9, 9, 9])).unwrap();
        }
        let len = frame.len() as u64;
        let first = Frame { pack: 0, at: 5, len: 4096, blocks: 1, is_stored: true };
        let second = Frame { pack: 0, at: 5 + 4096, len, blocks: 2, is_stored: false };
        let chunk = |frame, from, count, target, at| Chunk { frame, from, count, target, at };
        let chunks = vec![
            chunk(0, 0, 1, 0, 0),
            chunk(1, 0, 1, 0, 2),
            chunk(1, 1, 1, 0, 3),
            chunk(1, 1, 1, 1, 1),
        ];
        let recipe = Recipe { frames: vec![first, second], chunks };
        let targets = ["root", "boot"].map(|name| path(name).display().to_string());
        assert_eq!(write(&recipe, &[path("pack")], &targets).unwrap(), 4 * 4096);
        assert!(std::fs::read(path("root")).unwrap() == blocks(&[1, 9, 2, 3]));
        assert!(std::fs::read(path("boot")).unwrap() == blocks(&[9, 3, 9, 9]));
    }
}
