//! Unpacks an initramfs: the same archives in the same order, none of them compressed.
//!
//! An initramfs is what `init/initramfs.c` of Linux reads:
//!
//! ```text
//! initramfs   ( zero byte │ entry, at a multiple of 4 │ compressed stream )*
//! stream      ( zero byte │ entry, at a multiple of 4 of the stream )*
//! entry       header of 110 bytes, name, filled up to 4, body, filled up to 4
//! ```
//!
//! The bodies of files are moved to block boundaries: names get more of the NULs that end them, as
//! `gen_init_cpio -a` and `iucode_tool` do it. So a file is the same blocks here and in the root
//! target, and in the next release's initramfs wherever that has it.
//! `docs/formats/boot-target.md` specifies the result.

use std::collections::HashSet;
use std::io::{self, BufRead};

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::{Digest, Hasher};

use crate::compressed::{Counted, Format, Input, MAGIC_LEN, UnpackError, decoder};
use crate::content::{Content, ReadContent};
use crate::spooled::{SpoolWriter, Spooled};
use cpio::{ALIGNMENT, HEADER_LEN, Header, NAME_LEN_MAX, padding};

mod cpio;
#[cfg(test)]
mod tests;

/// Most bytes that an initramfs may unpack to. Devices hold it in memory, twice for a moment.
pub const INITRAMFS_LEN_MAX: u64 = 1 << 30;

/// Directory of the archive that Linux reads before it unpacks anything: microcode, ACPI tables.
const EARLY: &[u8] = b"kernel/";
/// What an initramfs ends with that has a boot configuration behind it
/// (Linux, `Documentation/admin-guide/bootconfig.rst`).
const BOOT_CONFIGURATION: &[u8; 12] = b"#BOOTCONFIG\n";

/// The program in an initramfs that opens the root, wherever it lies.
const AGENT: &[u8] = b"gybe";

/// What became of an initramfs.
#[derive(Debug)]
pub enum Outcome {
    /// It was unpacked.
    Unpacked(Unpacked),
    /// It is best left as it is.
    Left(Reason),
}

/// An initramfs without compression.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// Its bytes, split where files begin and end.
    pub spooled: Spooled,
    /// Their digest.
    pub digest: Digest,
    /// How its streams were compressed, in order.
    pub formats: Vec<Format>,
    /// Digests of the files whose bodies begin at a block.
    pub files: HashSet<Digest>,
    /// Whether a file in it is called `gybe`.
    pub has_agent: bool,
}

/// Unpacks the initramfs `content` into a temporary file of at most `limit` bytes.
///
/// # Errors
/// When Linux could not read it either, when it becomes too long, or when it cannot be read or
/// kept; [`UnpackError`] says which.
pub fn unpack(
    contents: &dyn ReadContent,
    content: &Content,
    limit: u64,
) -> Result<Outcome, UnpackError> {
    let out = SpoolWriter::new(limit)?;
    let unpacking = Unpacking { out, formats: Vec::new(), files: HashSet::new(), has_agent: false };
    match unpacking.run(contents, content) {
        Ok(unpacked) => Ok(Outcome::Unpacked(unpacked)),
        Err(Stop::Leave(reason)) => Ok(Outcome::Left(reason)),
        Err(Stop::Read(cause)) => Err(UnpackError::Read(cause)),
        Err(Stop::Refuse(cause)) => Err(cause),
    }
}

/// Why unpacking ends early.
enum Stop {
    Leave(Reason),
    /// A read failed: of the medium, or of what a decoder gives.
    Read(io::Error),
    Refuse(UnpackError),
}

impl From<UnpackError> for Stop {
    fn from(cause: UnpackError) -> Self {
        Self::Refuse(cause)
    }
}

/// What comes behind entries and zeros.
#[derive(PartialEq, Eq)]
enum Behind {
    Nothing,
    SomethingElse,
}

/// An initramfs that is being unpacked.
struct Unpacking {
    out: SpoolWriter,
    formats: Vec<Format>,
    files: HashSet<Digest>,
    has_agent: bool,
}

impl Unpacking {
    fn run(mut self, contents: &dyn ReadContent, content: &Content) -> Result<Unpacked, Stop> {
        let tail_at = content.len.saturating_sub(BOOT_CONFIGURATION.len() as u64);
        let tail = Input::new(contents, content, tail_at).peek().map_err(Stop::Read)?;
        if tail == *BOOT_CONFIGURATION {
            return Err(Stop::Leave(Reason::BootConfiguration));
        }
        let mut input = Input::new(contents, content, 0);
        while self.entries(&mut input)? == Behind::SomethingElse {
            let at = input.at();
            let magic: [u8; MAGIC_LEN] = input.peek().map_err(Stop::Read)?;
            match Format::of(magic) {
                Some(format) => self.stream(&mut input, format)?,
                None => return Err(Stop::Leave(Reason::unknown(magic, at))),
            }
        }
        let Self { out, formats, files, has_agent } = self;
        let (spooled, digest) = out.finish()?;
        Ok(Unpacked { spooled, digest, formats, files, has_agent })
    }

