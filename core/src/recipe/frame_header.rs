//! The header of a zstd frame, looked at before the decoder is: decoding a whole frame at once,
//! the library itself minds neither the window nor a missing length.
//!
//! Source: RFC 8878, section 3.1.1.1.

/// The largest window of a frame: the largest frame itself.
pub const WINDOW_LEN_MAX: u64 = 1 << 20;

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The lowest binary logarithm of a window.
const WINDOW_LOG_MIN: u32 = 10;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How far its decoder must be able to look back, in bytes.
    pub window_len: u64,
    /// How many bytes it decodes to.
    pub content_len: u64,
}

impl FrameHeader {
    /// Reads the header at the start of `frame`; `None` if it is none that packs have, which say
    /// their length and need no dictionary.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let rest = frame.strip_prefix(&MAGIC)?;
        let (&descriptor, rest) = rest.split_first()?;
        let is_single_segment = descriptor & 0x20 != 0;
        // A reserved bit, and the length of a dictionary's number.
        if descriptor & 0b1011 != 0 {
            return None;
        }
        let (window, rest) = if is_single_segment {
            (None, rest)
        } else {
            let (&byte, rest) = rest.split_first()?;
            let base = 1_u64.checked_shl(WINDOW_LOG_MIN.checked_add(u32::from(byte >> 3))?)?;
            let more = (base >> 3).checked_mul(u64::from(byte & 7))?;
            (Some(base.checked_add(more)?), rest)
        };
        let content_len = match descriptor >> 6 {
            0 if is_single_segment => u64::from(*rest.first()?),
            0 => return None,
            1 => u64::from(u16::from_le_bytes(*rest.first_chunk()?)).checked_add(256)?,
            2 => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
            _ => u64::from_le_bytes(*rest.first_chunk()?),
        };
        Some(Self { window_len: window.unwrap_or(content_len), content_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Option<(u64, u64)> {
        let mut frame = MAGIC.to_vec();
        frame.extend_from_slice(bytes);
        FrameHeader::parse(&frame).map(|it| (it.window_len, it.content_len))
    }

    #[test]
    fn windows_and_lengths_are_read_as_rfc_8878_says() {
        for (bytes, expected) in [
            (&[0x20, 7][..], Some((7, 7))),
            (&[0x60, 0, 1], Some((512, 512))),
            (&[0xa0, 0, 0, 16, 0], Some((1 << 20, 1 << 20))),
            (&[0x80, 10 << 3, 0, 16, 0, 0], Some((1 << 20, 4096))),
            (&[0x80, (17 << 3) | 4, 0, 16, 0, 0], Some((3 << 26, 4096))),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0, 128], Some((1 << 63, 1 << 63))),
            // No length, a dictionary, the reserved bit, and headers that end early.
            (&[0x00, 80], None),
            (&[0x21, 7, 7], None),
            (&[0x28, 7], None),
            (&[0xa0, 0, 16, 0], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(header(bytes), expected, "{bytes:x?}");
        }
        assert_eq!(FrameHeader::parse(b"\x50\x2a\x4d\x18\x20\x07"), None, "a skippable frame");
    }

    #[test]
    fn what_the_library_writes_is_read() {
        for len in [1, 255, 256, 4096, 70_000, 1 << 20] {
            let frame = zstd::bulk::compress(&std::vec![1; len], 3).unwrap();
            let header = FrameHeader::parse(&frame).unwrap();
            assert_eq!(header.content_len, len as u64);
            assert!(header.window_len <= WINDOW_LEN_MAX, "{len}: {header:?}");
        }
    }
}
