//! Members of a tar stream, one after the other.

use std::io::BufRead;

use gybe_core::digest::{Digest, Hasher};
use gybe_oci::tar::{BLOCK_LEN, EXTENDED_LEN_MAX, Header, NumberField, padding};

use super::extended::Extended;
use super::sparse::Map;
use super::{MAJOR_MAX, MINOR_MAX, PathError, SYMLINK_LEN_MAX, TarError};
use crate::content::Piece;
use crate::tree::{Device, Meta};

/// Reads members. After an error it is of no further use.
pub(crate) struct Reader<R> {
    stream: Stream<R>,
    /// What is left of the last member's content, padding included.
    left: u64,
    contents_len: u64,
    contents_len_max: u64,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its path, as written.
    pub(crate) path: Vec<u8>,
    pub(crate) meta: Meta,
    pub(crate) kind: MemberKind,
    /// How many bytes its names and attributes take.
    pub(crate) header_len: usize,
}

/// What a member is.
#[derive(Debug)]
pub(crate) enum MemberKind {
    Directory,
    /// A file: its length, and where its content lies in the stream.
    File {
        len: u64,
        pieces: Vec<Piece>,
    },
    /// Another name for the file at a path, as written.
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

/// A stream that knows where it is.
pub(super) struct Stream<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Stream<R> {
    /// Fills `buffer`.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let part = self.from.fill_buf()?;
            let len = part.len().min(rest.len());
            let (Some(part), Some((filled, after))) =
                (part.get(..len), rest.split_at_mut_checked(len))
            else {
                return Err(TarError::Truncated { at: self.at });
            };
            if len == 0 {
                return Err(TarError::Truncated { at: self.at });
            }
            filled.copy_from_slice(part);
            rest = after;
            self.advance(len);
        }
        Ok(())
    }

    /// Hands the next `len` bytes to `take`, part by part.
    fn pass(&mut self, len: u64, mut take: impl FnMut(&[u8])) -> Result<(), TarError> {
        let mut left = len;
        while left > 0 {
            let part = self.from.fill_buf()?;
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
            let Some(part) = part.get(..len).filter(|part| !part.is_empty()) else {
                return Err(TarError::Truncated { at: self.at });
            };
            take(part);
            left = left.saturating_sub(len as u64);
            self.advance(len);
        }
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        self.from.consume(len);
        self.at = self.at.saturating_add(len as u64);
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from the beginning of a stream. All contents together may have `contents_len_max`
    /// bytes, holes included.
    pub(crate) const fn new(from: R, contents_len_max: u64) -> Self {
        Self { stream: Stream { from, at: 0 }, left: 0, contents_len: 0, contents_len_max }
    }

    /// The next member, or `None` at the end; what is left of the stream has then been read.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut extended = Extended::default();
        let mut is_waited_for = false;
        loop {
            let left = std::mem::take(&mut self.left);
            self.stream.pass(left, |_| ())?;
            // Not every writer ends its files with blocks of zeros.
            let is_end = self.stream.from.fill_buf()?.is_empty();
            let mut block = [0; BLOCK_LEN];
            if !is_end {
                self.stream.fill(&mut block)?;
            }
            let Some(header) = Header::parse(&block)? else {
                // What an extended header announced must follow it.
                let at = self.stream.at;
                return if is_waited_for { Err(TarError::Truncated { at }) } else { self.end() };
            };
            if !matches!(header.kind(), b'x' | b'g' | b'L' | b'K') {
                return self.member(&header, extended).map(Some);
            }
            let content = self.extension(header.size()?)?;
            extended.len = extended.len.saturating_add(content.len());
            is_waited_for |= header.kind() != b'g';
            match header.kind() {
                b'x' => extended.pax(&content)?,
                b'L' => extended.long_path(&content),
                b'K' => extended.long_link(&content),
                // Global headers are passed over, as every OCI runtime does.
                _ => {}
            }
        }
    }

    /// Reads the content of the member that `next` returned last, and returns its digest.
    pub(crate) fn digest(&mut self, len: u64, pieces: &[Piece]) -> Result<Digest, TarError> {
        self.digest_and(len, pieces, |_| ())
    }

    /// As [`Reader::digest`]; `take` receives the content as well, but for holes.
    pub(crate) fn digest_and(
        &mut self,
        len: u64,
        pieces: &[Piece],
        mut take: impl FnMut(&[u8]),
    ) -> Result<Digest, TarError> {
        let mut hasher = Hasher::new();
        let mut at = 0;
        for piece in pieces {
            zeros(&mut hasher, piece.at.saturating_sub(at));
            let skip = piece.from.saturating_sub(self.stream.at);
            self.stream.pass(skip, |_| ())?;
            self.stream.pass(piece.len, |part| {
                hasher.update(part);
                take(part);
            })?;
            self.left = self.left.saturating_sub(skip.saturating_add(piece.len));
            at = piece.at.saturating_add(piece.len);
        }
        zeros(&mut hasher, len.saturating_sub(at));
        Ok(hasher.finish())
    }

    /// After a block of zeros: only zeros or nothing may follow in the next one.
    fn end(&mut self) -> Result<Option<Member>, TarError> {
        if !self.stream.from.fill_buf()?.is_empty() {
            let at = self.stream.at;
            let mut block = [0; BLOCK_LEN];
            self.stream.fill(&mut block)?;
            if block != [0; BLOCK_LEN] {
                return Err(TarError::AfterEnd { at });
            }
        }
        loop {
            match self.stream.from.fill_buf()?.len() {
                0 => return Ok(None),
                len => self.stream.advance(len),
            }
        }
    }

    fn extension(&mut self, len: u64) -> Result<Vec<u8>, TarError> {
        if len > EXTENDED_LEN_MAX {
            return Err(TarError::Extended { len, limit: EXTENDED_LEN_MAX });
        }
        let mut content = vec![0; usize::try_from(len).unwrap_or(0)];
        self.stream.fill(&mut content)?;
        self.left = padding(len);
        Ok(content)
    }

    fn member(&mut self, header: &Header, mut extended: Extended) -> Result<Member, TarError> {
        let path = extended.sparse.name.take().or(extended.path.take());
        let path = path.unwrap_or_else(|| header.path());
        let link = extended.link.take().unwrap_or_else(|| header.link().to_vec());
        let header_len = path.len().saturating_add(link.len()).saturating_add(extended.len);
        let device = || {
            let major = range(header.value(NumberField::Major)?, MAJOR_MAX, "device major")?;
            let minor = range(header.value(NumberField::Minor)?, MINOR_MAX, "device minor")?;
            Ok::<_, TarError>(Device { major, minor })
        };
        let kind = match header.kind() {
            // Before there was a type for directories, a slash made one.
            b'0' | b'\0' if path.ends_with(b"/") => MemberKind::Directory,
            b'0' | b'\0' | b'7' | b'S' => self.file(header, &mut extended)?,
            b'1' => MemberKind::HardLink(link),
            b'2' if link.is_empty() || link.len() > SYMLINK_LEN_MAX => {
                return Err(TarError::Symlink { len: link.len() });
            }
            b'2' if link.contains(&0) => return Err(PathError::Nul.into()),
            b'2' => MemberKind::Symlink(link),
            b'3' => MemberKind::CharDevice(device()?),
            b'4' => MemberKind::BlockDevice(device()?),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            kind => return Err(TarError::Kind { kind: kind.escape_ascii().to_string() }),
        };
        let meta = meta(header, extended, matches!(kind, MemberKind::Symlink(_)))?;
        Ok(Member { path, meta, kind, header_len })
    }

    fn file(&mut self, header: &Header, extended: &mut Extended) -> Result<MemberKind, TarError> {
        let mut size = match extended.size {
            Some(size) => size,
            None => header.size()?,
        };
        let padding = padding(size);
        let map = if header.kind() == b'S' {
            Some(Map::old(header, &mut self.stream)?)
        } else {
            Map::pax(&mut extended.sparse, &mut size, &mut self.stream)?
        };
        let from = self.stream.at;
        let len = map.as_ref().map_or(size, |map| map.real_size);
        // Also bounds how many zeros are hashed for a file that is nothing but a hole.
        self.contents_len = self.contents_len.saturating_add(len.max(size));
        let limit = self.contents_len_max;
        if self.contents_len > limit {
            return Err(TarError::Contents { len: self.contents_len, limit });
        }
        self.left = size.saturating_add(padding);
        let pieces = match map {
            Some(map) => map.pieces(from, size)?,
            None if size == 0 => Vec::new(),
            None => vec![Piece { at: 0, from, len }],
        };
        Ok(MemberKind::File { len, pieces })
    }
}

