//! Writing headers: of files and folders that belong to nobody and are from 1970, so that the same
//! content gives the same archive.

use super::BLOCK_LEN;

/// Longest name, in bytes: longer ones would need a second header, and no layout has one.
pub const NAME_LEN_MAX: usize = 100;

/// The largest number that eleven octal digits hold.
const OCTAL_MAX: u64 = (1 << 33) - 1;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder, whose name ends in `/`.
    Folder,
}

/// The header of a member with `len` bytes of content, or `None` if `name` is empty or too long.
#[must_use]
pub fn header(name: &str, kind: Kind, len: u64) -> Option<[u8; BLOCK_LEN]> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return None;
    }
    let (mode, flag) = match kind {
        Kind::File => ("0000644\0", b'0'),
        Kind::Folder => ("0000755\0", b'5'),
    };
    let mut block = Vec::with_capacity(BLOCK_LEN);
    block.extend_from_slice(name.as_bytes());
    block.resize(NAME_LEN_MAX, 0);
    block.extend_from_slice(mode.as_bytes());
    block.extend_from_slice(b"0000000\0");
    block.extend_from_slice(b"0000000\0");
    block.extend_from_slice(&size(len));
    block.extend_from_slice(b"00000000000\0");
    let checksum = block.len();
    block.extend_from_slice(b"        ");
    block.push(flag);
    block.resize(block.len().saturating_add(NAME_LEN_MAX), 0);
    block.extend_from_slice(b"ustar\x0000");
    block.resize(BLOCK_LEN, 0);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let text = format!("{sum:06o}\0 ");
    for (place, byte) in block.iter_mut().skip(checksum).zip(text.bytes()) {
        *place = byte;
    }
    block.try_into().ok()
}

/// A length in octal, or in base 256 where that is not enough.
fn size(len: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if len <= OCTAL_MAX {
        for (place, byte) in field.iter_mut().zip(format!("{len:011o}").bytes()) {
            *place = byte;
        }
    } else {
        for (place, byte) in field.iter_mut().skip(4).zip(len.to_be_bytes()) {
            *place = byte;
        }
        if let Some(first) = field.first_mut() {
            *first = 0x80;
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_at_every_length() {
        for len in [0, 1, 511, OCTAL_MAX, OCTAL_MAX + 1, 1 << 40] {
            let block = header("blobs/sha256/x", Kind::File, len).unwrap();
            let read = Header::parse(&block).unwrap().unwrap();
            assert_eq!(read.path(), b"blobs/sha256/x");
            assert_eq!((read.kind(), read.size()), (b'0', Ok(len)));
        }
        let folder = Header::parse(&header("blobs/", Kind::Folder, 0).unwrap()).unwrap().unwrap();
        assert_eq!(folder.kind(), b'5');
    }

    #[test]
    fn names_that_need_a_second_header_are_not_written() {
        assert!(header("", Kind::File, 0).is_none());
        assert!(header(&"x".repeat(NAME_LEN_MAX), Kind::File, 0).is_some());
        assert!(header(&"x".repeat(NAME_LEN_MAX + 1), Kind::File, 0).is_none());
    }
}
