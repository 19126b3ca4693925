//! Everything that can end a command, in the words of whoever gave it.

use std::io;
use std::path::PathBuf;

use gybe_core::boot::TransitionError;
use gybe_core::install::{ArmError, InstallError};
use gybe_core::slot::Slot;
use gybe_oci::{LayoutError, Problem, RegistryError, SourceError};
use nix::libc::EIO;

use crate::cli::Exit;
use crate::commit::CommitError;
use crate::config::ConfigError;
use crate::device::environment::EnvironmentError;
use crate::device::partition::PartitionError;
use crate::device::slots::SlotsError;
use crate::grow::GrowError;
use crate::initramfs::InitramfsError;
use crate::install;
use crate::release::{OfferError, Refusal};
use crate::state::StateError;
use crate::trust::TrustError;
use crate::two_areas::FileError;
use crate::usb::UsbError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Which slot is which.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The boot environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// A partition.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The mount table.
    #[error("cannot read what is mounted: {cause}")]
    Mounts {
        /// What the system says.
        cause: io::Error,
    },
    /// A release has a target for which this device has no partition.
    #[error("the release has a target {target}, for which the configuration names no partition")]
    NoPartition {
        /// The target.
        target: String,
    },
    /// A source.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// A release that is not for this device.
    #[error("{source_name} is refused: {cause}")]
    Refused {
        /// Where it came from.
        source_name: String,
        /// Why.
        cause: Refusal,
    },
    /// A release that came without any signature.
    #[error("{source_name} is refused: {cause}")]
    Unsigned {
        /// Where it came from.
        source_name: String,
        /// What is missing.
        cause: Refusal,
    },
    /// A release needs another loader script.
    #[error("the release needs version {needed} of the loader script, version {found} is running")]
    Loader {
        /// The lowest that it works with.
        needed: u64,
        /// What runs; 0 if it does not say.
        found: u32,
    },
    /// A release could not be installed.
    #[error(transparent)]
    Install(#[from] install::InstallError),
    /// A release was proven, and could not be armed.
    #[error("the release is written and proven, but cannot be armed: {0}")]
    Arm(ArmError<Box<EnvironmentError>>),
    /// A slot is not, byte for byte, what was signed.
    #[error(transparent)]
    Prove(#[from] InstallError<PartitionError>),
    /// It is not known what a slot holds.
    #[error("slot {slot} cannot say what it holds: {why}")]
    Held {
        /// The slot.
        slot: Slot,
        /// Why.
        why: String,
    },
    /// What runs is not what was signed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The boot environment says that this must not be.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The command is about the running slot, and there is none.
    #[error("no slot of this device is running")]
    NoneRuns,
    /// There is nothing to go back to.
    #[error("No rollback available: slot {slot} is not good")]
    NoRollback {
        /// The slot that would have to be.
        slot: Slot,
    },
    /// It is not known where releases come from.
    #[error("no reference is tracked")]
    NoReference,
    /// What must be remembered cannot be.
    #[error("the state below /var/lib/gybe cannot be written, so this would be forgotten")]
    NoMemory,
    /// The state partition.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// What was changed in `/etc` cannot stay beside the release.
    #[error(
        "Merge conflicts found in etc: {}; each is a file on one side and a folder on the other; the \
         release is written and proven, and not armed",
        paths.join(" ")
    )]
    EtcConflicts {
        /// Where they are.
        paths: Vec<String>,
    },
    /// Several disks have the root that runs.
    #[error("the running root is on several partitions that are alike: {partitions}")]
    SeveralRoots {
        /// Their names.
        partitions: String,
    },
    /// A stick.
    #[error(transparent)]
    Usb(#[from] UsbError),
    /// The way to the root file system.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// A Sigstore bundle is refused.
    #[error("bundle is refused: {why}")]
    Bundle {
        /// Why, as the library that knows bundles has it.
        why: String,
    },
    /// A file of `verify-bundle` cannot be read.
    #[error("{}: cannot read: {cause}", path.display())]
    BundleFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The daemon cannot wait for signals.
    #[error("cannot wait for signals: {cause}")]
    Signals {
        /// What the system says.
        cause: io::Error,
    },
    /// The reboot that was asked for does not come.
    #[error("cannot reboot: {cause}")]
    Reboot {
        /// What the system says.
        cause: io::Error,
    },
}

impl Error {
    /// Why a proven release is not armed.
    #[must_use]
    pub fn arm(cause: ArmError<EnvironmentError>) -> Self {
        Self::Arm(match cause {
            ArmError::Environment(cause) => ArmError::Environment(Box::new(cause)),
            ArmError::Transition(cause) => ArmError::Transition(cause),
        })
    }

