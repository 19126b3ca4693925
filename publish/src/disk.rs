//! `gybe-publish disk`: a signed release in, a disk image for the factory out.
//!
//! Nothing is mounted and nobody needs to be root. The same release and options give the same bytes.
//! `docs/formats/factory-disk.md` says what is on the disk.

mod content;
mod customize;
mod error;
mod firmware;
mod gpt;
mod grub;
mod loader;
mod plan;
mod program;
mod raw;
mod report;
mod script;
mod sealed;
mod slot;
mod state;
mod uboot;
mod users;
mod volume;

use std::path::Path;

use clap::ValueEnum;
use gybe_core::boot::BootState;
use gybe_core::manifest::Manifest;
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use gybe_core::trust::{Device, Policy};
use gybe_image::erofs::Reader;
use gybe_oci::Offer;
use serde::Deserialize;

use crate::cli::Disk;
use customize::Customizations;
pub use error::DiskError;
pub use firmware::Firmware;
use gpt::{BACK_LEN, BOOT_CODE_LEN, Guid, SECTOR_LEN};
use grub::Grub;
pub use loader::LoaderName;
use loader::{Loader, Settings};
use plan::{Lens, Plan};
use raw::Raw;
use report::Made;
use slot::Papers;
pub use uboot::Place;
use uboot::Redundant;

/// Where GRUB's files are, where no option says it.
const GRUB_VARIABLE: &str = "GYBE_GRUB";

const ESP_LABEL: [u8; 11] = *b"GYBE ESP   ";
const SCRIPT_LABEL: [u8; 11] = *b"GYBE SCRIPT";
const ENVIRONMENT_LABEL: [u8; 11] = *b"GYBE ENV   ";

/// What a disk image is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Byte for byte, with holes
    Raw,
    /// QEMU's format, made by qemu-img
    Qcow2,
}

/// What is read of a release's configuration beside what a device reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    #[serde(default)]
    command_line: String,
    #[serde(default)]
    image: Image,
}

#[derive(Debug, Default, Deserialize)]
struct Image {
    kernel: Option<String>,
}

/// Runs the verb.
pub fn run(arguments: &Disk) -> Result<(), DiskError> {
    // Everything that can be refused is refused before the long part.
    let customizations = arguments.config.as_deref().map(Customizations::read).transpose()?;
    let customizations = customizations.unwrap_or_default();
    let mut firmware = firmware::read(&arguments.firmware)?;
    let state = BootState::factory(Some(Slot::A));
    let redundant = Redundant::make(arguments, &state)?;
    for copy in redundant.iter().flat_map(Redundant::outside) {
        firmware::place(&mut firmware, copy, "--u-boot-env-at")?;
    }
    let dtb = arguments.dtb.as_deref().map(device_tree).transpose()?;
    let keys = sealed::keys(&arguments.keys)?;
    let source_name = arguments.source.to_string();
    let mut offer = Offer::open(&source_name, arguments.arch.as_deref())?;
    let manifest = offer.package.manifest.clone();
    let Manifest { compatible, architecture, .. } = Manifest::parse(&manifest)?;
    let device = Device { compatible, architecture, floor: 0 };
    let policy = Policy::new(&keys, arguments.keys.len(), device).map_err(DiskError::Policy)?;
    let settled = offer.package.settle(&policy);
    let refused = |cause| DiskError::Refused { source_name: source_name.clone(), cause };
    settled.map_err(refused)?;
    let release = offer.package.open(&policy).map_err(refused)?;
    let signed: Signed =
        serde_json::from_slice(&offer.package.config).map_err(DiskError::Config)?;

    let loader = Loader::choose(arguments.loader, architecture)?;
    if redundant.is_some() && !matches!(loader, Loader::UBoot(_)) {
        return Err(DiskError::NotUBoot { loader: loader.name() });
    }
    let papers = Papers::new(&offer.source, &offer.package, &release)?;
    let lens = Lens {
        environment: arguments.env_size,
        boot: arguments.boot_size,
        root: arguments.root_size,
        state: arguments.state_size.max(customizations.state_len),
    };
    let plan = Plan::new(&release, papers.lens(), loader, lens, &firmware)?;
    let failed = |cause| DiskError::Output { path: arguments.output.clone(), cause };
    let disk = Raw::new(&arguments.output, plan.disk_len).map_err(failed)?;

    let names = release.config().targets.iter().map(|target| match target.name {
        "root" => plan.entry("root_a"),
        _ => plan.entry("boot_a"),
    });
    let partitions =
        names.map(|entry| Ok(disk.partition(entry?))).collect::<Result<_, DiskError>>()?;
    slot::fill(&offer.source, &release, &papers, partitions)?;
    let mut root = Reader::open(disk.partition(plan.entry("root_a")?))?;
    let mut found =
        sealed::check(&mut root, &offer.package, &release, loader, redundant.is_some())?;
    found.warnings.extend(firmware::warning(&firmware));

    let grub =
        arguments.grub_dir.clone().or_else(|| std::env::var_os(GRUB_VARIABLE).map(Into::into));
    let (local, grub) = (customizations.append.as_str(), Grub::new(grub.as_deref()));
    let command_line = format!("{} {local}", signed.command_line);
    let (dtb, redundant) = (dtb.as_deref(), redundant.as_ref());
    let settings = Settings { local, dtb, command_line: &command_line, redundant };
    let boot_code = install_loader(&disk, &plan, loader, &grub, &state, settings)?;
    let reference = found.reference.as_deref();
    let kernel = signed.image.kernel.as_deref();
    let nodes = content::nodes(&mut root, &release, kernel, reference, &customizations)?;
    let seed = Guid::derived(&release.manifest().digest, "hash seed");
    state::write(&disk, plan.entry("state")?, seed, &nodes)?;

    // The table comes last: what has none is no disk.
    for loaded in &firmware {
        disk.write_at(loaded.at, &loaded.bytes).map_err(failed)?;
    }
    let (front, back) = gpt::tables(plan.disk_len, plan.guid, &plan.entries, &boot_code);
    disk.write_at(plan.disk_len.saturating_sub(back.len() as u64), &back).map_err(failed)?;
    disk.write_at(0, &front).map_err(failed)?;
    debug_assert!(back.len() as u64 <= BACK_LEN && BACK_LEN.is_multiple_of(SECTOR_LEN));

    let format = arguments.format.unwrap_or_else(|| Format::of(&arguments.output));
    finish(disk, &arguments.output, format)?;
    made(&plan, loader, &release, arguments, format, &customizations, found.warnings)
        .report(arguments.json)
}