    /// Unpacks the stream that begins here.
    fn stream(&mut self, input: &mut Input<'_>, format: Format) -> Result<(), Stop> {
        let at = input.at();
        self.formats.push(format);
        let decoded = decoder(format, input).map_err(Stop::Read);
        let ended = decoded.and_then(|decoder| self.entries(&mut Counted::of(decoder)));
        match ended {
            Ok(Behind::Nothing) => Ok(()),
            Ok(Behind::SomethingElse) => Err(Stop::Leave(Reason::NoArchive { format, at })),
            Err(Stop::Read(cause)) if input.has_failed() => Err(Stop::Read(cause)),
            Err(Stop::Read(cause)) => Err(match cause.kind() {
                io::ErrorKind::Unsupported | io::ErrorKind::OutOfMemory => {
                    Stop::Leave(Reason::Unsupported { format, at, cause })
                }
                _ => Stop::Refuse(UnpackError::Damaged { format, at, cause }),
            }),
            Err(stop) => Err(stop),
        }
    }

    /// Copies entries and zeros until there are no more.
    fn entries(&mut self, input: &mut Counted<impl BufRead>) -> Result<Behind, Stop> {
        loop {
            let is_aligned = input.at().is_multiple_of(ALIGNMENT);
            let bytes = input.fill_buf().map_err(Stop::Read)?;
            match bytes.first() {
                None => return Ok(Behind::Nothing),
                Some(0) => {
                    let count = bytes.iter().take_while(|byte| **byte == 0).count();
                    input.consume(count);
                    self.out.zeros(count as u64)?;
                }
                Some(b'0') if is_aligned => self.entry(input)?,
                Some(_) => return Ok(Behind::SomethingElse),
            }
        }
    }

    /// Copies one entry.
    fn entry(&mut self, input: &mut Counted<impl BufRead>) -> Result<(), Stop> {
        let at = input.at();
        let mut header = [0; HEADER_LEN];
        fill(input, &mut header, at)?;
        let header = Header::parse(header).ok_or(Stop::Leave(Reason::NoHeader { at }))?;
        if !(1..=NAME_LEN_MAX).contains(&header.name_len) {
            return Err(Stop::Leave(Reason::Name { at }));
        }
        // It is at most 4096.
        let mut name = vec![0; usize::try_from(header.name_len).unwrap_or(0)];
        fill(input, &mut name, at)?;
        if name.last() != Some(&0) {
            return Err(Stop::Leave(Reason::Name { at }));
        }
        self.has_agent |= header.is_file && last_component(&name) == AGENT;
        let name_padding = padding(input.at(), ALIGNMENT);
        skip(input, name_padding, at)?;
        self.out.zeros(padding(self.out.len(), ALIGNMENT))?;
        match self.moved(&header, &name) {
            Some(name_len) => self.moved_entry(input, &header, &name, name_len, at),
            None => {
                self.out.write(header.bytes())?;
                self.out.write(&name)?;
                self.out.zeros(name_padding)?;
                self.body(input, header.body_len, at, None)
            }
        }?;
        let body_padding = padding(input.at(), ALIGNMENT);
        skip(input, body_padding, at)?;
        Ok(self.out.zeros(body_padding)?)
    }

    /// Copies an entry whose name has `name_len` bytes, so that its body begins at a block.
    fn moved_entry(
        &mut self,
        input: &mut Counted<impl BufRead>,
        header: &Header,
        name: &[u8],
        name_len: u64,
        at: u64,
    ) -> Result<(), Stop> {
        self.out.write(&header.with_name_len(name_len))?;
        self.out.write(name)?;
        self.out.zeros(name_len.saturating_sub(name.len() as u64))?;
        self.out.split();
        let mut hasher = Hasher::new();
        let tail_len = header.body_len % BLOCK_LEN_U64;
        self.body(input, header.body_len.saturating_sub(tail_len), at, Some(&mut hasher))?;
        self.out.split();
        self.body(input, tail_len, at, Some(&mut hasher))?;
        self.files.insert(hasher.finish());
        Ok(())
    }

