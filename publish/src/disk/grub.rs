//! GRUB on a factory disk: for UEFI in the ESP, for BIOS in the first sector and a partition of its own.
//!
//! Source: GRUB 2.12, `grub-core/boot/i386/pc/boot.S` and `diskboot.S`, `include/grub/i386/pc/boot.h`,
//! `util/setup.c`.

use std::fs;
use std::path::{Path, PathBuf};

use gybe_core::boot::BootState;
use gybe_grub::{Block, SAFE_SUFFIX};
use gybe_image::fat::File;

use super::DiskError;
use super::gpt::{BOOT_CODE_LEN, SECTOR, SECTOR_LEN};
use super::loader::{Machine, Settings};
use super::plan::Plan;
use super::program::{self, ProgramError};
use super::script;
use super::volume::file;

const DEFAULT_FOLDER: &str = "/usr/lib/grub";

/// What the script and the way to it need, wherever GRUB runs.
const MODULES: &[&str] = &[
    "part_gpt",
    "fat",
    "ext2",
    "normal",
    "configfile",
    "loadenv",
    "regexp",
    "test",
    "echo",
    "sleep",
    "reboot",
    "halt",
    "linux",
    "boot",
    "probe",
    "hashsum",
    "gcry_sha256",
    "serial",
    "terminal",
];

/// The script in the environment's partition, and its copy in the ESP.
const SCRIPT: &str = "grub.cfg";
const SCRIPT_COPY: &str = "EFI/gybe/grub.cfg";

/// Name of the live environment file in its partition.
const ENVIRONMENT: &str = "grubenv";

/// The place in `boot.img` of the first sector of the core, and of a jump that is for floppies.
const KERNEL_SECTOR_AT: usize = 0x5c;
const DRIVE_CHECK_AT: usize = 0x66;
const NOP: u8 = 0x90;

/// The place in the core's first sector of the list of blocks with the rest: first sector, count, and the
/// segment that they are loaded to.
const BLOCK_LIST_AT: usize = SECTOR - 12;
const KERNEL_SEGMENT: u16 = 0x820;

/// GRUB's files on the build host.
#[derive(Debug)]
pub(super) struct Grub {
    folder: PathBuf,
}

/// One of GRUB's platforms.
struct Platform {
    name: &'static str,
    package: &'static str,
    modules: &'static [&'static str],
}

const X86_64_EFI: Platform =
    Platform { name: "x86_64-efi", package: "grub-efi-amd64-bin", modules: &["all_video"] };
const ARM64_EFI: Platform =
    Platform { name: "arm64-efi", package: "grub-efi-arm64-bin", modules: &["all_video", "fdt"] };
const I386_PC: Platform =
    Platform { name: "i386-pc", package: "grub-pc-bin", modules: &["biosdisk"] };

