//! The updater on the device.

fn main() {}
