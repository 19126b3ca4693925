//! The device's configuration: `/usr/lib/gybe/config.toml`, and what `/etc/gybe` may override.
//!
//! The file below `/usr/lib` is part of the verified image; `/etc` is a writable overlay. So
//! `compatible` and everything about trust come from the first only, and the second is refused
//! when it tries: it may say where things lie, never what is believed.

pub mod document;
mod error;
pub mod health;
pub mod nearest;
pub mod pull;
pub mod registry;
pub mod restrict;
pub mod telling;
pub mod usb;

use std::path::{Path, PathBuf};

use gybe_core::config::Target;
use gybe_core::slot::Slot;

pub(crate) use document::{Document, read_small};
pub use document::{DocumentError, FILE_LEN_MAX};
pub use error::ConfigError;
pub use health::Health;
pub use pull::Pull;
pub use registry::Registry;
pub use restrict::Restrict;
pub use telling::Telling;
pub use usb::Usb;

use crate::health::conf::Conf;
use crate::root::Root;
use document::Section;

/// The folder of the image's own configuration.
pub const IMAGE_FOLDER: &str = "/usr/lib/gybe";
/// The configuration in the image.
pub const IMAGE_FILE: &str = "/usr/lib/gybe/config.toml";
/// The configuration that overrides it.
pub const LOCAL_FILE: &str = "/etc/gybe/config.toml";
/// Where somebody might hope to add keys. It must not exist.
pub const LOCAL_TRUST_FILE: &str = "/etc/gybe/trust.toml";

/// How often a new release may try to boot, unless `bootloader.tries` says otherwise.
pub const TRIES_DEFAULT: u8 = 3;
/// The fewest tries that make sense.
pub const TRIES_MIN: u8 = 1;
/// The most tries a boot environment can hold.
pub const TRIES_MAX: u8 = 7;

/// Keys that only the image may set, wherever someone tries to put them in [`LOCAL_FILE`].
const IMAGE_ONLY: [&str; 10] = [
    "compatible",
    "threshold",
    "key",
    "keys",
    "trust",
    "identity",
    "trusted_root",
    "docker_reference",
    "repository",
    "channels",
];
const TOP: [&str; 12] = [
    "compatible",
    "reference",
    "slot",
    "bootloader",
    "health",
    "restrict",
    "registry",
    "pull",
    "report",
    "metrics",
    "hooks",
    "usb",
];
const SLOTS: [&str; 2] = ["a", "b"];
const SLOT: [&str; 2] = ["root", "boot"];
const BOOTLOADER: [&str; 5] = ["kind", "environment", "fw_env", "file", "tries"];

/// What the device is told about itself. Every path is as the device sees it: use
/// [`Root::path`] to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The hardware this is, as releases name it.
    pub compatible: String,
    /// Where releases come from, unless `switch` said otherwise.
    pub reference: Option<String>,
    /// The partitions of slot A.
    pub a: SlotPaths,
    /// The partitions of slot B.
    pub b: SlotPaths,
    /// Where the boot environment lies.
    pub bootloader: Bootloader,
    /// How often a new release may try to boot, [`TRIES_MIN`] to [`TRIES_MAX`]: `bootloader.tries`, or
    /// what greenboot's configuration says.
    pub tries: u8,
    /// How health is checked.
    pub health: Health,
    /// Where less is trusted than the image does.
    pub restrict: Restrict,
    /// What is done with sticks.
    pub usb: Usb,
    /// How releases are taken without anybody asking.
    pub pull: Pull,
    /// Who is told of what happens.
    pub telling: Telling,
    /// How registries are reached.
    pub registry: Registry,
}

impl Config {
    /// Reads both files.
    ///
    /// # Errors
    /// [`ConfigError`] names file, line and key.
    pub fn load(root: &Root) -> Result<Self, ConfigError> {
        if root.path(LOCAL_TRUST_FILE).exists() {
            return Err(ConfigError::LocalTrust { file: root.path(LOCAL_TRUST_FILE) });
        }
        let image_file = root.path(IMAGE_FILE);
        let Some(text) = read_small(&image_file)? else {
            return Err(ConfigError::NoImageFile { file: image_file });
        };
        let image = Layer::parse(&image_file, &text)?;
        let local_file = root.path(LOCAL_FILE);
        let local = match read_small(&local_file)? {
            Some(text) => Layer::parse_local(&local_file, &text)?,
            None => Layer::default(),
        };
        let mut layer = local.over(image);
        if layer.tries.is_none() {
            // What a fleet that comes from greenboot is used to, as far as an environment can count.
            let attempts = Conf::read(root).attempts_max;
            layer.tries = attempts.map(|attempts| attempts.clamp(TRIES_MIN, TRIES_MAX));
        }
        layer.finish(&image_file)
    }

