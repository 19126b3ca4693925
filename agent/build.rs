//! Links release builds without the tables that only unwinding needs.

use std::env;

fn main() {
    let script = "no-unwind-tables.ld";
    println!("cargo::rerun-if-changed={script}");
    // What is derived from the profile `release` aborts on panic as that does.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let (true, Ok(folder)) = (is_release, env::var("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/{script}");
    }
}