    /// The length of the name that moves the body to a block boundary, if the body is worth it and
    /// the name may be that long. What is read early keeps its place: Linux and Xen look at it in
    /// their own ways.
    fn moved(&self, header: &Header, name: &[u8]) -> Option<u64> {
        if !header.is_file || header.body_len < BLOCK_LEN_U64 || name.starts_with(EARLY) {
            return None;
        }
        let name_end =
            self.out.len().checked_add(HEADER_LEN as u64)?.checked_add(header.name_len)?;
        let name_len = header.name_len.checked_add(padding(name_end, BLOCK_LEN_U64))?;
        (name_len <= NAME_LEN_MAX).then_some(name_len)
    }

    /// Copies `len` bytes of a body.
    fn body(
        &mut self,
        input: &mut Counted<impl BufRead>,
        len: u64,
        at: u64,
        mut hasher: Option<&mut Hasher>,
    ) -> Result<(), Stop> {
        let mut left = len;
        while left > 0 {
            let bytes = input.fill_buf().map_err(Stop::Read)?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let part = bytes.get(..count).unwrap_or(bytes);
            if part.is_empty() {
                return Err(Stop::Leave(Reason::CutShort { at }));
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(part);
            }
            self.out.write(part)?;
            left = left.saturating_sub(count as u64);
            input.consume(count);
        }
        Ok(())
    }
}

/// What a file is called in its folder. A name ends at its first NUL, and more may follow.
fn last_component(name: &[u8]) -> &[u8] {
    let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
    name.rsplit(|byte| *byte == b'/').next().unwrap_or(name)
}

/// Reads exactly as much as `buffer` holds, for the entry that begins at `at`.
fn fill(input: &mut Counted<impl BufRead>, mut buffer: &mut [u8], at: u64) -> Result<(), Stop> {
    while !buffer.is_empty() {
        let count = io::Read::read(input, buffer).map_err(Stop::Read)?;
        if count == 0 {
            return Err(Stop::Leave(Reason::CutShort { at }));
        }
        (_, buffer) = buffer.split_at_mut(count);
    }
    Ok(())
}

/// Passes over what fills up to a multiple of 4, whose bytes mean nothing.
fn skip(input: &mut Counted<impl BufRead>, count: u64, at: u64) -> Result<(), Stop> {
    let mut rest = [0; 4];
    let (part, _) = rest.split_at_mut(usize::try_from(count).unwrap_or(0).min(4));
    fill(input, part, at)
}

/// Why an initramfs is left as it is: byte for byte, and never a part of it.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It is compressed in a way that is not unpacked.
    #[error("{name} at byte {at} is not unpacked")]
    OtherFormat {
        /// The format.
        name: &'static str,
        /// Where it begins.
        at: u64,
    },
    /// It is nothing that an initramfs is made of.
    #[error("byte {at} begins neither a cpio archive nor a compressed one")]
    Unknown {
        /// Where it begins.
        at: u64,
    },
    /// A decoder lacks what the stream needs.
    #[error("{format} stream at byte {at} is not unpacked: {cause}")]
    Unsupported {
        /// Its format.
        format: Format,
        /// Where it begins.
        at: u64,
        /// What the decoder says.
        cause: io::Error,
    },
    /// What a stream holds is no archive, or there is something else behind it.
    #[error("{format} stream at byte {at} holds more than cpio archives")]
    NoArchive {
        /// Its format.
        format: Format,
        /// Where it begins.
        at: u64,
    },
    /// An entry has no header that Linux would read.
    #[error("cpio entry at byte {at} has no header of the new ASCII format")]
    NoHeader {
        /// Where it begins, in the stream that it is in.
        at: u64,
    },
    /// An entry has a name that Linux would not read.
    #[error("cpio entry at byte {at} has no name of 1 to {NAME_LEN_MAX} bytes with a NUL behind")]
    Name {
        /// Where it begins, in the stream that it is in.
        at: u64,
    },
    /// An entry does not end.
    #[error("cpio entry at byte {at} is cut short")]
    CutShort {
        /// Where it begins, in the stream that it is in.
        at: u64,
    },
    /// A boot configuration, which is found by its distance from the end.
    #[error("it has a boot configuration behind it")]
    BootConfiguration,
}

impl Reason {
    /// What begins with `magic`, which is of no [`Format`].
    const fn unknown(magic: [u8; MAGIC_LEN], at: u64) -> Self {
        match magic {
            [b'B', b'Z', b'h', ..] => Self::OtherFormat { name: "bzip2", at },
            [0x5d, 0, 0, ..] => Self::OtherFormat { name: "lzma", at },
            [0x89, b'L', b'Z', b'O', ..] => Self::OtherFormat { name: "lzop", at },
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::OtherFormat { name: "lz4 with frames", at },
            _ => Self::Unknown { at },
        }
    }
}
