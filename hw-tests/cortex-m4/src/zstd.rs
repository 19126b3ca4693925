//! The zstd library behind the core's seam, in memory of its own and without an allocator.
//!
//! Stored bytes and blocks of a frame share one buffer: the stored bytes lie at its end, and are
//! overwritten from the front on while they are read. Source: `zstd.h` of 1.5.7, section
//! "ZSTD_decompressionMargin".
#![expect(unsafe_code, reason = "the library is written in C")]

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use gybe_core::apply::Decoder;
use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::recipe::FRAME_LEN_MAX;
use zstd_sys::{
    ZSTD_DCtx, ZSTD_decompressDCtx, ZSTD_decompressionMargin, ZSTD_estimateDCtxSize,
    ZSTD_initStaticDCtx, ZSTD_isError,
};

/// How far the stored bytes must reach beyond the blocks, at most: a block of zstd's, 3 bytes for
/// each of them, and a header.
const MARGIN: usize = (128 << 10) + 3 * 256 + 32;

/// Length of the buffer for one frame.
pub(crate) const FRAME_LEN: usize = FRAME_LEN_MAX + MARGIN;

/// A decoder of whole frames.
#[derive(Debug)]
pub(crate) struct Zstd<'e> {
    context: NonNull<ZSTD_DCtx>,
    frame: &'e mut [u8],
    /// How many bytes lie at the end of `frame`.
    stored: usize,
    /// How many blocks lie at its start.
    count: usize,
}

/// Why a frame cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

impl core::fmt::Display for Undecodable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("zstd refuses it")
    }
}

impl<'e> Zstd<'e> {
    /// A decoder whose state lies in `workspace`, which must be aligned to 8 bytes.
    pub(crate) fn new(workspace: &'e mut [u8], frame: &'e mut [u8]) -> Option<Self> {
        let place = workspace.as_mut_ptr().cast::<c_void>();
        // SAFETY: the library writes to the workspace only, which is ours for as long as `Self`
        // lives, and returns null when it is too small or not aligned.
        let context = unsafe { ZSTD_initStaticDCtx(place, workspace.len()) };
        Some(Self { context: NonNull::new(context)?, frame, stored: 0, count: 0 })
    }

    /// How many bytes a decoder works in: its state, and the buffer for one frame.
    pub(crate) fn workspace_len() -> u64 {
        // SAFETY: the function takes nothing and changes nothing.
        let len = unsafe { ZSTD_estimateDCtxSize() }.saturating_add(FRAME_LEN);
        u64::try_from(len).unwrap_or(u64::MAX)
    }
}

impl Decoder for Zstd<'_> {
    type Error = Undecodable;

    fn stored(&mut self, len: usize) -> Option<&mut [u8]> {
        self.count = 0;
        self.stored = len;
        let start = self.frame.len().checked_sub(len)?;
        self.frame.get_mut(start..)
    }

    fn decode(&mut self, count: usize) -> Result<(), Undecodable> {
        let len = count.checked_mul(BLOCK_LEN).ok_or(Undecodable)?;
        let start = self.frame.len().checked_sub(self.stored).ok_or(Undecodable)?;
        let stored = self.frame.get(start..).ok_or(Undecodable)?;
        // SAFETY: the library reads the stored bytes and nothing else.
        let margin = unsafe { ZSTD_decompressionMargin(stored.as_ptr().cast(), stored.len()) };
        let needed = len.checked_add(margin).filter(|_| !is_error(margin));
        if needed.is_none_or(|needed| needed > self.frame.len()) {
            return Err(Undecodable);
        }
        let out = self.frame.as_mut_ptr();
        // SAFETY: both pointers come from one buffer that nobody else has; what is read lies at its
        // end, what is written, `len` bytes, at its start, and the buffer is longer than both by the
        // margin that the library wants for decoding in place.
        let decoded = unsafe {
            let from = out.add(start).cast_const().cast();
            let context = ptr::from_mut(self.context.as_mut());
            ZSTD_decompressDCtx(context, out.cast(), len, from, self.stored)
        };
        if decoded != len {
            return Err(Undecodable);
        }
        self.count = count;
        Ok(())
    }

    fn decoded(&self) -> &[Block] {
        self.frame.as_chunks().0.get(..self.count).unwrap_or_default()
    }
}

fn is_error(code: usize) -> bool {
    // SAFETY: the function looks at a number.
    unsafe { ZSTD_isError(code) != 0 }
}

/// What the library would allocate with: there is nothing. A static context never asks.
#[unsafe(no_mangle)]
extern "C" fn malloc(_: usize) -> *mut c_void {
    ptr::null_mut()
}

/// As [`malloc`].
#[unsafe(no_mangle)]
extern "C" fn calloc(_: usize, _: usize) -> *mut c_void {
    ptr::null_mut()
}

/// As [`malloc`]: there is nothing to give back.
#[unsafe(no_mangle)]
extern "C" fn free(_: *mut c_void) {}
