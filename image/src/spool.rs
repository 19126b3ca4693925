//! Where the layers' bytes lie once they were read: on disk, never in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use gybe_oci::Blob;

use crate::content::{Content, ReadContent};

/// The uncompressed layers of an image.
#[derive(Debug)]
pub struct Spool(pub(crate) Vec<Stored>);

/// One uncompressed layer.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Decompressed to a file that has no name and vanishes with the program.
    File(File),
    /// Never compressed: read where it is.
    Blob(Blob),
}

impl Stored {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, at),
            Self::Blob(blob) => blob.read_at(at, buffer),
        }
    }
}

impl ReadContent for Spool {
    fn read_at(&self, content: &Content, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64).filter(|&end| end <= content.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let layer = self.0.get(content.layer).ok_or(io::ErrorKind::NotFound)?;
        buffer.fill(0);
        let first =
            content.pieces.partition_point(|piece| piece.at.saturating_add(piece.len) <= at);
        for piece in content.pieces.iter().skip(first).take_while(|piece| piece.at < end) {
            let from = piece.at.max(at);
            let to = piece.at.saturating_add(piece.len).min(end);
            // Both lie within the buffer, which has a usize for its length.
            let range = [from, to].map(|it| usize::try_from(it.saturating_sub(at)).unwrap_or(0));
            let [start, end] = range;
            let part = buffer.get_mut(start..end).ok_or(io::ErrorKind::InvalidInput)?;
            layer.read_at(piece.from.saturating_add(from.saturating_sub(piece.at)), part)?;
        }
        Ok(())
    }
}

/// A folder for files that may be as large as the image: `TMPDIR`, or `/var/tmp`, since `/tmp`
/// is often memory.
pub(crate) fn default_directory() -> PathBuf {
    let large = PathBuf::from("/var/tmp");
    match std::env::var_os("TMPDIR") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ if large.is_dir() => large,
        _ => std::env::temp_dir(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use gybe_core::digest::Digest;

    use super::*;
    use crate::content::Piece;

    #[test]
    fn any_part_of_a_sparse_file_reads_as_that_of_the_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"..abc..defg").unwrap();
        let spool = Spool(vec![Stored::File(file)]);
        let whole = b"\0abc\0\0defg\0\0";
        let content = Content {
            layer: 0,
            len: 12,
            digest: Digest::of(whole),
            pieces: vec![Piece { at: 1, from: 2, len: 3 }, Piece { at: 6, from: 7, len: 4 }],
        };
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let mut part = vec![7; end - start];
                spool.read_at(&content, start as u64, &mut part).unwrap();
                assert_eq!(part, whole[start..end], "{start}..{end}");
            }
        }
        let beyond = spool.read_at(&content, 8, &mut [0; 5]).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
}
