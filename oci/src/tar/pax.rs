//! The records of a pax extended header: `LENGTH KEYWORD=VALUE\n`, length included.

/// Reads records one after the other.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// The records in the content of an extended header.
    #[must_use]
    pub const fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    fn record(&mut self) -> Result<(&'a [u8], &'a [u8]), PaxError> {
        let mut digits = 0_usize;
        let mut len = 0_usize;
        for &byte in self.0 {
            match byte {
                b'0'..=b'9' => {
                    len = len
                        .checked_mul(10)
                        .and_then(|len| len.checked_add(usize::from(byte - b'0')))
                        .ok_or(PaxError::Length)?;
                    digits += 1;
                }
                b' ' => break,
                _ => return Err(PaxError::Length),
            }
        }
        // A length without digits, or one that ends before its own blank, splits nothing off.
        let (record, rest) = self.0.split_at_checked(len).ok_or(PaxError::Length)?;
        let record = record.get(digits..).and_then(|text| text.strip_prefix(b" "));
        let record = record.ok_or(PaxError::Length)?;
        let record = record.strip_suffix(b"\n").ok_or(PaxError::NoNewline)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or(PaxError::NoEquals)?;
        let (key, value) = record.split_at_checked(equals).ok_or(PaxError::NoEquals)?;
        self.0 = rest;
        Ok((key, value.get(1..).unwrap_or(&[])))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), PaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Some writers fill the block up with NULs inside the announced length.
        if self.0.iter().all(|&byte| byte == 0) {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaxError {
    /// The length is no number, or not that of the record.
    #[error("a record of the extended header has a wrong length")]
    Length,
    /// The record does not end in a newline.
    #[error("a record of the extended header does not end in a newline")]
    NoNewline,
    /// There is no `=`.
    #[error("a record of the extended header has no =")]
    NoEquals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_any_bytes_in_their_values() {
        let content = b"12 path=a b\n18 SCHILY.x=\0=\n\xff\n\n";
        let all: Vec<_> = Records::new(content).collect::<Result<_, _>>().unwrap();
        assert_eq!(all, [(&b"path"[..], &b"a b"[..]), (b"SCHILY.x", b"\0=\n\xff\n")]);
    }

    #[test]
    fn a_record_that_lies_about_its_length_is_refused() {
        let cases: [(&[u8], PaxError); 7] = [
            (b"13 path=a b\n", PaxError::Length),
            (b"11 path=a b\n", PaxError::NoNewline),
            (b"1 path=a b\n", PaxError::Length),
            (b" path=a b\n", PaxError::Length),
            (b"99999999999999999999 path=a\n", PaxError::Length),
            (b"x", PaxError::Length),
            (b"7 path\n", PaxError::NoEquals),
        ];
        for (content, error) in cases {
            let first = Records::new(content).next();
            assert_eq!(first, Some(Err(error)), "{}", content.escape_ascii());
        }
    }
}
