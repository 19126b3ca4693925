//! The header of a cpio entry, as Linux reads it.
//!
//! Source: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst` and
//! `init/initramfs.c` (6.18); cpio(5), "New ASCII Format".

/// Length of a header. The name follows it.
pub(super) const HEADER_LEN: usize = 110;
/// Entries, names and bodies are filled up to a multiple of this.
pub(super) const ALIGNMENT: u64 = 4;
/// The longest name, with the NUL at its end: Linux passes over entries with longer ones.
pub(super) const NAME_LEN_MAX: u64 = 4096;

const MAGICS: [&[u8; 6]; 2] = [b"070701", b"070702"];
/// Where the fields stand, each of 8 hexadecimal digits.
const MODE_AT: usize = 14;
const BODY_LEN_AT: usize = 54;
const NAME_LEN_AT: usize = 94;
const FIELD_LEN: usize = 8;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;

/// What is needed of a header to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    bytes: [u8; HEADER_LEN],
    /// Whether it is a regular file.
    pub(super) is_file: bool,
    /// Length of the name, with the NUL at its end and whatever follows that.
    pub(super) name_len: u64,
    /// Length of the body.
    pub(super) body_len: u64,
}

impl Header {
    /// Parses a header; none if it is not one.
    pub(super) fn parse(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        if !MAGICS.iter().any(|magic| bytes.starts_with(*magic)) {
            return None;
        }
        let field = |at: usize| {
            let digits = bytes.get(at..at.checked_add(FIELD_LEN)?)?;
            digits.iter().try_fold(0_u32, |number, digit| {
                Some((number << 4) | char::from(*digit).to_digit(16)?)
            })
        };
        Some(Self {
            is_file: field(MODE_AT)? & TYPE_MASK == TYPE_FILE,
            name_len: field(NAME_LEN_AT)?.into(),
            body_len: field(BODY_LEN_AT)?.into(),
            bytes,
        })
    }

    /// The header's bytes, but with the name's length `name_len`.
    pub(super) fn with_name_len(&self, name_len: u64) -> [u8; HEADER_LEN] {
        let mut bytes = self.bytes;
        let digits = format!("{name_len:08X}");
        if let Some(field) = bytes.get_mut(NAME_LEN_AT..NAME_LEN_AT + FIELD_LEN) {
            field.iter_mut().zip(digits.bytes()).for_each(|(to, digit)| *to = digit);
        }
        bytes
    }

    /// The header's bytes.
    pub(super) const fn bytes(&self) -> &[u8; HEADER_LEN] {
        &self.bytes
    }
}

/// How many zeros lead from `at` to the next multiple of `alignment`.
pub(super) const fn padding(at: u64, alignment: u64) -> u64 {
    at.next_multiple_of(alignment).saturating_sub(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: &str, mode: u32, body_len: u32, name_len: u32) -> [u8; HEADER_LEN] {
        let fields = [1, mode, 0, 0, 1, 0, body_len, 0, 0, 0, 0, name_len, 0];
        let text: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        format!("{magic}{text}").into_bytes().try_into().unwrap()
    }

    #[test]
    fn a_header_says_what_follows_it() {
        let found = Header::parse(header("070702", 0o100_644, 0xabcd, 5)).unwrap();
        assert_eq!((found.is_file, found.body_len, found.name_len), (true, 0xabcd, 5));
        let link = Header::parse(header("070701", 0o120_777, u32::MAX, 4096)).unwrap();
        assert_eq!((link.is_file, link.body_len), (false, 0xffff_ffff));
        assert_eq!(Header::parse(header("070707", 0o100_644, 0, 5)), None);
        let mut letter = header("070701", 0o100_644, 0, 5);
        letter[NAME_LEN_AT] = b'g';
        assert_eq!(Header::parse(letter), None);
    }

    #[test]
    fn another_length_of_the_name_changes_nothing_else() {
        let before = Header::parse(header("070701", 0o100_644, 7, 5)).unwrap();
        let after = Header::parse(before.with_name_len(0x1a3)).unwrap();
        assert_eq!((after.name_len, after.body_len), (0x1a3, 7));
        assert_eq!(after.with_name_len(5), *before.bytes());
    }
}
