//! Names on FAT: short ones of 8 and 3 letters, long ones beside them.
//!
//! Source: Microsoft FAT32 File System Specification 1.03, "Long Directory Entries".

/// Most UTF-16 units of a long name.
const UNITS_MAX: usize = 255;
/// UTF-16 units in one directory entry.
const UNITS_PER_ENTRY: usize = 13;

const BASE_LEN: usize = 8;
const EXTENSION_LEN: usize = 3;

/// Flags of Windows NT, which Linux, GRUB, U-Boot and EDK2 know: shown in lower case.
const BASE_LOWER: u8 = 0x08;
const EXTENSION_LOWER: u8 = 0x10;

const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const LAST_LONG_ENTRY: u8 = 0x40;

/// A short name and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short {
    /// Base and extension, upper case, filled up with spaces.
    pub(super) name: [u8; BASE_LEN + EXTENSION_LEN],
    /// Which of the two are shown in lower case.
    pub(super) case: u8,
}

/// Whether FAT can store `name`, as a long name if need be.
pub(super) fn is_storable(name: &str) -> bool {
    let forbidden = |c: char| c < ' ' || c == '\x7f' || "\"*/:<>?\\|".contains(c);
    !name.is_empty()
        && name.encode_utf16().count() <= UNITS_MAX
        && !name.chars().any(forbidden)
        && !name.ends_with(['.', ' '])
        && !name.starts_with(' ')
}

/// How many directory entries `name` takes.
pub(super) fn entries(name: &str) -> usize {
    match short(name) {
        Some(_) => 1,
        None => name.encode_utf16().count().div_ceil(UNITS_PER_ENTRY).saturating_add(1),
    }
}

/// `name` as a short name, when nothing is lost by it.
pub(super) fn short(name: &str) -> Option<Short> {
    let (base, extension) = match name.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (name, ""),
    };
    // A tilde marks the aliases of long names: no name of an image may look like one.
    let fits = |part: &str, len: usize| {
        part.len() <= len && part.bytes().all(|byte| is_short(byte) && byte != b'~')
    };
    if base.is_empty() || !fits(base, BASE_LEN) || !fits(extension, EXTENSION_LEN) {
        return None;
    }
    let base_case = case(base, BASE_LOWER)?;
    let extension_case = case(extension, EXTENSION_LOWER)?;
    Some(Short { name: joined(base, extension), case: base_case | extension_case })
}

/// The short name that stands beside the long `name`, the `number`th of its directory from 1.
pub(super) fn alias(name: &str, number: usize) -> Short {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let letters = |part: &str, len: usize| -> String {
        part.chars()
            .filter(|c| !matches!(c, '.' | ' '))
            .map(|c| u8::try_from(c).ok().filter(|byte| is_short(*byte)).map_or('_', char::from))
            .take(len)
            .collect()
    };
    let number = format!("~{number}");
    let base = letters(stem, BASE_LEN.saturating_sub(number.len())) + &number;
    Short { name: joined(&base, &letters(extension, EXTENSION_LEN)), case: 0 }
}

/// The entries that hold the long `name`, in front of its alias.
pub(super) fn long_entries(name: &str, alias: Short) -> Vec<[u8; 32]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(UNITS_PER_ENTRY) {
        units.push(0);
        units.resize(units.len().next_multiple_of(UNITS_PER_ENTRY), 0xffff);
    }
    let checksum =
        alias.name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let count = units.len() / UNITS_PER_ENTRY;
    let mut entries: Vec<_> = (1_u8..)
        .zip(units.chunks(UNITS_PER_ENTRY))
        .map(|(number, units)| {
            let last = if usize::from(number) == count { LAST_LONG_ENTRY } else { 0 };
            let mut units = units.iter().flat_map(|unit| unit.to_le_bytes());
            let mut bytes = vec![number | last];
            bytes.extend(units.by_ref().take(10));
            bytes.extend([ATTRIBUTE_LONG_NAME, 0, checksum]);
            bytes.extend(units.by_ref().take(12));
            bytes.extend([0; 2]);
            bytes.extend(units);
            bytes.try_into().unwrap_or([0; 32])
        })
        .collect();
    entries.reverse();
    entries
}

const fn is_short(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'&' | b'\'' | b'(' | b')' | b'-')
        || matches!(byte, b'@' | b'^' | b'_' | b'`' | b'{' | b'}' | b'~')
}

/// The flag for a part in lower case; nothing when its letters are of both cases.
fn case(part: &str, lower: u8) -> Option<u8> {
    let has_lower = part.bytes().any(|byte| byte.is_ascii_lowercase());
    let has_upper = part.bytes().any(|byte| byte.is_ascii_uppercase());
    match (has_lower, has_upper) {
        (true, true) => None,
        (true, false) => Some(lower),
        (false, _) => Some(0),
    }
}

fn joined(base: &str, extension: &str) -> [u8; BASE_LEN + EXTENSION_LEN] {
    let mut name = [b' '; BASE_LEN + EXTENSION_LEN];
    let (to_base, to_extension) = name.split_at_mut(BASE_LEN);
    for (to, from) in [(to_base, base), (to_extension, extension)] {
        to.iter_mut().zip(from.bytes()).for_each(|(to, from)| *to = from.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_case_are_short() {
        for (name, expected) in [
            ("vmlinuz", Some((b"VMLINUZ    ", 0x08))),
            ("initrd.img", Some((b"INITRD  IMG", 0x18))),
            ("sha256.sum", Some((b"SHA256  SUM", 0x18))),
            ("README.txt", Some((b"README  TXT", 0x10))),
            ("A", Some((b"A          ", 0))),
            ("Vmlinuz", None),
            ("a.b.c", None),
            ("a.", None),
            (".a", None),
            ("a~1", None),
            ("a b", None),
            ("ninechars", None),
            ("a.dtbo", None),
            ("\u{e4}", None),
        ] {
            let expected = expected.map(|(name, case)| Short { name: *name, case });
            assert_eq!(short(name), expected, "{name}");
        }
    }

    #[test]
    fn aliases_keep_what_fits() {
        for (name, number, expected) in [
            ("bcm2711-rpi-4-b.dtb", 1, b"BCM271~1DTB"),
            ("bcm2711-rpi-4-b.dtb", 12, b"BCM27~12DTB"),
            (".hidden", 1, b"~1      HID"),
            ("a.b c.d", 3, b"ABC~3   D  "),
            ("\u{e4}+.dtbo", 4000, b"__~4000 DTB"),
        ] {
            let Short { name, case } = alias(name, number);
            assert_eq!(
                (name.escape_ascii().to_string(), case),
                (expected.escape_ascii().to_string(), 0)
            );
        }
    }

    #[test]
    fn a_long_name_fills_entries_from_its_end() {
        let alias = alias("bcm2711-rpi-4-b.dtb", 1);
        let [second, first] = long_entries("bcm2711-rpi-4-b.dtb", alias).try_into().unwrap();
        assert_eq!(first[..11], *b"\x01b\0c\0m\x002\x007\0");
        assert_eq!(second[..13], *b"\x42-\0b\0.\0d\0t\0\x0f\0");
        assert_eq!(second[14..], *b"b\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\xff\xff\xff\xff");
        assert_eq!(first[13], second[13]);
        assert_eq!(long_entries(&"x".repeat(26), alias).len(), 2);
        assert_eq!(entries(&"x".repeat(26)), 3);
    }
}
