//! What extended headers say about the member that follows them.

use std::collections::BTreeMap;

use gybe_oci::tar::Records;

use super::{CHUNKING_HINTS, TarError, XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX};

/// The prefix of extended attributes that everyone reads. `LIBARCHIVE.xattr.` says the same
/// again, in another encoding.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Values that replace those of the header.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: Sparse,
    /// Length of all that was taken up.
    pub(super) len: usize,
}

/// What pax says about a sparse file, in one of three versions.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// The length of the file with its holes.
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths, alternating (0.0 and 0.1).
    pub(super) map: Vec<u64>,
}

impl Extended {
    /// GNU's long name: it counts only where pax gives none.
    pub(super) fn long_path(&mut self, content: &[u8]) {
        self.path.get_or_insert_with(|| until_nul(content));
    }

    /// GNU's long link, in the same way.
    pub(super) fn long_link(&mut self, content: &[u8]) {
        self.link.get_or_insert_with(|| until_nul(content));
    }

    /// The records of a pax header.
    pub(super) fn pax(&mut self, content: &[u8]) -> Result<(), TarError> {
        for record in Records::new(content) {
            let (key, value) = record?;
            self.record(key, value)?;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let invalid = || TarError::Value {
            key: key.escape_ascii().to_string(),
            value: value.iter().copied().take(80).collect::<Vec<_>>().escape_ascii().to_string(),
        };
        let number = || decimal(value).ok_or_else(invalid);
        let id = || number().and_then(|id| i64::try_from(id).map_err(|_| invalid()));
        // POSIX: an empty value is as if the keyword were not there. Every runtime that is
        // written in Go therefore drops empty attributes, and images are what those make of them.
        if value.is_empty() {
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(XATTR) {
            return self.xattr(name, value);
        }
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(invalid)?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Offset and length must take turns.
                if (key == b"GNU.sparse.offset") != self.sparse.map.len().is_multiple_of(2) {
                    return Err(invalid());
                }
                self.sparse.map.push(number()?);
            }
            b"GNU.sparse.map" => {
                self.sparse.map = value
                    .split(|&byte| byte == b',')
                    .map(|number| decimal(number).ok_or_else(invalid))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), TarError> {
        if name.is_empty() || name.len() > XATTR_NAME_LEN_MAX || name.contains(&0) {
            return Err(TarError::XattrName { len: name.len() });
        }
        if value.len() > XATTR_VALUE_LEN_MAX {
            let name = name.escape_ascii().to_string();
            return Err(TarError::XattrValue { name, len: value.len() });
        }
        if !CHUNKING_HINTS.contains(&name) {
            self.xattrs.insert(name.to_vec(), value.to_vec());
        }
        Ok(())
    }
}

fn until_nul(content: &[u8]) -> Vec<u8> {
    content.split(|&byte| byte == 0).next().unwrap_or(content).to_vec()
}

/// A number in decimal digits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds and nanoseconds of a decimal fraction; digits beyond nanoseconds are cut off.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(text) => (-1_i64, text),
        None => (1, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?.checked_mul(sign)?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds =
        digits.fold(0_i64, |value, digit| value * 10 + i64::from(*digit) - i64::from(b'0'));
    // Nanoseconds always count forward: -1.5 is half a second after -2.
    let nanoseconds = nanoseconds * sign;
    let seconds = seconds.checked_add(nanoseconds.div_euclid(1_000_000_000))?;
    Some((seconds, u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond_and_count_forward() {
        let cases: [(&str, Option<(i64, u32)>); 12] = [
            ("1700000000", Some((1_700_000_000, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.123456789987", Some((1, 123_456_789))),
            ("0.000000001", Some((0, 1))),
            ("-1", Some((-1, 0))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("5.", Some((5, 0))),
            (".5", None),
            ("1e3", None),
            ("99999999999999999999", None),
            ("1.-5", None),
        ];
        for (text, value) in cases {
            assert_eq!(time(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn chunking_hints_are_dropped_and_other_attributes_kept() {
        let mut extended = Extended::default();
        extended.record(b"SCHILY.xattr.user.component", b"x").unwrap();
        extended.record(b"SCHILY.xattr.user.a", b"\0=\n").unwrap();
        extended.record(b"SCHILY.xattr.user.empty", b"").unwrap();
        extended.record(b"SCHILY.xattr.trusted.overlay.opaque", b"y").unwrap();
        let kept: Vec<_> = extended.xattrs.into_iter().collect();
        let expected: [(&[u8], &[u8]); 2] =
            [(b"trusted.overlay.opaque", b"y"), (b"user.a", b"\0=\n")];
        assert_eq!(kept, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
    }
}