fn meta(header: &Header, extended: Extended, is_symlink: bool) -> Result<Meta, TarError> {
    // Minus one means "unchanged" to chown, and cannot be an owner.
    const ID_MAX: u32 = u32::MAX - 1;
    let value = |replaced: Option<i64>, field| replaced.map_or_else(|| header.value(field), Ok);
    let uid = range(value(extended.uid, NumberField::Uid)?, ID_MAX, "uid")?;
    let gid = range(value(extended.gid, NumberField::Gid)?, ID_MAX, "gid")?;
    let (mtime_s, mtime_ns) = match extended.mtime {
        Some(mtime) => mtime,
        None => (header.value(NumberField::Mtime)?, 0),
    };
    // Some writers put the file type into the mode. Links have none of their own.
    let mode = u16::try_from(header.value(NumberField::Mode)? & 0o7777).unwrap_or(0);
    let mode = if is_symlink { 0o777 } else { mode };
    Ok(Meta { mode, uid, gid, mtime_s, mtime_ns, xattrs: extended.xattrs })
}

fn range(found: i64, limit: u32, field: &'static str) -> Result<u32, TarError> {
    u32::try_from(found).ok().filter(|&value| value <= limit).ok_or(TarError::Range {
        field,
        found,
        limit: limit.into(),
    })
}

fn zeros(hasher: &mut Hasher, len: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = len;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(ZEROS.get(..part).unwrap_or(&ZEROS));
        left = left.saturating_sub(part as u64);
    }
}
