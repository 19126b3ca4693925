//! What can be typed. Man pages and completions come from this one definition.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::root::Root;

/// Installs signed operating system releases into the inactive slot, and falls back.
#[derive(Debug, Parser)]
#[command(name = "gybe", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
}

/// Options that hold for every verb.
#[derive(Args, Debug)]
pub struct Global {
    /// Take configuration, partitions, boot environment and state from below DIR
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Exit with 5 instead of 0 when a reboot is needed to go on
    #[arg(long, global = true)]
    pub reboot_exit_code: bool,
}

impl Global {
    /// Where the device's files lie.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root.clone().map_or_else(Root::host, Root::below)
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the slots, what is in them, and what happened
    Status(Status),
    /// Check a release's signatures, or what the slots hold
    Verify(Verify),
    /// Keep the running slot: its trial is over
    #[command(alias = "mark-good")]
    Commit(Report),
    /// Boot the other slot next, or take back a release that was armed
    Rollback(Report),
    /// Say whether the tracked reference offers something newer: exit 0 if it does, 4 if not
    Check(Report),
}

/// `gybe status`
#[derive(Args, Debug)]
pub struct Status {
    /// How to report.
    #[command(flatten)]
    pub report: Report,
}

/// How to report.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Report {
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `gybe verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// The release: oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "SOURCE", required_unless_present = "slots", conflicts_with = "slots")]
    pub source: Option<String>,
    /// Read both slots back and compare them with what was signed
    #[arg(long)]
    pub slots: bool,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, which is also "no update available".
    Done,
    /// Something went wrong.
    Failed,
    /// What was typed makes no sense.
    Usage,
    /// Refused: trust, compatibility or policy.
    Refused,
    /// Nothing new, only from `check` and `upgrade --check`.
    NothingNew,
    /// Done, and a reboot is needed.
    RebootNeeded,
}

impl Exit {
    /// The number that scripts see.
    #[must_use]
    pub const fn code(self, reboot_exit_code: bool) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NothingNew => 4,
            Self::RebootNeeded => {
                if reboot_exit_code {
                    5
                } else {
                    0
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mark_good_is_commit() {
        let cli = Cli::try_parse_from(["gybe", "mark-good"]).unwrap();
        assert!(matches!(cli.verb, Verb::Commit(_)));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            &["gybe"][..],
            &["gybe", "verify"],
            &["gybe", "verify", "oci:x", "--slots"],
            &["gybe", "health"],
        ] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code(false)), "{line:?}");
        }
    }

    #[test]
    fn a_needed_reboot_is_told_only_when_asked_for() {
        assert_eq!(Exit::RebootNeeded.code(false), 0);
        assert_eq!(Exit::RebootNeeded.code(true), 5);
    }
}
