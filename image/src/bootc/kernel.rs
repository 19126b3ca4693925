//! What a kernel image holds: how it is compressed, and what it and its name say about the length
//! of its pages.
//!
//! Source: Linux, `Documentation/arch/arm64/booting.rst` and
//! `drivers/firmware/efi/libstub/zboot-header.S` (6.18).

use std::io::{self, Read as _};

use crate::compressed::{Format, Input, MAGIC_LEN, UnpackError, decoder};
use crate::content::{Content, ReadContent};
use crate::spooled::{SpoolWriter, Spooled};
use gybe_core::digest::Digest;

/// The first release whose EROFS reads blocks that are smaller than a page.
pub(super) const SMALL_BLOCKS_SINCE: (u32, u32) = (6, 4);

/// Most bytes that a kernel may unpack to.
pub(crate) const KERNEL_LEN_MAX: u64 = 256 << 20;

const ARM64_HEADER_LEN: usize = 64;
const ARM64_MAGIC: [u8; 4] = *b"ARM\x64";
const ARM64_MAGIC_AT: usize = 56;
const ARM64_FLAGS_AT: usize = 24;

/// An EFI program that holds a compressed kernel.
const ZBOOT_MAGICS: [(usize, &[u8]); 2] = [(0, b"MZ"), (4, b"zimg")];
const ZBOOT_PAYLOAD_AT: usize = 8;
const ZBOOT_PAYLOAD_LEN: usize = 12;

/// What became of a kernel.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was unpacked.
    Unpacked {
        /// Its bytes.
        spooled: Spooled,
        /// Their digest.
        digest: Digest,
        /// How it was compressed.
        format: Format,
    },
    /// It is what the boot loader takes, as far as we know.
    Left,
}

/// Unpacks the kernel of an image for `architecture`, as OCI spells it, into a temporary file of at
/// most `limit` bytes. Only arm64 has loaders that take a kernel without compression; what is not
/// one of its kernels then stays as it is.
///
/// # Errors
/// When it is damaged, too long, or cannot be read or kept; [`UnpackError`] says which.
pub(crate) fn unpack(
    contents: &dyn ReadContent,
    kernel: &Content,
    architecture: &str,
    limit: u64,
) -> Result<Outcome, UnpackError> {
    if architecture != "arm64" {
        return Ok(Outcome::Left);
    }
    let Some(payload) = Payload::of(contents, kernel).map_err(UnpackError::Read)? else {
        return Ok(Outcome::Left);
    };
    let Payload { format, at } = payload;
    let mut input = Input::new(contents, kernel, at);
    let mut out = SpoolWriter::new(limit)?;
    let result = copy(format, &mut input, &mut out);
    match result {
        // What stands behind a kernel without a wrapper is unknown, and would be lost.
        Ok(Copied::Kernel) if at == 0 && input.left() > 0 => Ok(Outcome::Left),
        Ok(Copied::Kernel) => {
            let (spooled, digest) = out.finish()?;
            Ok(Outcome::Unpacked { spooled, digest, format })
        }
        Ok(Copied::SomethingElse) => Ok(Outcome::Left),
        Err(Stop::Write(cause)) => Err(cause),
        Err(Stop::Read(cause)) if input.has_failed() => Err(UnpackError::Read(cause)),
        Err(Stop::Read(cause)) => Err(UnpackError::Damaged { format, at, cause }),
    }
}

enum Copied {
    Kernel,
    SomethingElse,
}

enum Stop {
    Read(io::Error),
    Write(UnpackError),
}

/// Decodes the stream that begins where `input` is, if it holds an arm64 kernel.
fn copy(format: Format, input: &mut Input<'_>, out: &mut SpoolWriter) -> Result<Copied, Stop> {
    let mut from = decoder(format, input).map_err(Stop::Read)?;
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut is_first = true;
    loop {
        buffer.clear();
        let read = from.by_ref().take(1 << 20).read_to_end(&mut buffer);
        read.map_err(Stop::Read)?;
        if is_first && !is_arm64(&buffer) {
            return Ok(Copied::SomethingElse);
        }
        if buffer.is_empty() {
            return Ok(Copied::Kernel);
        }
        is_first = false;
        out.write(&buffer).map_err(Stop::Write)?;
    }
}

/// The compressed kernel inside a kernel image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    format: Format,
    at: u64,
}

