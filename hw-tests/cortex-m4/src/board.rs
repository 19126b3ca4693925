//! The board mps2-an386 as QEMU makes it: stdout, exit, the stack, and external RAM.
#![expect(unsafe_code, reason = "registers, the stack and fixed addresses are beyond the compiler")]

use core::arch::asm;
use core::ffi::c_void;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use gybe_core::block::{BLOCK_LEN, Block};

/// Semihosting operations. Source: Arm, "Semihosting for AArch32 and AArch64", release 2024Q3.
const WRITEC: usize = 0x03;
const EXIT_EXTENDED: usize = 0x20;
const STOPPED_APPLICATION_EXIT: usize = 0x20026;

/// What the stack is painted with before it is used.
const PAINT: u32 = 0x9e9e_9e9e;

/// A piece of a line. The formatting of the standard library would cost 3 KiB of flash.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Number(u64),
    Hex(&'a [u8]),
}

fn semihosting(operation: usize, parameter: *const c_void) {
    // SAFETY: QEMU takes this breakpoint for a call, reads what `parameter` points to, which lives
    // until the call returns, and changes r0 only.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => _, in("r1") parameter, options(nostack));
    }
}

/// Writes a line to stdout.
#[inline(never)]
pub(crate) fn say(pieces: &[Piece<'_>]) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => text.bytes().for_each(put),
            Piece::Number(number) => {
                let mut power = 1u64;
                while number / power > 9 {
                    power *= 10;
                }
                while power > 0 {
                    put(digit(u8::try_from(number / power % 10).unwrap_or(0)));
                    power /= 10;
                }
            }
            Piece::Hex(bytes) => {
                bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).for_each(put);
            }
        }
    }
    put(b'\n');
}

const fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' - 10 + value }
}

fn put(letter: u8) {
    semihosting(WRITEC, (&raw const letter).cast());
}

/// Ends the emulator.
pub(crate) fn exit(success: bool) -> ! {
    let block = [STOPPED_APPLICATION_EXIT, usize::from(!success)];
    semihosting(EXIT_EXTENDED, block.as_ptr().cast());
    loop {
        core::hint::spin_loop();
    }
}

unsafe extern "C" {
    /// Where static variables end and the stack may grow to. Its address counts.
    static __sheap: u32;
    /// Where the stack begins. Its address counts.
    static _stack_start: u32;
}

fn stack_end() -> *mut u32 {
    (&raw const __sheap).cast_mut()
}

/// Fills what is free of the stack with a pattern.
#[inline(never)]
pub(crate) fn paint_stack() {
    let here = 0u32;
    let mut at = stack_end();
    // Room for this function's own frame.
    let top = (&raw const here).wrapping_sub(32).cast_mut();
    while at < top {
        // SAFETY: between the last static variable and our own frame is nothing but free stack.
        unsafe { at.write_volatile(PAINT) };
        at = at.wrapping_add(1);
    }
}

/// How many bytes of the stack were used since it was painted, at most.
#[inline(never)]
pub(crate) fn stack_used() -> u64 {
    let top = &raw const _stack_start;
    let mut at = stack_end().cast_const();
    // SAFETY: all of it is RAM, and reading does not change it.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    u64::try_from((top as usize).saturating_sub(at as usize)).unwrap_or(u64::MAX)
}

/// External RAM, divided into what stands for flash chips and what a decoder works in.
pub(crate) struct External {
    /// What QEMU loaded: the release, and the keys.
    pub(crate) shelf: &'static [u8],
    /// The partition of `root`.
    pub(crate) root: &'static mut [Block],
    /// The partition of `boot`.
    pub(crate) boot: &'static mut [Block],
    /// The two copies of the boot environment.
    pub(crate) environment: [&'static mut [u8; ENVIRONMENT_LEN]; 2],
    /// Stored bytes and blocks of a frame.
    pub(crate) frame: &'static mut [u8],
    /// The state of the decoder; aligned for anything.
    pub(crate) decoder: &'static mut [u8],
}

/// Length of a copy of the boot environment in bytes.
pub(crate) const ENVIRONMENT_LEN: usize = 256;

const SHELF: usize = 0x2100_0000;
const ROOT: usize = 0x2140_0000;
const BOOT: usize = 0x2180_0000;
const ENVIRONMENT: usize = 0x21a0_0000;
const FRAME: usize = 0x21b0_0000;
const DECODER: usize = 0x21d0_0000;
const END: usize = 0x2200_0000;

const SHELF_LEN: usize = ROOT - SHELF;
const ROOT_BLOCKS: usize = (BOOT - ROOT) / BLOCK_LEN;
const BOOT_BLOCKS: usize = (ENVIRONMENT - BOOT) / BLOCK_LEN;
const DECODER_LEN: usize = 256 << 10;
const _: () = assert!(ENVIRONMENT + 2 * ENVIRONMENT_LEN <= FRAME);
const _: () = assert!(FRAME + crate::zstd::FRAME_LEN <= DECODER && DECODER + DECODER_LEN <= END);

impl External {
    /// All of it, the first time.
    pub(crate) fn take() -> Option<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        // One core, and no interrupt calls this.
        if TAKEN.load(Ordering::Relaxed) {
            return None;
        }
        TAKEN.store(true, Ordering::Relaxed);
        // SAFETY: the board has 16 MiB of RAM from 0x21000000 on, of which the linker knows nothing.
        // The pieces do not overlap, see the constants, and are given away once. Any bytes are
        // valid for all of their types.
        unsafe {
            Some(Self {
                shelf: slice::from_raw_parts(SHELF as *const u8, SHELF_LEN),
                root: slice::from_raw_parts_mut(ROOT as *mut Block, ROOT_BLOCKS),
                boot: slice::from_raw_parts_mut(BOOT as *mut Block, BOOT_BLOCKS),
                environment: [
                    &mut *(ENVIRONMENT as *mut [u8; ENVIRONMENT_LEN]),
                    &mut *((ENVIRONMENT + ENVIRONMENT_LEN) as *mut [u8; ENVIRONMENT_LEN]),
                ],
                frame: slice::from_raw_parts_mut(FRAME as *mut u8, crate::zstd::FRAME_LEN),
                decoder: slice::from_raw_parts_mut(DECODER as *mut u8, DECODER_LEN),
            })
        }
    }
}
