//! Base64 into a buffer: padded, canonical, nothing else.
//!
//! Source: RFC 4648, section 4.

use core::fmt;

/// Decodes `text` into the front of `buffer` and returns that part.
///
/// # Errors
/// [`Base64Error`]: anything but the one encoding that a byte string has is refused.
pub fn decode<'b>(text: &str, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Base64Error> {
    decode_symbols(text.bytes(), buffer)
}

/// Decodes like [`decode`], skipping the line ends that PEM puts between lines.
///
/// # Errors
/// As [`decode`].
pub fn decode_lines<'b>(text: &str, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Base64Error> {
    decode_symbols(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')), buffer)
}

fn decode_symbols(
    symbols: impl Iterator<Item = u8>,
    buffer: &mut [u8],
) -> Result<&mut [u8], Base64Error> {
    let limit = buffer.len();
    let mut len: usize = 0;
    let mut count: usize = 0;
    let mut padding: u8 = 0;
    let mut bits: u32 = 0;
    for symbol in symbols {
        if symbol == b'=' {
            padding = padding.saturating_add(1);
            bits <<= 6;
        } else {
            let value = value(symbol).ok_or(Base64Error::Symbol { at: count })?;
            if padding > 0 {
                return Err(Base64Error::Symbol { at: count });
            }
            bits = (bits << 6) | u32::from(value);
        }
        count = count.saturating_add(1);
        if count.is_multiple_of(4) {
            let bytes = bits.to_be_bytes();
            let kept = match (padding, bytes) {
                (0, _) => 3,
                (1, [_, _, _, 0]) => 2,
                (2, [_, _, 0, 0]) => 1,
                _ => return Err(Base64Error::Padding),
            };
            for byte in bytes.into_iter().skip(1).take(kept) {
                *buffer.get_mut(len).ok_or(Base64Error::TooLong { limit })? = byte;
                len = len.saturating_add(1);
            }
            bits = 0;
        }
    }
    if !count.is_multiple_of(4) {
        return Err(Base64Error::Padding);
    }
    Ok(buffer.get_mut(..len).unwrap_or_default())
}

const fn value(symbol: u8) -> Option<u8> {
    Some(match symbol {
        b'A'..=b'Z' => symbol.wrapping_sub(b'A'),
        b'a'..=b'z' => symbol.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => symbol.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Bytes, displayed in base64.
#[derive(Clone, Copy, Debug)]
pub struct Base64<'a>(pub &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SYMBOLS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for group in self.0.chunks(3) {
            let mut bytes = [0; 4];
            for (byte, from) in bytes.iter_mut().skip(1).zip(group) {
                *byte = *from;
            }
            let bits = u32::from_be_bytes(bytes);
            for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let symbol = usize::try_from((bits >> shift) & 0x3f).unwrap_or_default();
                let symbol =
                    if index > group.len() { &b'=' } else { SYMBOLS.get(symbol).unwrap_or(&b'=') };
                fmt::Write::write_char(f, char::from(*symbol))?;
            }
        }
        Ok(())
    }
}

/// Why a text is not base64 that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// A character that cannot stand here.
    #[error("symbol {at} is not base64")]
    Symbol {
        /// Which, counted from 0.
        at: usize,
    },
    /// The end is cut off, or not the canonical one.
    #[error("bad padding")]
    Padding,
    /// There is more than fits.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The room.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString as _};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, Base64Error> {
        decode(text, &mut [0; 64]).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(decoded(text).unwrap(), bytes.as_bytes());
            assert_eq!(Base64(bytes.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn only_the_canonical_encoding_is_accepted() {
        for (text, error) in [
            ("Zg", Base64Error::Padding),
            ("Zg=", Base64Error::Padding),
            ("Zh==", Base64Error::Padding),
            ("Zm9=", Base64Error::Padding),
            ("Z===", Base64Error::Padding),
            ("====", Base64Error::Padding),
            ("Zg==Zg==", Base64Error::Symbol { at: 4 }),
            ("Z=g=", Base64Error::Symbol { at: 2 }),
            ("Zm9v\n", Base64Error::Symbol { at: 4 }),
            ("Zm-_", Base64Error::Symbol { at: 2 }),
        ] {
            assert_eq!(decoded(text), Err(error), "{text}");
        }
        assert_eq!(decode("Zm9vYg==", &mut [0; 3]), Err(Base64Error::TooLong { limit: 3 }));
        assert_eq!(decode_lines("Zm9v\r\nYg=\n=\n", &mut [0; 4]).unwrap(), b"foob");
    }

    proptest! {
        #[test]
        fn what_is_accepted_encodes_to_itself(text in "[A-D+/=]{0,16}") {
            if let Ok(bytes) = decoded(&text) {
                prop_assert_eq!(Base64(&bytes).to_string(), text);
            }
        }

        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let text: String = Base64(&bytes).to_string();
            let mut buffer = std::vec![0; bytes.len()];
            prop_assert_eq!(&*decode(&text, &mut buffer).unwrap(), &*bytes);
        }
    }
}
