//! What a kernel image and its name say about the length of its pages.
//!
//! Source: Linux, `Documentation/arch/arm64/booting.rst` (6.18).

use std::io;

use crate::content::{Content, ReadContent};

/// The first release whose EROFS reads blocks that are smaller than a page.
pub(super) const SMALL_BLOCKS_SINCE: (u32, u32) = (6, 4);

const ARM64_HEADER_LEN: usize = 64;
const ARM64_MAGIC: [u8; 4] = *b"ARM\x64";
const ARM64_MAGIC_AT: usize = 56;
const ARM64_FLAGS_AT: usize = 24;

/// Length of the pages by the header of an uncompressed arm64 kernel.
pub(super) fn page_len(contents: &dyn ReadContent, kernel: &Content) -> io::Result<Option<u64>> {
    if kernel.len < ARM64_HEADER_LEN as u64 {
        return Ok(None);
    }
    let mut header = [0; ARM64_HEADER_LEN];
    contents.read_at(kernel, 0, &mut header)?;
    let is_arm64 = header.iter().skip(ARM64_MAGIC_AT).take(4).eq(&ARM64_MAGIC);
    let flags = header.get(ARM64_FLAGS_AT).copied().unwrap_or(0);
    Ok(match (flags >> 1) & 3 {
        _ if !is_arm64 => None,
        1 => Some(4 << 10),
        2 => Some(16 << 10),
        3 => Some(64 << 10),
        _ => None,
    })
}

/// Length of the pages by what distributions put into the name of a kernel.
pub(super) fn page_len_by_name(kernel_version: &str) -> Option<u64> {
    kernel_version.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|part| match part {
        "16k" | "16kb" | "16kpages" => Some(16 << 10),
        // The Raspberry Pi 5's own kernel.
        "2712" => Some(16 << 10),
        "64k" | "64kb" | "64kpages" => Some(64 << 10),
        _ => None,
    })
}

/// The first two numbers of a kernel's name.
pub(super) fn release(kernel_version: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel_version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_release_and_page_length() {
        for (name, page_len, since) in [
            ("6.1.0-50-amd64", None, (6, 1)),
            ("5.14.0-503.el9.aarch64+64k", Some(65_536), (5, 14)),
            ("6.12.25+rpt-rpi-2712", Some(16_384), (6, 12)),
            ("6.12.0-arm64-16k", Some(16_384), (6, 12)),
        ] {
            assert_eq!(page_len_by_name(name), page_len, "{name}");
            assert_eq!(release(name), Some(since), "{name}");
        }
        assert_eq!(release("next"), None);
    }
}