impl Payload {
    /// Finds it in what `Image.gz` is, and in an EFI program of the kind "zboot".
    fn of(contents: &dyn ReadContent, kernel: &Content) -> io::Result<Option<Self>> {
        let head: [u8; ARM64_HEADER_LEN] = Input::new(contents, kernel, 0).peek()?;
        let is_zboot = ZBOOT_MAGICS
            .iter()
            .all(|(at, magic)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        let word = |at: usize| {
            let bytes = head.get(at..).and_then(|rest| rest.first_chunk());
            u64::from(bytes.copied().map_or(0, u32::from_le_bytes))
        };
        let at = if is_zboot { word(ZBOOT_PAYLOAD_AT) } else { 0 };
        if is_zboot && at.saturating_add(word(ZBOOT_PAYLOAD_LEN)) > kernel.len {
            return Ok(None);
        }
        let magic: [u8; MAGIC_LEN] = Input::new(contents, kernel, at).peek()?;
        Ok(Format::of(magic).map(|format| Self { format, at }))
    }
}

/// Length of the pages by the header of an arm64 kernel, also of a compressed one.
pub(super) fn page_len(contents: &dyn ReadContent, kernel: &Content) -> io::Result<Option<u64>> {
    let mut header = [0; ARM64_HEADER_LEN];
    match Payload::of(contents, kernel)? {
        Some(Payload { format, at }) => {
            let mut input = Input::new(contents, kernel, at);
            // What cannot be decoded says nothing; whoever unpacks it will complain.
            if decoder(format, &mut input)?.read_exact(&mut header).is_err() {
                return Ok(None);
            }
        }
        None => header = Input::new(contents, kernel, 0).peek()?,
    }
    let flags = header.get(ARM64_FLAGS_AT).copied().unwrap_or(0);
    Ok(match (flags >> 1) & 3 {
        _ if !is_arm64(&header) => None,
        1 => Some(4 << 10),
        2 => Some(16 << 10),
        3 => Some(64 << 10),
        _ => None,
    })
}

fn is_arm64(head: &[u8]) -> bool {
    head.get(ARM64_MAGIC_AT..).is_some_and(|rest| rest.starts_with(&ARM64_MAGIC))
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
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    struct One(Vec<u8>);

    impl ReadContent for One {
        fn read_at(&self, _: &Content, at: u64, buffer: &mut [u8]) -> io::Result<()> {
            let mut rest = self.0.get(usize::try_from(at).unwrap()..).unwrap();
            rest.read_exact(buffer)
        }
    }

    fn content(bytes: &[u8]) -> (One, Content) {
        let len = bytes.len() as u64;
        let content = Content { layer: 0, len, digest: Digest::of(bytes), pieces: Vec::new() };
        (One(bytes.to_vec()), content)
    }

    /// An arm64 kernel with pages of 64 KiB.
    fn arm64() -> Vec<u8> {
        let mut image: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7).to_le_bytes()[0]).collect();
        image[ARM64_MAGIC_AT..][..4].copy_from_slice(&ARM64_MAGIC);
        image[ARM64_FLAGS_AT] = 3 << 1;
        image
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// An EFI program around a compressed kernel, as `zboot-header.S` lays it out.
    fn zboot(kind: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 700];
        image[..2].copy_from_slice(b"MZ");
        image[4..8].copy_from_slice(b"zimg");
        image[8..12].copy_from_slice(&700_u32.to_le_bytes());
        image[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image[24..][..kind.len()].copy_from_slice(kind);
        image.extend(payload);
        image.extend(b"\0\0\0\0 more of the program");
        image
    }

    fn unpacked(bytes: &[u8], architecture: &str) -> Option<Vec<u8>> {
        let (contents, kernel) = content(bytes);
        match unpack(&contents, &kernel, architecture, KERNEL_LEN_MAX).unwrap() {
            Outcome::Unpacked { spooled, .. } => {
                let mut found = vec![0; usize::try_from(spooled.len()).unwrap()];
                spooled.read_at(0, &mut found).unwrap();
                Some(found)
            }
            Outcome::Left => None,
        }
    }

    #[test]
    fn only_a_compressed_arm64_kernel_is_unpacked() {
        let kernel = arm64();
        let zstd = zstd::encode_all(kernel.as_slice(), 1).unwrap();
        let packed = [gzip(&kernel), zboot(b"gzip", &gzip(&kernel)), zboot(b"zstd22", &zstd)];
        for bytes in &packed {
            assert_eq!(unpacked(bytes, "arm64").as_ref(), Some(&kernel));
            assert_eq!(unpacked(bytes, "amd64"), None);
            let (contents, content) = content(bytes);
            assert_eq!(page_len(&contents, &content).unwrap(), Some(65_536));
        }
        let other = [b'x'; 5000];
        let behind = [gzip(&kernel), b"signature".to_vec()].concat();
        let mut beyond = zboot(b"gzip", &gzip(&kernel));
        beyond[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        for bytes in [kernel.clone(), gzip(&other), zboot(b"gzip", &gzip(&other)), behind, beyond] {
            assert_eq!(unpacked(&bytes, "arm64"), None);
        }
    }

    #[test]
    fn a_damaged_or_endless_kernel_is_refused() {
        let mut bytes = zboot(b"gzip", &gzip(&arm64()));
        let (contents, kernel) = content(&bytes);
        let refused = unpack(&contents, &kernel, "arm64", 2_999_999).unwrap_err().to_string();
        assert_eq!(refused, "unpacks to 3000000 bytes or more, limit 2999999");
        bytes.truncate(3000);
        bytes[12..16].copy_from_slice(&2300_u32.to_le_bytes());
        let (contents, kernel) = content(&bytes);
        let refused = unpack(&contents, &kernel, "arm64", KERNEL_LEN_MAX).unwrap_err().to_string();
        assert!(refused.starts_with("gzip stream at byte 700 is damaged: "), "{refused}");
    }

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
