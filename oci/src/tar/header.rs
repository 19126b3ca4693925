//! One header block: the fixed fields that begin each member of a tar file.

use std::ops::Range;

use super::BLOCK_LEN;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const PREFIX_STAR: Range<usize> = 345..476;
const TRAILER_STAR: Range<usize> = 508..512;

/// A header whose checksum is right.
#[derive(Clone, Debug)]
pub struct Header([u8; BLOCK_LEN]);

impl Header {
    /// Reads a header; `None` is a block of zeros, with which an archive ends.
    ///
    /// # Errors
    /// The checksum is wrong: this is no header, or a damaged one.
    pub fn parse(block: &[u8; BLOCK_LEN]) -> Result<Option<Self>, HeaderError> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Self(*block);
        let stored = header.named_number(CHECKSUM, "checksum")?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            let space = value(b' ').saturating_mul(8);
            let all: i64 = block.iter().map(|&byte| value(byte)).sum();
            let own: i64 = header.field(CHECKSUM).iter().map(|&byte| value(byte)).sum();
            all.saturating_sub(own).saturating_add(space)
        };
        // Some old writers summed signed bytes.
        if stored != sum(i64::from) && stored != sum(|byte| i64::from(byte.cast_signed())) {
            return Err(HeaderError::Checksum);
        }
        Ok(Some(header))
    }

    /// The type flag.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.0.get(KIND).copied().unwrap_or(0)
    }

    /// The path, put together from its two parts.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        let prefix = match self.field(MAGIC) {
            b"ustar\0" if self.field(TRAILER_STAR) == b"tar\0" => text(self.field(PREFIX_STAR)),
            b"ustar\0" => text(self.field(PREFIX)),
            // GNU keeps other things there.
            _ => b"",
        };
        let name = text(self.field(NAME));
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// What a link leads to.
    #[must_use]
    pub fn link(&self) -> &[u8] {
        text(self.field(LINK))
    }

    /// A number of the header.
    ///
    /// # Errors
    /// It is not written as a number, or is out of range.
    pub fn value(&self, field: NumberField) -> Result<i64, HeaderError> {
        let (range, name) = match field {
            NumberField::Mode => (MODE, "mode"),
            NumberField::Uid => (UID, "uid"),
            NumberField::Gid => (GID, "gid"),
            NumberField::Size => (SIZE, "size"),
            NumberField::Mtime => (MTIME, "mtime"),
            NumberField::Major => (MAJOR, "device major"),
            NumberField::Minor => (MINOR, "device minor"),
        };
        self.named_number(range, name)
    }

    /// Length of the content in bytes.
    ///
    /// # Errors
    /// It is not a number, or negative.
    pub fn size(&self) -> Result<u64, HeaderError> {
        let size = self.value(NumberField::Size)?;
        u64::try_from(size).map_err(|_| HeaderError::Number { field: "size" })
    }

    /// All bytes of the block.
    #[must_use]
    pub const fn block(&self) -> &[u8; BLOCK_LEN] {
        &self.0
    }

    /// A number as headers write it, in octal or base 256; `None` if it is none, or negative.
    #[must_use]
    pub fn number(field: &[u8]) -> Option<u64> {
        u64::try_from(number(field)?).ok()
    }

    fn field(&self, range: Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or(&[])
    }

    fn named_number(&self, range: Range<usize>, field: &'static str) -> Result<i64, HeaderError> {
        number(self.field(range)).ok_or(HeaderError::Number { field })
    }
}

/// The numbers of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberField {
    /// Permission bits.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// Length of the content.
    Size,
    /// Time of last modification in seconds.
    Mtime,
    /// Major device number.
    Major,
    /// Minor device number.
    Minor,
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// A number in octal digits, or in base 256 where the first bit is set (two's complement).
fn number(field: &[u8]) -> Option<i64> {
    if let Some((&first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // The second bit is the sign.
        let start =
            if first & 0x40 == 0 { i64::from(first & 0x3f) } else { i64::from(first) - 256 };
        return rest
            .iter()
            .try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)));
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_i64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'7' => i64::from(digit) - i64::from(b'0'),
            _ => return None,
        };
        value.checked_mul(8)?.checked_add(digit)
    })
}

/// Why a block is not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The sum over the block is not the one stored in it.
    #[error("not a tar header: its checksum does not match")]
    Checksum,
    /// A field holds no number.
    #[error("the {field} in the tar header is not a number in range")]
    Number {
        /// Which field.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i64>); 11] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"12345678", None),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"-1\0\0\0\0\0\0", None),
            (&[0x80, 0, 0, 0, 0, 1, 0x11, 0x70], Some(70000)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], Some(-2)),
            (&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255], Some(i64::MAX)),
            (&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