    /// The partitions of `slot`.
    #[must_use]
    pub const fn slot(&self, slot: Slot) -> &SlotPaths {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }
}

/// The partitions of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPaths {
    /// Where the root file system goes.
    pub root: PathBuf,
    /// Where kernel, initramfs and command line go. Where the loader finds them elsewhere there is
    /// none, in neither slot.
    pub boot: Option<PathBuf>,
}

impl SlotPaths {
    /// The partition of the target named `name`.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Path> {
        match name {
            "root" => Some(&self.root),
            "boot" => self.boot.as_deref(),
            _ => None,
        }
    }

    /// All partitions, under the names of their targets, in the order of a release's targets.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let boot = self.boot.as_deref().map(|path| ("boot", path));
        std::iter::once(("root", self.root.as_path())).chain(boot)
    }

    /// The first partition that `targets` would leave as it is. A release with such targets is not
    /// for this device: what the last one left there would stay loadable while the others change.
    #[must_use]
    pub fn left_alone(&self, targets: &[Target<'_>]) -> Option<&'static str> {
        let missing = |name: &str| targets.iter().all(|target| target.name != name);
        self.all().map(|(name, _)| name).find(|name| missing(name))
    }
}

/// Which boot loader runs, and where its environment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootloader {
    /// GRUB with its environment block; the safe copy lies beside it.
    Grub {
        /// The live environment block.
        environment: PathBuf,
    },
    /// U-Boot with its redundant environment, as `fw_env.config` describes it.
    UbootRedundant {
        /// The description, in the format of `fw_setenv`.
        fw_env: PathBuf,
    },
    /// A stock U-Boot that reads two files from a FAT.
    UbootFile {
        /// The first file; the second lies beside it.
        file: PathBuf,
    },
}

/// One file's part of the configuration; everything is optional until both are put together.
#[derive(Default)]
struct Layer {
    compatible: Option<String>,
    reference: Option<String>,
    slots: [SlotLayer; 2],
    kind: Option<Kind>,
    places: Places,
    tries: Option<u8>,
    health: health::Layer,
    restrict: Restrict,
    usb: usb::Layer,
    pull: pull::Layer,
    telling: telling::Layer,
    registry: Registry,
}

#[derive(Default)]
struct SlotLayer {
    root: Option<PathBuf>,
    boot: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grub,
    Uboot,
}

/// Where a boot environment can lie. At most one may be given.
#[derive(Default)]
struct Places {
    environment: Option<PathBuf>,
    fw_env: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl Places {
    const fn is_empty(&self) -> bool {
        self.environment.is_none() && self.fw_env.is_none() && self.file.is_none()
    }
}

impl Layer {
    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        Ok(Self::read(&document.top())?)
    }

    fn parse_local(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        if let Some((key, line)) = document.top().first_of(&IMAGE_ONLY) {
            return Err(ConfigError::ImageOnly { file: file.to_owned(), line, key });
        }
        Ok(Self::read(&document.top())?)
    }

