//! What can be typed. Man pages and completions come from this one definition.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use gybe_oci::{LayoutReference, Reference};

use crate::disk::{Firmware, Format, LoaderName, Place};
use crate::sign::Annotation;

/// Makes signed releases of operating system images.
#[derive(Debug, Parser)]
#[command(name = "gybe-publish", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a release of an operating system image
    Seal(Box<Seal>),
    /// Sign a release, or any image, as cosign does in both of its formats
    Sign(Sign),
    /// Put signed releases into one folder or tar file, as for a stick: what devices need, no more
    Bundle(Bundle),
    /// Make a disk image for the factory out of a signed release
    Disk(Box<Disk>),
}

/// `gybe-publish seal`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("input").args(["image", "rootfs"]).required(true))]
pub struct Seal {
    /// The image: oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(long, value_name = "SOURCE")]
    pub image: Option<LayoutReference>,
    /// In place of an image a root file system, in a folder or a tar file, plain or compressed
    #[arg(long, value_name = "DIR|TAR", requires = "arch")]
    pub rootfs: Option<PathBuf>,
    /// The kernel, in place of the one below /usr/lib/modules
    #[arg(long, value_name = "FILE", requires = "initramfs")]
    pub kernel: Option<PathBuf>,
    /// The initramfs for --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initramfs: Option<PathBuf>,
    /// A folder of device trees for --kernel
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub dtb: Option<PathBuf>,
    /// Make a release without the target boot: for boards whose loader finds the kernel elsewhere
    #[arg(long, conflicts_with = "kernel")]
    pub no_boot: bool,
    /// Where the release goes: oci:DIR[:tag] or docker://HOST/REPOSITORY[:tag]
    #[arg(long, value_name = "SOURCE")]
    pub output: Reference,
    /// Build on this earlier release: refer to the packs that it has, pack only what is new;
    /// oci:DIR[:tag], oci-archive:FILE[:tag] or docker://HOST/REPOSITORY[:tag]
    #[arg(long, value_name = "SOURCE")]
    pub base: Option<Reference>,
    /// The kind of device that may install it
    #[arg(long, value_name = "NAME")]
    pub compatible: String,
    /// The version, for people
    #[arg(long, value_name = "V")]
    pub version: String,
    /// Devices refuse releases whose index is below the one they committed to
    #[arg(long, value_name = "N")]
    pub rollback_index: u64,
    /// Automatic updates go forward only in this number [default: seconds since 1970]
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Which architecture of an image for several; which one a root file system is for
    #[arg(long, value_name = "A")]
    pub arch: Option<String>,
    /// Refuse a release that does not fit a root partition of this size; K, M and G are powers
    /// of 1024
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_slot: Option<u64>,
    /// Accept an image without the label containers.bootc or ostree.bootable
    #[arg(long)]
    pub allow_unlabelled: bool,
    /// Put kernel and initramfs into the boot target byte for byte as the image has them, not unpacked
    #[arg(long, conflicts_with = "no_boot")]
    pub keep_boot_files: bool,
    /// Keep the initramfs in the root file system, where only kexec would read it, though the boot
    /// target has it unpacked: devices fetch each new one twice
    #[arg(long, conflicts_with = "no_boot")]
    pub initramfs_in_root: bool,
    /// How hard zstd tries, 1 to 19; devices decode all of them alike [default: 12, and 19 with
    /// --base, where little is packed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: Option<i32>,
    /// Who signs it, if anybody does now.
    #[command(flatten)]
    pub signing: Signing,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// A number of bytes, as `512M` or `4096`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (text.get(..at), 1 << 10),
        Some((at, 'M' | 'm')) => (text.get(..at), 1 << 20),
        Some((at, 'G' | 'g')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("{text:?} is not a number of bytes, as 4096 or 512M"))
}

