//! Where the layers' bytes lie once they were read: on disk, never in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gybe_core::digest::Hasher;
use gybe_oci::Blob;

use crate::content::{Content, Piece, ReadContent};

/// How many bytes of a file are copied at once. What is zeros as far as that becomes a hole.
const COPY_LEN: usize = 1 << 20;

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

impl Spool {
    /// Takes in files that belong to no layer, such as a kernel from elsewhere; what they are as
    /// contents, in the same order.
    ///
    /// # Errors
    /// What the system says, and which of the files it is about.
    pub fn add(&mut self, paths: &[PathBuf]) -> Result<Vec<Content>, AddError> {
        let layer = self.0.len();
        let mut filling = Filling::new(layer, None).map_err(|cause| AddError::Spool { cause })?;
        let contents = paths.iter().map(|path| {
            let read = |cause| AddError::Read { path: path.clone(), cause };
            let file = File::open(path).map_err(read)?;
            let len = file.metadata().map_err(read)?.len();
            filling.add(&file, len).map_err(read)
        });
        let contents = contents.collect::<Result<_, _>>()?;
        self.0.push(filling.finish());
        Ok(contents)
    }
}

/// Why files are not taken in.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// One cannot be read or copied.
    #[error("{}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is no place for them.
    #[error("cannot spool: {cause}")]
    Spool {
        /// What the system says.
        cause: io::Error,
    },
}

/// A layer in the making, of files that lie anywhere.
#[derive(Debug)]
pub(crate) struct Filling {
    layer: usize,
    file: File,
    len: u64,
    buffer: Vec<u8>,
}

impl Filling {
    /// The layer with this number, in `directory` or where such files usually go.
    pub(crate) fn new(layer: usize, directory: Option<&Path>) -> io::Result<Self> {
        let file = match directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile_in(default_directory()),
        };
        Ok(Self { layer, file: file?, len: 0, buffer: vec![0; COPY_LEN] })
    }

    /// Copies the first `len` bytes of a file.
    ///
    /// # Errors
    /// What the system says; a file that is shorter is `UnexpectedEof`.
    pub(crate) fn add(&mut self, mut from: &File, len: u64) -> io::Result<Content> {
        let mut hasher = Hasher::new();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut at = 0;
        while at < len {
            let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
            let part = self.buffer.get_mut(..left.min(COPY_LEN)).unwrap_or_default();
            from.read_exact(part)?;
            hasher.update(part);
            let part_len = part.len() as u64;
            if part.iter().any(|&byte| byte != 0) {
                self.file.write_all_at(part, self.len)?;
                match pieces.last_mut() {
                    // Nothing else was written meanwhile, so it goes on in the spool as well.
                    Some(last) if last.at.saturating_add(last.len) == at => {
                        last.len = last.len.saturating_add(part_len);
                    }
                    _ => pieces.push(Piece { at, from: self.len, len: part_len }),
                }
                self.len = self.len.saturating_add(part_len);
            }
            at = at.saturating_add(part_len);
        }
        Ok(Content { layer: self.layer, len, digest: hasher.finish(), pieces })
    }

    pub(crate) fn finish(self) -> Stored {
        Stored::File(self.file)
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
    fn files_from_elsewhere_read_as_they_were_and_holes_take_no_room() {
        let mut spool = Spool(Vec::new());
        let folder = tempfile::tempdir().unwrap();
        let paths = ["hole", "small", "empty"].map(|name| folder.path().join(name));
        let [hole, small, _] = [0, 1, 2].map(|at| File::create(&paths[at]).unwrap());
        hole.set_len(3 * COPY_LEN as u64 + 5).unwrap();
        hole.write_all_at(b"end", 3 * COPY_LEN as u64 + 2).unwrap();
        small.write_all_at(b"small", 0).unwrap();
        let contents = spool.add(&paths).unwrap();
        let mut whole = vec![0; 3 * COPY_LEN];
        whole.extend_from_slice(b"\0\0end");
        for (content, expected) in contents.iter().zip([&whole[..], b"small", b""]) {
            let mut found = vec![7; expected.len()];
            spool.read_at(content, 0, &mut found).unwrap();
            assert!(found == expected, "{content:?}");
            assert_eq!(content.digest, Digest::of(expected));
        }
        let [Stored::File(file)] = &spool.0[..] else { panic!("one file") };
        assert_eq!(file.metadata().unwrap().len(), 5 + 5);
        let missing = folder.path().join("missing");
        let why = spool.add(std::slice::from_ref(&missing)).unwrap_err().to_string();
        assert_eq!(why, format!("{}: No such file or directory (os error 2)", missing.display()));
    }

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
