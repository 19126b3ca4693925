//! Seals and signs releases on the build host.

fn main() {}