impl Grub {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.unwrap_or(Path::new(DEFAULT_FOLDER)).to_owned() }
    }

    /// The files of the ESP.
    pub(super) fn esp_files(
        &self,
        machine: Machine,
        early: &str,
        script: &str,
    ) -> Result<Vec<File>, DiskError> {
        let (platform, name) = match machine {
            Machine::Amd64 => (X86_64_EFI, "EFI/BOOT/BOOTX64.EFI"),
            Machine::Arm64 => (ARM64_EFI, "EFI/BOOT/BOOTAA64.EFI"),
        };
        let script = file(SCRIPT_COPY, script.as_bytes().to_vec());
        Ok(vec![file(name, self.image(&platform, early)?), script])
    }

    /// The code of the first sector, and the content of the BIOS boot partition at byte `at`.
    pub(super) fn bios(
        &self,
        early: &str,
        at: u64,
        len: u64,
    ) -> Result<([u8; BOOT_CODE_LEN], Vec<u8>), DiskError> {
        let boot = self.platform(&I386_PC)?.join("boot.img");
        let boot = fs::read(&boot).map_err(|cause| DiskError::Read { path: boot, cause })?;
        let core = self.image(&I386_PC, early)?;
        if core.len() as u64 > len {
            return Err(DiskError::Core { found: core.len() as u64, limit: len });
        }
        let lba = at / SECTOR_LEN;
        let pair = boot_code(&boot, lba).zip(core_at(core, lba));
        pair.ok_or(DiskError::BootImage)
    }

    fn image(&self, platform: &Platform, early: &str) -> Result<Vec<u8>, DiskError> {
        let modules = self.platform(platform)?;
        let program = ["bin", "usr/bin"].map(|below| self.folder.join(below).join("grub-mkimage"));
        let program = program.into_iter().find(|path| path.exists());
        let program = program.unwrap_or_else(|| PathBuf::from("grub-mkimage"));
        let folder = tempfile::tempdir().map_err(DiskError::Temporary)?;
        let (config, out) = (folder.path().join("early.cfg"), folder.path().join("image"));
        fs::write(&config, early).map_err(DiskError::Temporary)?;
        let mut mkimage = program::command(program);
        mkimage.arg("--directory").arg(modules).args(["--format", platform.name]);
        mkimage.args(["--prefix", "/grub"]).arg("--config").arg(config).arg("--output").arg(&out);
        program::run(mkimage.args(MODULES).args(platform.modules), "grub-common")?;
        fs::read(&out).map_err(DiskError::Temporary)
    }

    /// The folder with a platform's modules.
    fn platform(&self, platform: &Platform) -> Result<PathBuf, ProgramError> {
        let below = ["", "lib/grub", "usr/lib/grub"];
        let mut found = below.into_iter().map(|below| self.folder.join(below).join(platform.name));
        let missing = || ProgramError::Missing {
            name: self.folder.join(platform.name),
            package: platform.package,
        };
        found.find(|folder| folder.join("moddep.lst").exists()).ok_or_else(missing)
    }
}

/// What GRUB runs first: the script in the environment's partition, on the disk GRUB itself came from.
/// Where that cannot be read its copy in the ESP, which nobody writes, still loads a slot. Nothing is
/// waited for.
pub(super) fn early(plan: &Plan, command_line: Option<&str>) -> Result<String, DiskError> {
    let (environment, esp) = (plan.number("gybe_env")?, plan.number("esp")?);
    let serial = command_line.and_then(serial).unwrap_or_default();
    Ok(format!(
        "{serial}regexp --set=1:gybe_disk '^([^,]*)' $root\n\
         source ($gybe_disk,gpt{environment})/{SCRIPT}\n\
         echo 'gybe: the boot environment cannot be read'\n\
         source ($gybe_disk,gpt{esp})/{SCRIPT_COPY}\n\
         sleep 10\nreboot\n"
    ))
}

/// A BIOS has no console on a serial line; GRUB gets one where the kernel has.
fn serial(command_line: &str) -> Option<String> {
    let mut consoles = command_line.split(' ').filter_map(|it| it.strip_prefix("console=ttyS"));
    let console = consoles.next_back()?;
    let (unit, mode) = console.split_once(',').unwrap_or((console, ""));
    let speed: String = mode.chars().take_while(char::is_ascii_digit).collect();
    let speed = if speed.is_empty() { "9600" } else { &speed };
    let unit: u8 = unit.parse().ok()?;
    Some(format!("serial --unit={unit} --speed={speed}\nterminal_output console serial\n"))
}