/// `gybe-publish sign`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("signers").arg("keys").required(true))]
pub struct Sign {
    /// What to sign: oci:DIR[:tag] or docker://HOST/REPOSITORY[:tag]
    #[arg(value_name = "SOURCE")]
    pub source: Reference,
    /// What to sign with.
    #[command(flatten)]
    pub signing: Signing,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `gybe-publish bundle`
#[derive(Args, Debug)]
pub struct Bundle {
    /// The signed releases: docker://HOST/REPOSITORY[:tag], oci:DIR[:tag] or oci-archive:FILE[:tag], of
    /// which all architectures are taken
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<Reference>,
    /// Where they go: oci:DIR[:tag], oci-archive:FILE[:tag] or docker://HOST/REPOSITORY[:tag]; with a
    /// tag they get that one
    #[arg(long, value_name = "SOURCE")]
    pub output: Reference,
    /// Leave out what devices do not need that run this release; may come several times, and then
    /// what all of them need is there
    #[arg(long = "base", value_name = "SOURCE")]
    pub bases: Vec<Reference>,
    /// Take only this architecture; may come several times
    #[arg(long = "arch", value_name = "A")]
    pub architectures: Vec<String>,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `gybe-publish disk`
#[derive(Args, Debug)]
pub struct Disk {
    /// The release: oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(value_name = "SOURCE")]
    pub source: LayoutReference,
    /// Where the disk goes
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The format of the disk [default: qcow2 for a FILE that ends so, else raw]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// The loader [default: grub on amd64, uboot on arm64]
    #[arg(long, value_name = "LOADER")]
    pub loader: Option<LoaderName>,
    /// Public keys in PEM, all of which must have signed the release; may come several times
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub keys: Vec<PathBuf>,
    /// Users, kernel arguments and the size of /var, as bootc-image-builder takes them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which architecture of a release for several
    #[arg(long, value_name = "A")]
    pub arch: Option<String>,
    /// Size of each root partition [default: one and a half times what the release needs]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub root_size: Option<u64>,
    /// Size of each boot partition [default: twice what the release needs, at least 256M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub boot_size: Option<u64>,
    /// Size of the state partition, which the first boot grows to the end of the disk [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub state_size: Option<u64>,
    /// Size of the partition with the boot environment [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub env_size: Option<u64>,
    /// A device tree in the boot target, as vendor/board.dtb; U-Boot uses its own otherwise
    #[arg(long, value_name = "PATH")]
    pub dtb: Option<String>,
    /// Write a board's own firmware to a place outside all partitions; may come several times
    #[arg(long, value_name = "FILE@OFFSET")]
    pub firmware: Vec<Firmware>,
    /// The variables that the board's U-Boot has built in, a line each (u-boot-initial-env): its own
    /// redundant environment is made with them, in place of two files of gybe's
    #[arg(long, value_name = "FILE", requires_all = ["u_boot_env_len", "u_boot_env_at"])]
    pub u_boot_env: Option<PathBuf>,
    /// Length of each copy of U-Boot's environment, CONFIG_ENV_SIZE
    #[arg(long, value_name = "SIZE", requires = "u_boot_env", value_parser = size)]
    pub u_boot_env_len: Option<u64>,
    /// Where U-Boot looks for the two copies: a byte of the disk, or a file in gybe_env
    #[arg(long, value_name = "PLACE,PLACE", requires = "u_boot_env", value_delimiter = ',')]
    pub u_boot_env_at: Vec<Place>,
    /// GRUB's files: a folder with x86_64-efi, i386-pc [default: $GYBE_GRUB, else /usr/lib/grub]
    #[arg(long, value_name = "DIR")]
    pub grub_dir: Option<PathBuf>,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// How to sign, for every verb that does.
#[derive(Args, Clone, Debug)]
pub struct Signing {
    /// Sign with this private key, EC P-256 or Ed25519 in PEM, or a cosign.key, whose password is
    /// COSIGN_PASSWORD or asked for; may come several times
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// Say this in the signed bytes, beside the digest; may come several times
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<Annotation>,
    /// The name of the repository that podman and skopeo will look for in the signature
    /// [default: host and repository, or the name of the layout's directory]
    #[arg(long, value_name = "NAME")]
    pub docker_reference: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_input_is_sealed_and_what_belongs_together_comes_together() {
        let parse = |line: &str| {
            let line = format!(
                "gybe-publish seal {line} --output oci:out --compatible c --version 1 \
                 --rollback-index 1"
            );
            let outcome = Cli::try_parse_from(line.split_ascii_whitespace());
            outcome.map(|_| ()).map_err(|error| error.kind())
        };
        let (missing, conflict) =
            (Err(ErrorKind::MissingRequiredArgument), Err(ErrorKind::ArgumentConflict));
        for (line, expected) in [
            ("--image oci:a", Ok(())),
            ("--rootfs a --arch arm64", Ok(())),
            ("--rootfs a --arch arm64 --kernel k --initramfs i --dtb d", Ok(())),
            ("--image oci:a --no-boot", Ok(())),
            ("", missing),
            ("--rootfs a", missing),
            ("--image oci:a --kernel k", missing),
            ("--image oci:a --initramfs i", missing),
            ("--image oci:a --dtb d", missing),
            ("--image oci:a --rootfs a --arch arm64", conflict),
            ("--image oci:a --no-boot --kernel k --initramfs i", conflict),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn signing_needs_a_key_and_a_source() {
        let parse = |line: &str| {
            let outcome = Cli::try_parse_from(line.split(' '));
            outcome.map(|cli| format!("{cli:?}")).map_err(|error| error.kind())
        };
        let missing = Err(ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("gybe-publish sign oci:dir:v1"), missing);
        assert_eq!(parse("gybe-publish sign --key a.pem"), missing);
        assert_eq!(
            parse("gybe-publish sign --key a.pem docker://host:5000/Repo:v1"),
            Err(ErrorKind::ValueValidation)
        );
        let good = parse("gybe-publish sign --key a.pem oci:dir:v1 --annotation a=b --key b.pem");
        assert!(good.unwrap().contains(r#"keys: ["a.pem", "b.pem"]"#));
    }
}
