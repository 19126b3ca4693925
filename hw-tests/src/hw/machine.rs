//! What a target must be able to do: the cases know nothing else about it.

use super::{console::Console, trouble::Trouble};
use crate::guest::Architecture;

/// The architectures that Gybe is for, as the kernel and Rust name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    /// GRUB, from a BIOS or from UEFI.
    X86_64,
    /// U-Boot.
    Aarch64,
}

impl Arch {
    /// Every architecture.
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Its name on our command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The parts of its guests.
    pub(crate) const fn parts(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::Amd64,
            Self::Aarch64 => Architecture::Arm64,
        }
    }
}

/// What starts the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS, which starts GRUB from the MBR.
    Bios,
    /// OVMF, which starts GRUB from the EFI system partition.
    Uefi,
    /// U-Boot as Debian builds it: it has neither a redundant environment nor `hash`.
    UBoot,
    /// U-Boot built with both.
    OwnUBoot,
}

/// The system that the cases run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// Busybox alone: it boots in seconds.
    Busybox,
    /// The same on a disk whose environment is U-Boot's own, redundant one.
    Redundant,
    /// Debian 12 with systemd; our hook of initramfs-tools opens the root.
    InitramfsTools,
    /// Debian 13 with systemd in its initramfs too, made by dracut: systemd opens the root.
    Dracut,
}

impl Guest {
    /// Its name in folders and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Redundant => "redundant",
            Self::InitramfsTools => "initramfs-tools",
            Self::Dracut => "dracut",
        }
    }
}

/// A machine as it is bought: what a case runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Its processor.
    pub(crate) arch: Arch,
    /// What starts its disk.
    pub(crate) firmware: Firmware,
    /// The system on its disk.
    pub(crate) guest: Guest,
}

impl Model {
    /// GRUB, started by a BIOS.
    pub(crate) const BIOS: Self =
        Self { arch: Arch::X86_64, firmware: Firmware::Bios, guest: Guest::Busybox };
    /// GRUB, started by UEFI.
    pub(crate) const UEFI: Self = Self { firmware: Firmware::Uefi, ..Self::BIOS };
    /// U-Boot.
    pub(crate) const U_BOOT: Self =
        Self { arch: Arch::Aarch64, firmware: Firmware::UBoot, guest: Guest::Busybox };

    /// U-Boot that checks digests and has an environment of its own.
    pub(crate) const U_BOOT_REDUNDANT: Self =
        Self { firmware: Firmware::OwnUBoot, guest: Guest::Redundant, ..Self::U_BOOT };

    /// The same machine with another system.
    pub(crate) const fn with(self, guest: Guest) -> Self {
        Self { guest, ..self }
    }

    /// What the disks of two machines that share them have in common.
    pub(crate) const fn disks(self) -> (Arch, Guest) {
        (self.arch, self.guest)
    }
}

/// What is on the disk when a case begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Release 1 in slot A, nothing in slot B: as it leaves the factory.
    Factory,
    /// Release 1 in slot A, which runs; release 2 in slot B, written and proven, not armed.
    Written,
    /// Release 1 in slot A and release 2 in slot B, both Good; the next boot takes B.
    BothGood,
}

/// What is plugged in beside the disk, and how the disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plugged {
    /// A stick with every release: a file system with the label `GYBESTICK`.
    pub(crate) stick: bool,
    /// A stick with FAT32 and a bundle of release 2 in one file, as people make them: the label is
    /// `GYBEBUNDLE`.
    pub(crate) bundle: bool,
    /// A second disk, as it left the factory: the same labels and identifiers.
    pub(crate) twin: bool,
    /// A network, on which the target finds the registry of [`Machine::registry`].
    pub(crate) network: bool,
    /// The disk takes no writes.
    pub(crate) read_only: bool,
    /// Every write is recorded, in its order, for [`Machine::judge_writes`].
    pub(crate) recorded: bool,
}

/// What the target has in place of a [`Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// Just that.
    AsAsked,
    /// A factory disk: the rest is to be done on the device.
    Factory,
}

/// A registry with every release in the repository `guest`, and what a target must know to pull.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Host and port, as the target reaches them.
    pub(crate) address: String,
    /// The certificate, in PEM, of who vouches for it.
    pub(crate) authority: String,
    /// Credentials, as `podman login` writes them.
    pub(crate) credentials: String,
}

/// A machine under test. Dropping it takes its power away.
pub(crate) trait Machine: Send {
    /// Puts `start` onto the disk, or a factory image where only that can be flashed.
    fn load(&mut self, start: Start) -> Result<Loaded, Trouble>;

    /// Power comes on.
    ///
    /// # Errors
    /// [`Trouble::Cannot`] when this target cannot have what should be plugged in.
    fn power_on(&mut self, plugged: Plugged) -> Result<Console, Trouble>;

    /// Power goes, at once.
    fn cut_power(&mut self) -> Result<(), Trouble>;

    /// What a hardware watchdog does, where the target has none of its own that the loader arms.
    fn reset(&mut self) -> Result<(), Trouble>;

    /// A registry with every release, and how the target pulls from it.
    ///
    /// # Errors
    /// [`Trouble::Cannot`] where there is none.
    fn registry(&mut self) -> Result<Access, Trouble>;

    /// Asks after every recorded write, and after every sector of it, what would boot if power had
    /// gone there. The machine has no power, and began with a factory disk.
    ///
    /// # Errors
    /// [`Trouble::Case`] with the first moment at which nothing whole would have booted;
    /// [`Trouble::Cannot`] where writes cannot be recorded.
    fn judge_writes(&mut self) -> Result<String, Trouble>;

    /// Whether the machine itself broke down, as an emulator can, and what it says of that.
    fn broke_down(&mut self) -> Option<String> {
        None
    }

    /// How much slower than a good PC it is: every deadline is multiplied by this.
    fn slowness(&self) -> u32;
}