/// The script for this disk.
pub(super) fn script(plan: &Plan, settings: Settings<'_>) -> Result<String, DiskError> {
    let place = |name| Ok::<_, DiskError>(format!("$gybe_disk,gpt{}", plan.number(name)?));
    let dtb = settings.dtb.map(|path| format!("/{path}")).unwrap_or_default();
    let lines = [
        ("set gybe_env=", format!("set gybe_env=\"({})/{ENVIRONMENT}\"", place("gybe_env")?)),
        ("set gybe_boot_a=", format!("set gybe_boot_a=\"{}\"", place("boot_a")?)),
        ("set gybe_root_a=", format!("set gybe_root_a=\"{}\"", place("root_a")?)),
        ("set gybe_boot_b=", format!("set gybe_boot_b=\"{}\"", place("boot_b")?)),
        ("set gybe_root_b=", format!("set gybe_root_b=\"{}\"", place("root_b")?)),
        ("set gybe_local=", format!("set gybe_local=\"{}\"", settings.local)),
        ("set gybe_dtb=", format!("set gybe_dtb=\"{dtb}\"")),
    ];
    script::with_lines(script::GRUB, &lines)
}

/// The files of the environment's partition: both environment files say `state`.
pub(super) fn environment_files(state: &BootState, script: String) -> Result<Vec<File>, DiskError> {
    let block = Block::empty().with_state(state).map_err(DiskError::GrubEnvironment)?;
    Ok(vec![
        file(SCRIPT, script.into_bytes()),
        file(ENVIRONMENT, block.as_bytes().to_vec()),
        file(&format!("{ENVIRONMENT}{SAFE_SUFFIX}"), block.as_bytes().to_vec()),
    ])
}

/// The first sector's code, which loads the core's first sector from `lba`.
fn boot_code(image: &[u8], lba: u64) -> Option<[u8; BOOT_CODE_LEN]> {
    let mut code = *image.first_chunk::<BOOT_CODE_LEN>().filter(|_| image.len() == SECTOR)?;
    code.get_mut(KERNEL_SECTOR_AT..)?.first_chunk_mut().map(|at| *at = lba.to_le_bytes())?;
    code.get_mut(DRIVE_CHECK_AT..)?.first_chunk_mut().map(|at| *at = [NOP; 2])?;
    Some(code)
}

/// The core, whose first sector loads the rest from behind itself.
fn core_at(mut core: Vec<u8>, lba: u64) -> Option<Vec<u8>> {
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = u16::try_from(core.len() as u64 / SECTOR_LEN).ok()?.checked_sub(1)?;
    let list = core.get_mut(BLOCK_LIST_AT..)?.first_chunk_mut::<12>()?;
    let [first, count, segment] = [
        lba.checked_add(1)?.to_le_bytes().to_vec(),
        rest.to_le_bytes().to_vec(),
        KERNEL_SEGMENT.to_le_bytes().to_vec(),
    ];
    list.copy_from_slice(&[first, count, segment].concat());
    Some(core)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_console_is_the_kernels_last() {
        let serial = |line| serial(line).unwrap_or_default();
        let expected = "serial --unit=1 --speed=115200\nterminal_output console serial\n";
        assert_eq!(serial("console=tty0 console=ttyS0 console=ttyS1,115200n8 quiet"), expected);
        assert!(serial("quiet console=ttyS0").contains("--unit=0 --speed=9600"));
        for line in ["quiet", "console=tty0", "console=ttyS", "console=ttySIF0,115200"] {
            assert_eq!(serial(line), "", "{line}");
        }
    }

    #[test]
    fn the_first_sectors_point_at_each_other() {
        let code = boot_code(&[0xff; 512], 0x1234).unwrap();
        assert_eq!(code[0x5c..0x64], 0x1234_u64.to_le_bytes());
        assert_eq!(code[0x66..0x69], [0x90, 0x90, 0xff]);
        assert_eq!(boot_code(&[0; 511], 1), None);
        let core = core_at(vec![0xff; 3 * 512 + 1], 0x1234).unwrap();
        assert_eq!(core.len(), 4 * 512);
        assert_eq!(core[500..512], *b"\x35\x12\0\0\0\0\0\0\x03\0\x20\x08");
        assert_eq!(core_at(Vec::new(), 1), None);
    }
}
