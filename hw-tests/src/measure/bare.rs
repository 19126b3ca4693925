//! The floor under an install: decode, hash, write and flush the same bytes, and nothing else.
//!
//! One thread takes the frames of a release one after the other, decodes each, takes the SHA-256 of
//! every block once as dm-verity needs it, writes the blocks one after the other to a file that is
//! there already, and flushes. No signature, no digest of a frame, no tree, no read-back.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sha2::{Digest as _, Sha256};

use super::{layout::Layout, recipe::Recipe};
use crate::say;

const USAGE: &str = "usage: bare-loop LAYOUT TAG FILE";
const BLOCK_LEN: usize = 4096;
const SALT_OF: &[u8] = b"gybe-verity-salt-v1";

/// Runs the loop; prints how many bytes were written.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let [layout, tag, file] = &*arguments else {
        say::trouble(USAGE);
        return ExitCode::from(2);
    };
    let recipe = Layout(PathBuf::from(layout)).recipe(tag);
    let written = recipe.and_then(|(recipe, packs)| {
        write(&recipe, &packs, Path::new(file)).map_err(|cause| format!("{file}: {cause}"))
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

fn write(recipe: &Recipe, packs: &[PathBuf], to: &Path) -> io::Result<u64> {
    let packs: Vec<File> = packs.iter().map(File::open).collect::<io::Result<_>>()?;
    let mut out = OpenOptions::new().write(true).open(to)?;
    let mut decoder = zstd::bulk::Decompressor::new()?;
    let salt = Sha256::digest(SALT_OF);
    let (mut stored, mut raw) = (Vec::new(), Vec::new());
    let mut leaves = [0_u8; 32];
    let mut written = 0;
    for frame in recipe.needed() {
        let pack = packs.get(frame.pack).ok_or(io::ErrorKind::NotFound)?;
        stored.resize(usize::try_from(frame.len).unwrap_or(0), 0);
        pack.read_exact_at(&mut stored, frame.at)?;
        raw.resize(usize::try_from(frame.blocks).unwrap_or(0) * BLOCK_LEN, 0);
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
        out.write_all(&raw)?;
        written += raw.len() as u64;
    }
    out.sync_all()?;
    // Whoever asks for the hashes keeps the compiler from leaving them out.
    if leaves == [0; 32] && written > 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::recipe::Frame;

    #[test]
    fn frames_are_decoded_one_after_the_other_into_a_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (pack, file) = (folder.path().join("pack"), folder.path().join("file"));
        let blocks = [vec![1; BLOCK_LEN], vec![2; 2 * BLOCK_LEN]];
        let frame = zstd::bulk::compress(&blocks[1], 3).unwrap();
        let bytes = [b"other".to_vec(), blocks[0].clone(), frame.clone()].concat();
        std::fs::write(&pack, bytes).unwrap();
        std::fs::write(&file, vec![9; 4 * BLOCK_LEN]).unwrap();
        let first = Frame { pack: 0, at: 5, len: 4096, blocks: 1, is_stored: true };
        let second =
            Frame { pack: 0, at: 5 + 4096, len: frame.len() as u64, blocks: 2, is_stored: false };
        let recipe = Recipe { frames: vec![first, second], targets: vec![vec![0], vec![0, 1]] };
        assert_eq!(write(&recipe, &[pack], &file).unwrap(), 3 * 4096);
        let expected = [blocks.concat(), vec![9; BLOCK_LEN]].concat();
        assert!(std::fs::read(&file).unwrap() == expected);
    }
}
