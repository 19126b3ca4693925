//! How much a configuration may hold.

/// The most bytes a configuration may have.
pub const CONFIG_LEN_MAX: usize = 64 * 1024;

/// The most targets a release may have.
pub const TARGETS_MAX: usize = 4;

/// The most packs a release may have.
pub const PACKS_MAX: usize = 64;
