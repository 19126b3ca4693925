//! The lz4 format that Linux reads: a magic number, then blocks, each behind its length.
//!
//! Source: lz4, `doc/lz4_Frame_format.md`, "Legacy frame"; Linux, `lib/decompress_unlz4.c`.

use std::io::{self, Read};

use super::Input;

const MAGIC: u32 = 0x184c_2102;
const MAGIC_LEN: usize = 4;
/// Every block but the last decodes to this many bytes.
const BLOCK_LEN: usize = 8 << 20;
/// The most that a block of them takes when it cannot be compressed.
const STORED_LEN_MAX: usize = BLOCK_LEN + BLOCK_LEN / 255 + 16;

/// Decodes one block at a time.
pub(super) struct Decoder<'a, 'b> {
    input: &'a mut Input<'b>,
    stored: Vec<u8>,
    block: Vec<u8>,
    len: usize,
    used: usize,
}

impl<'a, 'b> Decoder<'a, 'b> {
    /// Begins at the magic number.
    pub(super) const fn new(input: &'a mut Input<'b>) -> Self {
        Self { input, stored: Vec::new(), block: Vec::new(), len: 0, used: 0 }
    }

    /// Decodes the next block; false when there is none.
    ///
    /// The format has no end of its own. Linux takes one where the file ends or a length is 0,
    /// which is how padding looks.
    fn next(&mut self) -> io::Result<bool> {
        let stored_len = loop {
            if self.input.left() < MAGIC_LEN as u64 {
                return Ok(false);
            }
            match u32::from_le_bytes(self.input.peek()?) {
                0 => return Ok(false),
                MAGIC => self.skip_word()?,
                len => break usize::try_from(len).unwrap_or(usize::MAX),
            }
        };
        if stored_len > STORED_LEN_MAX {
            let what = format!("a block of {stored_len} bytes follows, limit {STORED_LEN_MAX}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        self.skip_word()?;
        self.stored.resize(stored_len, 0);
        self.input.read_exact(&mut self.stored)?;
        self.block.resize(BLOCK_LEN, 0);
        let decoded = lz4_flex::block::decompress_into(&self.stored, &mut self.block);
        self.len = decoded.map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
        self.used = 0;
        Ok(true)
    }

    fn skip_word(&mut self) -> io::Result<()> {
        self.input.read_exact(&mut [0; MAGIC_LEN])
    }
}

impl Read for Decoder<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used >= self.len {
            if !self.next()? {
                return Ok(0);
            }
        }
        let mut rest = self.block.get(self.used..self.len).unwrap_or(&[]);
        let count = rest.read(buffer)?;
        self.used = self.used.saturating_add(count);
        Ok(count)
    }
}
