//! Puts `memory.x` where the linker looks.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=memory.x");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::copy("memory.x", Path::new(&out).join("memory.x"))?;
    println!("cargo::rustc-link-search={out}");
    // `board.rs` looks for the end of the stack, and the linker must not drop it.
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    Ok(())
}
