//! Which slot is loaded next, and what is remembered about both.
//!
//! ```text
//!           clear                prove           arm               commit
//!  any ───────────▶ Unbootable ───────▶ Proven ───────▶ Trial{tries} ───────▶ Good
//!                      ▲                                   │ tries spent, or fell back
//!                      └───────────────────────────────────┘  Failed{reason}
//! ```
//!
//! [`BootState`] is what a boot environment holds; its methods are the only transitions there are.
//! [`BootState::boot`] is the decision a boot loader makes: the scripts of GRUB and U-Boot are the
//! same function in the loader's own language. That a slot is *Proven* is not recorded here: it is
//! seen in the slot itself, whose first block is zero until then, so that no environment, damaged
//! or lost, can make a loader load half a system.

mod decision;
mod environment;
mod reason;
mod state;
pub mod variables;

pub use decision::{Boot, Load};
pub use environment::{BootEnv, EnvFile, Health, Loaded};
pub use reason::Reason;
pub use state::{BootState, Failed, SlotState, TRIES_MAX, TransitionError, Trial};

/// Version of the contract between agent and loader script, which the script reports to the kernel
/// as `gybe.loader=`.
pub const LOADER_CONTRACT: u32 = 1;

/// Kernel argument that names the slot the loader loaded: `a` or `b`.
pub const SLOT_ARGUMENT: &str = "gybe.slot";

/// Kernel argument that is `1` in a trial, and absent else.
pub const TRIAL_ARGUMENT: &str = "gybe.trial";

/// Kernel argument with the [`LOADER_CONTRACT`] of the script.
pub const LOADER_ARGUMENT: &str = "gybe.loader";

/// Variable of a boot target's `gybe.env` that holds the signed kernel command line.
pub const CMDLINE_VARIABLE: &str = "gybe_cmdline";
