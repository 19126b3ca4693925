//! What is mounted: a slot that somebody looks into is not written.
//!
//! Source: `Documentation/filesystems/proc.rst` of Linux, section 3.5, read 2026-11. Names in both
//! files are escaped: a space is `\040`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::identity::{DeviceNumber, Identity};
use crate::root::Root;

/// The mounts of this machine, of the only name space we can see.
const HOST_FILE: &str = "/proc/self/mountinfo";
/// The mounts of a device that lies below a folder; it may be missing.
const BELOW_FILE: &str = "/proc/mounts";

/// Everything that is mounted.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    point: PathBuf,
    number: Option<DeviceNumber>,
    source: Option<Identity>,
}

impl Mounts {
    /// Reads the table of the device below `root`.
    ///
    /// # Errors
    /// What the system says; below a folder a missing table means that nothing is mounted.
    pub fn read(root: &Root) -> io::Result<Self> {
        if root.is_host() {
            return Ok(Self::parse(&fs::read(HOST_FILE)?, mountinfo_line, root));
        }
        match fs::read(root.path(BELOW_FILE)) {
            Ok(table) => Ok(Self::parse(&table, mounts_line, root)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(cause),
        }
    }

    /// Where the medium is mounted, if it is.
    #[must_use]
    pub fn point_of(&self, identity: Identity) -> Option<&Path> {
        let by_number = |mount: &&Mount| match (identity, mount.number) {
            (Identity::Device(number), Some(mounted)) => number == mounted,
            _ => false,
        };
        let same = |mount: &&Mount| by_number(mount) || mount.source == Some(identity);
        self.0.iter().find(same).map(|mount| mount.point.as_path())
    }

    fn parse(table: &[u8], line: fn(&[u8]) -> Option<Line>, root: &Root) -> Self {
        let mounts = table.split(|&byte| byte == b'\n').filter_map(|text| {
            let Line { point, number, source } = line(text)?;
            let source = source.is_absolute().then(|| root.path(source));
            Some(Mount { point, number, source: source.and_then(|path| Identity::at(&path).ok()) })
        });
        Self(mounts.collect())
    }
}

struct Line {
    point: PathBuf,
    number: Option<DeviceNumber>,
    source: PathBuf,
}

/// `36 35 98:0 /subtree /point options [tags…] - type source options`
fn mountinfo_line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = DeviceNumber::parse(std::str::from_utf8(fields.nth(2)?).ok()?)?;
    let point = unescape(fields.nth(1)?);
    let source = unescape(fields.skip_while(|field| field != b"-").nth(2)?);
    Some(Line { point, number: Some(number), source })
}

/// `source point type options 0 0`
fn mounts_line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|&byte| byte == b' ');
    let source = unescape(fields.next()?);
    Some(Line { point: unescape(fields.next()?), number: None, source })
}

/// Undoes `\ooo`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if byte == b'\\' => {
                rest = after;
                Some(((a & 3) << 6) | ((b & 7) << 3) | (c & 7))
            }
            _ => None,
        };
        plain.push(escaped.unwrap_or(byte));
    }
    OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_table(table in prop::collection::vec(any::<u8>(), 0..200)) {
            for line in [mountinfo_line, mounts_line] {
                Mounts::parse(&table, line, &Root::below("/nonexistent".into()));
            }
        }

        #[test]
        fn an_escaped_path_is_unescaped_to_itself(path in prop::collection::vec(any::<u8>(), 0..50)) {
            let escape = |&byte: &u8| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                _ => vec![byte],
            };
            let escaped: Vec<u8> = path.iter().flat_map(escape).collect();
            prop_assert_eq!(unescape(&escaped).into_os_string().into_vec(), path);
        }
    }

    const MOUNTINFO: &[u8] = b"\
22 1 254:0 / / ro,relatime shared:1 - erofs /dev/mapper/root ro\n\
24 22 0:21 / /proc rw shared:5 - proc proc rw\n\
90 22 259:3 / /media/a\\040stick rw shared:9 master:4 - vfat /dev/none rw\n\
short line\n";

    #[test]
    fn a_device_is_found_by_its_number() {
        let mounts = Mounts::parse(MOUNTINFO, mountinfo_line, &Root::host());
        let device = |major, minor| Identity::Device(DeviceNumber { major, minor });
        assert_eq!(mounts.point_of(device(259, 3)), Some(Path::new("/media/a stick")));
        assert_eq!(mounts.point_of(device(259, 4)), None);
        assert_eq!(mounts.0.len(), 3);
        assert_eq!(mounts.point_of(device(254, 0)), Some(Path::new("/")));
    }

    #[test]
    fn below_a_folder_a_file_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert!(Mounts::read(&root).unwrap().0.is_empty());
        for name in ["proc", "dev"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["dev/root_a", "dev/root_b"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(root.path(BELOW_FILE), "/dev/root_b /mnt erofs ro 0 0\nproc /proc proc rw 0 0\n")
            .unwrap();
        let mounts = Mounts::read(&root).unwrap();
        let at = |name: &str| Identity::at(&folder.path().join(name)).unwrap();
        assert_eq!(mounts.point_of(at("dev/root_b")), Some(Path::new("/mnt")));
        assert_eq!(mounts.point_of(at("dev/root_a")), None);
    }

    #[test]
    fn the_table_of_this_machine_has_its_root() {
        let mounts = Mounts::read(&Root::host()).unwrap();
        assert!(mounts.0.iter().any(|mount| mount.point == Path::new("/")));
    }

    #[test]
    fn escapes_are_undone_and_others_kept() {
        for (escaped, plain) in
            [("a\\040b", "a b"), ("a\\134", "a\\"), ("\\9", "\\9"), ("\\", "\\")]
        {
            assert_eq!(unescape(escaped.as_bytes()), Path::new(plain));
        }
    }
}
