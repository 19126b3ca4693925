//! Paths as layers spell them, and the one spelling that is used here.

use super::PathError;

/// Longest name of a file, in bytes, as Linux has it.
pub(crate) const NAME_LEN_MAX: usize = 255;
/// Longest path, in bytes: longer ones cannot be unpacked by anyone.
pub(crate) const PATH_LEN_MAX: usize = 4095;

/// Names separated by single slashes, without `.`, and without one before or after; empty is the
/// root. A path that begins with `/` begins at the same root.
pub(crate) fn normal(path: &[u8]) -> Result<Vec<u8>, PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > PATH_LEN_MAX {
        return Err(PathError::PathLen { len: path.len() });
    }
    if path.contains(&0) {
        return Err(PathError::Nul);
    }
    let mut normal = Vec::with_capacity(path.len());
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(PathError::DotDot),
            _ if name.len() > NAME_LEN_MAX => return Err(PathError::NameLen { len: name.len() }),
            _ => {}
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(name);
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for path in ["a/b", "/a/b", "./a/b", "a/b/", "//a//./b/./", "a/b/."] {
            assert_eq!(normal(path.as_bytes()), Ok(b"a/b".to_vec()), "{path}");
        }
        for path in ["/", ".", "./", "//./"] {
            assert_eq!(normal(path.as_bytes()), Ok(Vec::new()), "{path}");
        }
        assert_eq!(normal(b"a\xff/..b/..."), Ok(b"a\xff/..b/...".to_vec()));
    }

    #[test]
    fn what_leads_out_or_is_too_long_is_refused() {
        let long = [b'a'; 256];
        assert_eq!(normal(&long[1..]).map(|path| path.len()), Ok(255));
        let deep = b"a/".repeat(2048);
        let cases: [(&[u8], PathError); 6] = [
            (b"", PathError::Empty),
            (b"..", PathError::DotDot),
            (b"a/../b", PathError::DotDot),
            (b"a\0b", PathError::Nul),
            (&long, PathError::NameLen { len: 256 }),
            (&deep, PathError::PathLen { len: 4096 }),
        ];
        for (path, error) in cases {
            assert_eq!(normal(path), Err(error));
        }
    }
}
