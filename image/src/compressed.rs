//! Compressed streams inside kernels and initramfs, each decoded alone and in bounded memory.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use crate::content::{Content, ContentReader, ReadContent};

mod lz4;

/// How many bytes are read from the image in one go.
const BUFFER_LEN: usize = 128 << 10;
/// Largest window of a zstd frame, as a power of two: Linux allocates no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Most memory for the dictionary of an xz stream, in KiB. `xz -9` asks for 64 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 160 << 10;

/// How many bytes tell the formats apart.
pub(crate) const MAGIC_LEN: usize = 6;

/// A format that is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 1952.
    Gzip,
    /// The .xz file format.
    Xz,
    /// What `lz4 -l` writes, the only lz4 that Linux reads.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Format {
    /// The format of a stream that begins with `magic`.
    pub(crate) const fn of(magic: [u8; MAGIC_LEN]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Self::Xz),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The bytes of a content, counted.
pub(crate) type Input<'a> = Counted<BufReader<ContentReader<'a>>>;

impl<'a> Input<'a> {
    /// Begins at byte `at` of `content` and ends where that ends.
    pub(crate) fn new(contents: &'a dyn ReadContent, content: &'a Content, at: u64) -> Self {
        let from = ContentReader::new(contents, content, at);
        Self { from: BufReader::with_capacity(BUFFER_LEN, from), at }
    }

    /// Whether the medium failed, and not what lies on it.
    pub(crate) fn has_failed(&self) -> bool {
        self.from.get_ref().has_failed()
    }

    /// The next bytes, which stay unread; zeros where there are no more.
    pub(crate) fn peek<const LEN: usize>(&self) -> io::Result<[u8; LEN]> {
        self.from.get_ref().peek(self.at)
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.from.get_ref().len().saturating_sub(self.at)
    }
}

/// Decodes the stream that begins where `input` is. When it has given its last byte, `input` is
/// behind the stream.
pub(crate) fn decoder<'a>(
    format: Format,
    input: &'a mut Input<'_>,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Gzip => Box::new(GzDecoder::new(input)),
        Format::Xz => Box::new(XzReader::new_mem_limit(input, false, XZ_MEMORY_KIB_MAX)),
        Format::Lz4 => Box::new(lz4::Decoder::new(input)),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?.single_frame();
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// A reader that knows how far it is.
#[derive(Debug)]
pub(crate) struct Counted<R> {
    from: R,
    at: u64,
}

impl<R: Read> Counted<BufReader<R>> {
    /// Counts what is read of `from`, from 0 on.
    pub(crate) fn of(from: R) -> Self {
        Self { from: BufReader::with_capacity(BUFFER_LEN, from), at: 0 }
    }
}

impl<R> Counted<R> {
    /// How many bytes were read, or stand in front of the first.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.at = self.at.saturating_add(count as u64);
        self.from.consume(count);
    }
}

/// Why a kernel or an initramfs cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// What it unpacks to could not be kept.
    #[error("cannot be unpacked to a temporary file: {0}")]
    Spool(#[source] io::Error),
    /// A stream that nobody can decode.
    #[error("{format} stream at byte {at} is damaged: {cause}")]
    Damaged {
        /// Its format.
        format: Format,
        /// Where it begins.
        at: u64,
        /// What the decoder says.
        cause: io::Error,
    },
    /// It unpacks to too much.
    #[error("unpacks to {found} bytes or more, limit {limit}")]
    TooLong {
        /// How much was unpacked when the limit was crossed.
        found: u64,
        /// The limit.
        limit: u64,
    },
}
