//! The core on a Cortex-M4: verifies a signed release with keys of both kinds, installs it to a RAM
//! disk, is cut off and goes on. Each line on stdout is a claim that `hw-tests` compares with what
//! the host did.
#![no_std]
#![no_main]

mod board;
mod cases;
mod disk;
mod environment;
mod shelf;
mod zstd;

use core::panic::PanicInfo;

use board::{Piece, say};

#[cortex_m_rt::entry]
fn main() -> ! {
    board::paint_stack();
    let outcome = board::External::take().ok_or("external RAM was taken").and_then(cases::run);
    if let Err(what) = outcome {
        say(&[Piece::Text("failed: "), Piece::Text(what)]);
    }
    board::exit(outcome.is_ok())
}

/// Where a panic ends, which the build turns into an undefined instruction, and a stack that grew
/// beyond the RAM.
#[allow(unsafe_code, reason = "an exception may come in the middle of anything")]
#[cortex_m_rt::exception]
unsafe fn HardFault(_: &cortex_m_rt::ExceptionFrame) -> ! {
    say(&[Piece::Text("failed: a fault")]);
    board::exit(false)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    say(&[Piece::Text("failed: a panic")]);
    board::exit(false)
}
