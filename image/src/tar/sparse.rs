//! Maps of sparse files: which parts of a file are stored, in four dialects.
//!
//! Source: GNU tar manual, "Storing Sparse Files", versions 0.0, 0.1 and 1.0, and the old format.

use std::io::BufRead;

use gybe_oci::tar::{BLOCK_LEN, Header};

use super::extended::{Sparse, decimal};
use super::reader::Stream;
use super::{PIECES_MAX, TarError};
use crate::content::Piece;

/// The old format: entries of two numbers of 12 bytes, in the header and in blocks after it.
const ENTRY_LEN: usize = 24;
const HEADER_ENTRIES: std::ops::Range<usize> = 386..482;
const HEADER_EXTENDED: usize = 482;
const HEADER_REAL_SIZE: std::ops::Range<usize> = 483..495;
const BLOCK_ENTRIES: std::ops::Range<usize> = 0..504;
const BLOCK_EXTENDED: usize = 504;

/// A file whose stored parts are known, but not yet where they begin.
pub(super) struct Map {
    pub(super) real_size: u64,
    /// Offsets and lengths, alternating.
    numbers: Vec<u64>,
}

impl Map {
    /// Reads the map of the old format, which may go on after the header.
    pub(super) fn old(header: &Header, from: &mut Stream<impl BufRead>) -> Result<Self, TarError> {
        let block = header.block();
        let field = |range: std::ops::Range<usize>| block.get(range).unwrap_or(&[]);
        let real_size = Header::number(field(HEADER_REAL_SIZE)).ok_or(WRONG_NUMBER)?;
        let mut numbers = Vec::new();
        let mut more = entries(field(HEADER_ENTRIES), &mut numbers)?
            && block.get(HEADER_EXTENDED).is_some_and(|&more| more != 0);
        while more {
            let mut block = [0; BLOCK_LEN];
            from.fill(&mut block)?;
            more = entries(block.get(BLOCK_ENTRIES).unwrap_or(&[]), &mut numbers)?
                && block.get(BLOCK_EXTENDED).is_some_and(|&more| more != 0);
        }
        Ok(Self { real_size, numbers })
    }

    /// The map that a pax header has or leads to; `None` if the file is not sparse. Counts what
    /// it reads of the content off `size`.
    pub(super) fn pax(
        sparse: &mut Sparse,
        size: &mut u64,
        from: &mut Stream<impl BufRead>,
    ) -> Result<Option<Self>, TarError> {
        let numbers = match (sparse.major, sparse.minor) {
            (None, None) if sparse.map.is_empty() && sparse.real_size.is_none() => return Ok(None),
            (None, None) => std::mem::take(&mut sparse.map),
            (Some(1), Some(0)) => numbers_before_content(size, from)?,
            _ => return Err(TarError::Sparse { why: "its version is unknown" }),
        };
        let real_size = sparse
            .real_size
            .ok_or(TarError::Sparse { why: "the length of the file is missing" })?;
        Ok(Some(Self { real_size, numbers }))
    }

    /// The pieces, when their content of `size` bytes begins at `from`.
    pub(super) fn pieces(self, from: u64, size: u64) -> Result<Vec<Piece>, TarError> {
        let wrong = |why| Err(TarError::Sparse { why });
        let (pairs, rest) = self.numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return wrong("an offset has no length");
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut end = 0;
        let mut stored = 0_u64;
        for &[at, len] in pairs {
            if at < end {
                return wrong("its parts overlap or are out of order");
            }
            let Some(after) = at.checked_add(len).filter(|&after| after <= self.real_size) else {
                return wrong("a part lies beyond the end of the file");
            };
            let Some(sum) = stored.checked_add(len).filter(|&sum| sum <= size) else {
                return wrong("its parts are longer than what is stored");
            };
            if len > 0 {
                pieces.push(Piece { at, from: from.saturating_add(stored), len });
            }
            (end, stored) = (after, sum);
        }
        if stored != size {
            return wrong("its parts are shorter than what is stored");
        }
        Ok(pieces)
    }
}

const WRONG_NUMBER: TarError = TarError::Sparse { why: "a number is not one" };

/// Collects entries of the old format; says whether they reach to the end.
fn entries(field: &[u8], numbers: &mut Vec<u64>) -> Result<bool, TarError> {
    for entry in field.as_chunks::<ENTRY_LEN>().0 {
        let (at, len) = entry.split_at(ENTRY_LEN / 2);
        // An entry without an offset ends the list.
        if at.first() == Some(&0) {
            return Ok(false);
        }
        for number in [at, len] {
            push(numbers, Header::number(number).ok_or(WRONG_NUMBER)?)?;
        }
    }
    Ok(true)
}

/// Version 1.0: lines of numbers stand before the content, filled up to a whole block. The first
/// number says how many pairs follow.
fn numbers_before_content(
    size: &mut u64,
    from: &mut Stream<impl BufRead>,
) -> Result<Vec<u64>, TarError> {
    let mut numbers = Vec::new();
    let mut expected = None;
    let mut line = Vec::new();
    while expected != Some(numbers.len()) {
        let mut block = [0; BLOCK_LEN];
        *size = size
            .checked_sub(BLOCK_LEN as u64)
            .ok_or(TarError::Sparse { why: "it does not fit in the content" })?;
        from.fill(&mut block)?;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = decimal(&line).ok_or(WRONG_NUMBER)?;
            line.clear();
            match expected {
                None => {
                    let count = usize::try_from(number).ok().filter(|&count| count <= PIECES_MAX);
                    expected = Some(count.ok_or(TOO_MANY)?.saturating_mul(2));
                }
                Some(_) => push(&mut numbers, number)?,
            }
            if expected == Some(numbers.len()) {
                break;
            }
        }
        if line.len() > BLOCK_LEN {
            return Err(WRONG_NUMBER);
        }
    }
    Ok(numbers)
}

const TOO_MANY: TarError = TarError::Sparse { why: "it has more than 262144 parts" };

fn push(numbers: &mut Vec<u64>, number: u64) -> Result<(), TarError> {
    const { assert!(PIECES_MAX == 262_144) };
    if numbers.len() >= PIECES_MAX * 2 {
        return Err(TOO_MANY);
    }
    numbers.push(number);
    Ok(())
}