    /// How the program ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. }
            | Self::Bundle { .. }
            | Self::Trust(TrustError::NoRepository { .. } | TrustError::Policy(_))
            | Self::Unsigned { .. }
            | Self::SeveralRoots { .. }
            | Self::EtcConflicts { .. }
            | Self::Loader { .. }
            | Self::Usb(UsbError::Refused { .. } | UsbError::NotAnUpdate { .. })
            | Self::Slots(SlotsError::RunningNamed { .. })
            | Self::Offer(OfferError::Layout(LayoutError {
                problem: Problem::NoPlatform { .. },
                ..
            }))
            | Self::Install(install::InstallError::Budget { .. }) => Exit::Refused,
            Self::Slots(SlotsError::NoneRuns) | Self::Offer(OfferError::Reference(_)) => {
                Exit::Usage
            }
            _ => match (self.partition(), self.registry()) {
                (Some(PartitionError::Running { .. }), _) => Exit::Refused,
                (_, Some(cause)) if is_refusal(cause) => Exit::Refused,
                _ => Exit::Failed,
            },
        }
    }

    /// What would help, where one action does.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let hint = match self {
            Self::Slots(SlotsError::NoneRuns) => "name the slot to write with --slot a|b",
            Self::Slots(SlotsError::RunningNamed { .. }) => {
                "leave out --slot: the other slot is the one to write"
            }
            Self::Transition(TransitionError::RunningNotGood { .. }) => {
                "keep what runs with gybe commit, or give it up with gybe rollback"
            }
            Self::Environment(EnvironmentError::Grub(
                gybe_grub::EnvironmentError::BothDamaged { .. },
            )) => "make both files anew with grub-editenv FILE create, as from the factory",
            Self::Environment(EnvironmentError::Uboot(
                gybe_uboot::EnvironmentError::BothDamaged { .. },
            )) => "let U-Boot write a new environment with saveenv",
            Self::EtcConflicts { .. } => {
                "move them away, and run it again: nothing is fetched twice"
            }
            Self::Unsigned { .. } => {
                "bring the signatures along: skopeo copies none, oras only with --recursive; \
                 gybe-publish bundle does"
            }
            Self::SeveralRoots { .. } => "remove the other disk, and boot again",
            Self::NoReference => "run gybe switch REF once, or set reference in the configuration",
            Self::State(StateError::File(FileError::Held { .. })) => {
                "wait for it to end; gybe status works meanwhile"
            }
            Self::Install(install::InstallError::AbsentPack { .. }) => {
                "a bundle made with --base is for devices that run one of the bases: take one \
                 made without it"
            }
            Self::Install(install::InstallError::Budget { .. }) => {
                "allow more with --max-bytes or registry.max_bytes, or bring it on a stick"
            }
            _ => {
                let partition = self.partition().and_then(partition_hint);
                return partition.or_else(|| self.registry().and_then(registry_hint));
            }
        };
        Some(hint)
    }

    /// The registry's part in it.
    pub(crate) fn registry(&self) -> Option<&RegistryError> {
        match self {
            Self::Offer(OfferError::Registry(cause))
            | Self::Install(install::InstallError::Blob(SourceError::Registry(cause))) => {
                Some(cause)
            }
            Self::Offer(OfferError::Blob { cause, .. })
            | Self::Install(install::InstallError::Source { cause, .. }) => {
                cause.get_ref()?.downcast_ref()
            }
            _ => None,
        }
    }

    /// The partition's part in it.
    const fn partition(&self) -> Option<&PartitionError> {
        match self {
            Self::Partition(cause) | Self::Install(install::InstallError::Partition(cause)) => {
                Some(cause)
            }
            _ => None,
        }
    }
}

fn partition_hint(cause: &PartitionError) -> Option<&'static str> {
    match cause {
        PartitionError::Mounted { .. } => Some("unmount it first"),
        PartitionError::Open { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
            Some("run it as root")
        }
        PartitionError::Read { cause, .. }
        | PartitionError::Write { cause, .. }
        | PartitionError::Flush { cause, .. }
            if cause.raw_os_error() == Some(EIO) =>
        {
            Some(
                "the medium failed, dmesg says how: run it again, which writes only what is missing; \
                 a medium that fails again is to be replaced",
            )
        }
        _ => None,
    }
}

fn is_refusal(cause: &RegistryError) -> bool {
    match cause {
        RegistryError::Blocked { .. } | RegistryError::Budget { .. } => true,
        RegistryError::Resolve { problem, .. } => matches!(**problem, Problem::NoPlatform { .. }),
        _ => false,
    }
}

const fn registry_hint(cause: &RegistryError) -> Option<&'static str> {
    Some(match cause {
        RegistryError::Certificate { .. } => {
            "set the clock, or put the registry's authority into /etc/containers/certs.d/HOST/ca.crt"
        }
        RegistryError::Unauthorized { .. } => {
            "put credentials into /etc/gybe/auth.json, as podman login --authfile writes them"
        }
        RegistryError::Realm { .. } => {
            "if it is the right one, name it in registry.token_hosts of the configuration"
        }
        RegistryError::Budget { .. } => "allow more with --max-bytes or registry.max_bytes",
        RegistryError::Connect { .. }
        | RegistryError::Broke { .. }
        | RegistryError::Stalled { .. } => {
            "try again when the link is better: nothing is fetched twice"
        }
        _ => return None,
    })
}