/// Writes the loader and the environment, which says that A is good and B is not; gives what a legacy BIOS
/// runs.
fn install_loader(
    disk: &Raw,
    plan: &Plan,
    loader: Loader,
    grub: &Grub,
    state: &BootState,
    settings: Settings<'_>,
) -> Result<[u8; BOOT_CODE_LEN], DiskError> {
    let mut boot_code = [0; BOOT_CODE_LEN];
    let files = match loader {
        Loader::UBoot(machine) => {
            let script = uboot::script(machine, plan, settings)?;
            volume::write(disk, plan.entry(plan::SCRIPT)?, SCRIPT_LABEL, vec![script.clone()])?;
            uboot::environment_files(state, settings, script)?
        }
        Loader::Grub(machine) => {
            let script = grub::script(plan, settings)?;
            let early = grub::early(plan, None)?;
            let esp = grub.esp_files(machine, &early, &script)?;
            volume::write(disk, plan.entry("esp")?, ESP_LABEL, esp)?;
            if loader.has_bios() {
                let entry = plan.entry("bios")?;
                let early = grub::early(plan, Some(settings.command_line))?;
                let (code, core) = grub.bios(&early, entry.start, entry.len)?;
                let written = disk.partition(entry).put(0, &core);
                written.map_err(|cause| DiskError::Write { what: entry.name, cause })?;
                boot_code = code;
            }
            grub::environment_files(state, script)?
        }
    };
    volume::write(disk, plan.entry("gybe_env")?, ENVIRONMENT_LABEL, files)?;
    Ok(boot_code)
}

/// Gives the disk its name, in its format.
fn finish(disk: Raw, output: &Path, format: Format) -> Result<(), DiskError> {
    let failed = |cause| DiskError::Output { path: output.to_owned(), cause };
    match format {
        Format::Raw => disk.persist(output).map_err(failed),
        Format::Qcow2 => {
            let converted = raw::beside(output).map_err(failed)?;
            let mut convert = program::command("qemu-img");
            // One by one, so that the same disk is the same file.
            convert.args(["convert", "-m", "1", "-f", "raw", "-O", "qcow2"]);
            convert.arg(disk.file.path()).arg(converted.path());
            program::run(&mut convert, "qemu-utils")?;
            raw::persist(converted, output).map_err(failed)
        }
    }
}

fn made<'a>(
    plan: &Plan,
    loader: Loader,
    release: &'a Release<'a>,
    arguments: &Disk,
    format: Format,
    customizations: &'a Customizations,
    warnings: Vec<String>,
) -> Made<'a> {
    let manifest = release.manifest();
    let (digest, version) = (manifest.digest.to_string(), manifest.version);
    let mut made = Made::new(plan, loader.name(), report::Release { digest, version });
    made.output = arguments.output.display().to_string();
    made.format = format.name();
    made.users = customizations.users.iter().map(|user| user.name.as_str()).collect();
    made.warnings = warnings;
    made
}

impl Format {
    fn of(output: &Path) -> Self {
        match output.extension() {
            Some(ending) if ending == "qcow2" => Self::Qcow2,
            _ => Self::Raw,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// The path of a device tree in the boot target: without what a script would not leave as it is.
fn device_tree(path: &str) -> Result<String, DiskError> {
    let plain =
        |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'/' | b'_' | b'-' | b'.' | b',');
    let names = path.trim_start_matches('/');
    let names = names.strip_prefix("dtb/").unwrap_or(names);
    let is_plain = names.bytes().all(plain);
    if !is_plain || names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(DiskError::Dtb { path: path.to_owned() });
    }
    Ok(format!("dtb/{names}"))
}
