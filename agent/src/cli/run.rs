//! What can be typed about releases that are taken without anybody asking.

use clap::{Args, ValueEnum};

/// `gybe run`
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Run {
    /// Print what happens on stdout, a line each
    #[arg(long, value_name = "HOW", value_enum)]
    pub events: Option<Events>,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Events {
    /// As JSON
    Json,
}

/// `gybe upgrade --automatic`
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Automatic {
    /// As nobody typed it: windows, rollout, budget and hooks are respected; for gybe-upgrade.timer
    #[arg(
        long,
        conflicts_with_all = ["check", "download_only", "apply", "retry_failed"]
    )]
    pub automatic: bool,
    /// Look once and do nothing else; for gybe run
    #[arg(long, hide = true, value_enum, requires = "automatic")]
    pub look: Option<Look>,
    /// How to tell gybe run what came of it
    #[arg(long, hide = true, value_enum, requires = "look")]
    pub events: Option<Events>,
}

/// What a look does with what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Look {
    /// It is armed.
    Arm,
    /// It is proven, and waits.
    Prove,
}
