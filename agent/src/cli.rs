//! What can be typed. Man pages and completions come from this one definition.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gybe_core::slot::Slot;

use crate::root::Root;

mod run;

pub use run::{Automatic, Events, Look, Run};

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
    /// Write a release into the inactive slot, prove it, and arm it
    Install(Install),
    /// Say what installing a release would fetch and write, without doing it
    Plan(Plan),
    /// Check a release's signatures, or what the slots hold
    Verify(Verify),
    /// Check a Sigstore bundle over a file, as the conformance suite calls it
    #[cfg(feature = "keyless")]
    VerifyBundle(VerifyBundle),
    /// Keep the running slot: its trial is over
    #[command(alias = "mark-good")]
    Commit(Report),
    /// Check the system's health: on trial keep it or give it up, else report
    Health(Health),
    /// Say what this device lacks to update itself and to fall back
    Doctor(Report),
    /// Boot the other slot next, or take back a release that was armed
    Rollback(Report),
    /// Install what the tracked reference offers, if it is newer
    Upgrade(Upgrade),
    /// Track another reference, and install what it offers
    Switch(Switch),
    /// Look at the tracked reference again and again, and take what is newer; for gybe.service
    Run(Run),
    /// Say whether the tracked reference offers something newer: exit 0 if it does, 4 if not
    Check(Report),
    /// Install what a stick holds, as when it is plugged in: only forward, after reading all of it
    Usb(Usb),
    /// What an initramfs calls on the way to the root file system
    #[command(hide = true)]
    Initramfs(Initramfs),
    /// Let the state partition take what is left of the disk
    #[command(hide = true)]
    GrowState,
}

/// `gybe usb`
#[derive(Args, Debug)]
pub struct Usb {
    /// The stick's partition, or the stick where it has none: /dev/sda1
    #[arg(value_name = "DEVICE")]
    pub device: PathBuf,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
    /// How to show progress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// `gybe initramfs`
#[derive(Args, Debug)]
pub struct Initramfs {
    /// What to do.
    #[command(subcommand)]
    pub step: InitramfsStep,
}

/// The two steps between the kernel and the real init.
#[derive(Debug, Subcommand)]
pub enum InitramfsStep {
    /// Open the root that the kernel command line names, as /dev/mapper/root
    Open,
    /// Mount /var, /etc and the boot environment for the root that is mounted at DIR
    Mount {
        /// Where the root is mounted
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
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

/// `gybe install`
#[derive(Args, Debug)]
pub struct Install {
    /// The release: docker://HOST/REPOSITORY[:tag], oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// How to write it.
    #[command(flatten)]
    pub writing: Writing,
}

/// Options of every verb that writes a slot.
#[derive(Args, Clone, Copy, Debug)]
pub struct Writing {
    /// The slot to write; needed only where none of them runs
    #[arg(long, value_name = "a|b", value_parser = slot)]
    pub slot: Option<Slot>,
    /// Write and prove the release, but do not arm it
    #[arg(long)]
    pub no_arm: bool,
    /// Fetch at most N bytes from a registry; more, and nothing is written
    #[arg(long, value_name = "N")]
    pub max_bytes: Option<u64>,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
    /// How to show progress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, nothing in a pipe
    #[default]
    Auto,
    /// JSON lines on stdout, before the report
    Json,
    /// A line on stderr for each tenth, as for a console that keeps what was written
    Lines,
    /// Nothing
    None,
}

/// `gybe plan`
#[derive(Args, Debug)]
pub struct Plan {
    /// The release: docker://HOST/REPOSITORY[:tag], oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The slot to plan for; needed only where none of them runs
    #[arg(long, value_name = "a|b", value_parser = slot)]
    pub slot: Option<Slot>,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
}

/// `gybe verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// The release: docker://HOST/REPOSITORY[:tag], oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "SOURCE", required_unless_present = "slots", conflicts_with = "slots")]
    pub source: Option<String>,
    /// Read both slots back and compare them with what was signed
    #[arg(long)]
    pub slots: bool,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
}

/// `gybe verify-bundle`
#[cfg(feature = "keyless")]
#[derive(Args, Debug)]
pub struct VerifyBundle {
    /// Trust the authorities of the public staging instance
    #[arg(long)]
    pub staging: bool,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// To whom the certificate must be made out
    #[arg(
        long,
        value_name = "IDENTITY",
        required_unless_present = "key",
        requires = "certificate_oidc_issuer"
    )]
    pub certificate_identity: Option<String>,
    /// Who must have told the authority so
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    pub certificate_oidc_issuer: Option<String>,
    /// The public key that must have signed, in place of a certificate
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_identity")]
    pub key: Option<PathBuf>,
    /// The authorities to trust, in place of those of the public instance
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// What was signed, as a file or by its digest
    #[arg(value_name = "FILE|sha256:DIGEST")]
    pub artifact: String,
}

/// `gybe upgrade`
#[derive(Args, Debug)]
pub struct Upgrade {
    /// Only say whether there is something newer: exit 0 if there is, 4 if not
    #[arg(long, conflicts_with_all = ["download_only", "apply"])]
    pub check: bool,
    /// Write and prove it, but do not arm it; a later upgrade arms it without writing again
    #[arg(long, conflicts_with = "apply")]
    pub download_only: bool,
    /// Reboot into it at once
    #[arg(long)]
    pub apply: bool,
    /// Take a release that has failed on this device again
    #[arg(long)]
    pub retry_failed: bool,
    /// Without anybody asking.
    #[command(flatten)]
    pub automatic: Automatic,
    /// Fetch at most N bytes from a registry; more, and nothing is written
    #[arg(long, value_name = "N")]
    pub max_bytes: Option<u64>,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
    /// How to show progress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// `gybe health`
#[derive(Args, Debug)]
pub struct Health {
    /// Wait, and give the trial up when it is not over in time; for gybe-trial-deadline.service
    #[arg(long, hide = true, conflicts_with = "give_up")]
    pub guard: bool,
    /// Give the trial up, if it is still one; for gybe-trial-failed.service
    #[arg(long, hide = true)]
    pub give_up: bool,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
}

/// `gybe switch`
#[derive(Args, Debug)]
pub struct Switch {
    /// The reference to track: docker://HOST/REPOSITORY[:tag], oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Reboot into it at once
    #[arg(long)]
    pub apply: bool,
    /// Fetch at most N bytes from a registry; more, and nothing is written
    #[arg(long, value_name = "N")]
    pub max_bytes: Option<u64>,
    /// How to report.
    #[command(flatten)]
    pub report: Report,
    /// How to show progress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

fn slot(name: &str) -> Result<Slot, String> {
    Slot::from_name(name).ok_or_else(|| "a slot is a or b".to_owned())
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
    fn options_may_stand_before_and_behind_the_verb() {
        for line in [
            ["gybe", "--root", "/d", "install", "oci:x", "--slot", "b"],
            ["gybe", "install", "oci:x", "--slot", "b", "--root", "/d"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.root(), Root::below("/d".into()));
            let Verb::Install(install) = cli.verb else { panic!("{:?}", cli.verb) };
            assert_eq!((install.source.as_str(), install.writing.slot), ("oci:x", Some(Slot::B)));
        }
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
            &["gybe", "install"],
            &["gybe", "install", "oci:x", "--slot", "c"],
            &["gybe", "upgrade", "--check", "--apply"],
            &["gybe", "health", "--guard", "--give-up"],
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