    fn read(top: &Section<'_>) -> Result<Self, DocumentError> {
        top.allow(&TOP)?;
        let mut layer = Self {
            compatible: top.text("compatible")?.map(|text| text.value),
            reference: top.text("reference")?.map(|text| text.value),
            restrict: Restrict::read(top)?,
            ..Self::default()
        };
        if let Some(slots) = top.section("slot")? {
            slots.allow(&SLOTS)?;
            for (name, slot) in SLOTS.iter().zip(&mut layer.slots) {
                let Some(section) = slots.section(name)? else { continue };
                section.allow(&SLOT)?;
                slot.root = section.absolute_path("root")?;
                slot.boot = section.absolute_path("boot")?;
            }
        }
        if let Some(section) = top.section("bootloader")? {
            section.allow(&BOOTLOADER)?;
            layer.kind = match section.text("kind")? {
                None => None,
                Some(kind) if kind.value == "grub" => Some(Kind::Grub),
                Some(kind) if kind.value == "uboot" => Some(Kind::Uboot),
                Some(kind) => {
                    return Err(section.value_error("kind", kind.line, "is not grub or uboot"));
                }
            };
            layer.places.environment = section.absolute_path("environment")?;
            layer.places.fw_env = section.absolute_path("fw_env")?;
            layer.places.file = section.absolute_path("file")?;
            layer.tries = section.number("tries", TRIES_MIN, TRIES_MAX)?;
        }
        if let Some(section) = top.section("health")? {
            layer.health = health::Layer::read(&section)?;
        }
        if let Some(section) = top.section("usb")? {
            layer.usb = usb::Layer::read(&section)?;
        }
        if let Some(section) = top.section("pull")? {
            layer.pull = pull::Layer::read(&section)?;
        }
        layer.telling = telling::Layer::read(top)?;
        if let Some(section) = top.section("registry")? {
            layer.registry = Registry::read(&section)?;
        }
        Ok(layer)
    }

    /// This layer, and what it does not say from `base`.
    fn over(self, base: Self) -> Self {
        let [a, b] = self.slots;
        let [base_a, base_b] = base.slots;
        Self {
            compatible: self.compatible.or(base.compatible),
            reference: self.reference.or(base.reference),
            slots: [a.over(base_a), b.over(base_b)],
            kind: self.kind.or(base.kind),
            // One place replaces the other: `file` in /etc means that fw_env does not count.
            places: if self.places.is_empty() { base.places } else { self.places },
            tries: self.tries.or(base.tries),
            health: self.health.over(base.health),
            restrict: self.restrict.and(base.restrict),
            usb: self.usb.over(base.usb),
            pull: self.pull.over(base.pull),
            telling: self.telling.over(base.telling),
            registry: self.registry.over(base.registry),
        }
    }

    fn finish(self, file: &Path) -> Result<Config, ConfigError> {
        let unset = |key| ConfigError::Unset { file: file.to_owned(), key };
        let [a, b] = self.slots;
        let config = Config {
            compatible: self.compatible.ok_or_else(|| unset("compatible"))?,
            reference: self.reference,
            a: SlotPaths { root: a.root.ok_or_else(|| unset("slot.a.root"))?, boot: a.boot },
            b: SlotPaths { root: b.root.ok_or_else(|| unset("slot.b.root"))?, boot: b.boot },
            bootloader: match (self.kind.ok_or_else(|| unset("bootloader.kind"))?, self.places) {
                (
                    Kind::Grub,
                    Places { environment: Some(environment), fw_env: None, file: None },
                ) => Bootloader::Grub { environment },
                (Kind::Uboot, Places { environment: None, fw_env: Some(fw_env), file: None }) => {
                    Bootloader::UbootRedundant { fw_env }
                }
                (Kind::Uboot, Places { environment: None, fw_env: None, file: Some(file) }) => {
                    Bootloader::UbootFile { file }
                }
                (Kind::Grub, _) => return Err(ConfigError::GrubPlace),
                (Kind::Uboot, _) => return Err(ConfigError::UbootPlace),
            },
            tries: self.tries.unwrap_or(TRIES_DEFAULT),
            health: self.health.finish(),
            restrict: self.restrict,
            usb: self.usb.finish(),
            pull: self.pull.finish(),
            telling: self.telling.finish(),
            registry: self.registry,
        };
        // A slot without it is another kind of slot than one with it.
        match (&config.a.boot, &config.b.boot) {
            (Some(_), None) => return Err(unset("slot.b.boot")),
            (None, Some(_)) => return Err(unset("slot.a.boot")),
            _ => {}
        }
        let paths: Vec<_> = config.a.all().chain(config.b.all()).map(|(_, path)| path).collect();
        for (index, path) in paths.iter().enumerate() {
            if paths.iter().skip(index.saturating_add(1)).any(|other| other == path) {
                return Err(ConfigError::SamePartition { path: path.to_path_buf() });
            }
        }
        Ok(config)
    }
}

impl SlotLayer {
    fn over(self, base: Self) -> Self {
        Self { root: self.root.or(base.root), boot: self.boot.or(base.boot) }
    }
}

#[cfg(test)]
mod tests;
