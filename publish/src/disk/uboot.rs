//! U-Boot on a factory disk: its script and its environment. U-Boot itself is the board's.
//!
//! Source: U-Boot 2025.01, `include/image.h` (legacy images) and `boot/image.c`.

use gybe_core::boot::BootState;
use gybe_image::fat::File;
use gybe_uboot::{FILE_LEN, Image, Stamp};

mod redundant;

use super::DiskError;
use super::loader::{Machine, Settings};
use super::plan::Plan;
use super::script;
use super::volume::file;
pub use redundant::Place;
pub(super) use redundant::Redundant;

const MAGIC: u32 = 0x2705_1956;
const HEADER_LEN: usize = 64;
const OS_LINUX: u8 = 5;
const TYPE_SCRIPT: u8 = 6;
const COMPRESSION_NONE: u8 = 0;
const NAME: &[u8] = b"gybe";
const NAME_LEN: usize = 32;

/// The script for this disk, as U-Boot takes it.
pub(super) fn script(
    machine: Machine,
    plan: &Plan,
    settings: Settings<'_>,
) -> Result<File, DiskError> {
    let kind = if settings.redundant.is_some() { "redundant" } else { "files" };
    let (local, dtb) = (settings.local, settings.dtb.unwrap_or_default());
    let place =
        |name: &'static str| Ok::<_, DiskError>(format!("${{gybe_disk}}:{}", plan.number(name)?));
    let lines = [
        ("gybe_kind=", format!("gybe_kind={kind}")),
        ("gybe_env_part=", format!("gybe_env_part=\"{}\"", place("gybe_env")?)),
        ("gybe_boot_a=", format!("gybe_boot_a=\"{}\"", place("boot_a")?)),
        ("gybe_root_a=", format!("gybe_root_a=\"{}\"", place("root_a")?)),
        ("gybe_boot_b=", format!("gybe_boot_b=\"{}\"", place("boot_b")?)),
        ("gybe_root_b=", format!("gybe_root_b=\"{}\"", place("root_b")?)),
        ("gybe_local=", format!("gybe_local=\"{local}\"")),
        ("gybe_dtb=", format!("gybe_dtb=\"{dtb}\"")),
    ];
    let script = script::with_lines(script::U_BOOT, &lines)?;
    Ok(file("boot.scr", script_image(machine, script.as_bytes())))
}

/// The files of the environment's partition. Without a redundant environment two of them are it: the
/// first is in force, and both say `state`.
pub(super) fn environment_files(
    state: &BootState,
    settings: Settings<'_>,
    script: File,
) -> Result<Vec<File>, DiskError> {
    let environment = |sequence: u32| {
        let mut bytes = vec![0; FILE_LEN];
        let written = Image::empty_file().write(Some(state), Stamp::Sequence(sequence), &mut bytes);
        written.map(|()| bytes).map_err(|cause| DiskError::UBootEnvironment(cause.to_string()))
    };
    let mut files = vec![script];
    match settings.redundant {
        Some(redundant) => {
            files.extend(redundant.files().map(|(name, bytes)| file(name, bytes.to_vec())));
        }
        None => {
            files.push(file("gybe.env", environment(1)?));
            files.push(file("gybe2.env", environment(0)?));
        }
    }
    Ok(files)
}

/// A script as `mkimage -T script` makes it: a header, the lengths of all parts, the only part.
fn script_image(machine: Machine, script: &[u8]) -> Vec<u8> {
    let mut data = u32::try_from(script.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    data.extend([0; 4]);
    data.extend(script);
    let architecture = match machine {
        Machine::Amd64 => 24,
        Machine::Arm64 => 22,
    };
    let header = |checksum: u32| {
        let mut bytes = MAGIC.to_be_bytes().to_vec();
        bytes.extend(checksum.to_be_bytes());
        bytes.extend([0; 4]); // time
        bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend([0; 8]); // addresses of what is no program
        bytes.extend(crc32fast::hash(&data).to_be_bytes());
        bytes.extend([OS_LINUX, architecture, TYPE_SCRIPT, COMPRESSION_NONE]);
        bytes.extend(NAME);
        bytes.resize(HEADER_LEN, 0);
        bytes
    };
    const { assert!(NAME.len() <= NAME_LEN) };
    [header(crc32fast::hash(&header(0))), data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SOURCE_DATE_EPOCH=0 mkimage -A arm64 -O linux -T script -C none -n gybe -d FILE OUT`, U-Boot
    /// 2023.01, with the two bytes `x` and line feed in FILE.
    const MADE_BY_MKIMAGE: &str = "27051956e2dbef72000000000000000a0000000000000000732663bf05160600\
        6779626500000000000000000000000000000000000000000000000000000000\
        0000000200000000780a";

    #[test]
    fn a_script_is_what_mkimage_makes() {
        let image = script_image(Machine::Arm64, b"x\n");
        let hex: String = image.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, MADE_BY_MKIMAGE);
    }
}
