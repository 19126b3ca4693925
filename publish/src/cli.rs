//! What can be typed. Man pages and completions come from this one definition.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use gybe_oci::Reference;

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
}

/// `gybe-publish seal`
#[derive(Args, Debug)]
pub struct Seal {
    /// The image: oci:DIR[:tag] or oci-archive:FILE[:tag]
    #[arg(long, value_name = "SOURCE")]
    pub image: Reference,
    /// Where the release goes: oci:DIR[:tag]
    #[arg(long, value_name = "SOURCE")]
    pub output: Reference,
    /// Build on this earlier release: refer to the packs that it has, pack only what is new
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
    /// Which architecture of an image for several
    #[arg(long, value_name = "A")]
    pub arch: Option<String>,
    /// Refuse a release that does not fit a root partition of this size; K, M and G are powers
    /// of 1024
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_slot: Option<u64>,
    /// Accept an image without the label containers.bootc or ostree.bootable
    #[arg(long)]
    pub allow_unlabelled: bool,
    /// How hard zstd tries, 1 to 19; devices decode all of them alike
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// Who signs it, if anybody does now.
    #[command(flatten)]
    pub signing: Signing,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// A number of bytes, as `512M` or `4096`.
fn size(text: &str) -> Result<u64, String> {
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
    /// What to sign: oci:DIR[:tag]
    #[arg(value_name = "SOURCE")]
    pub source: Reference,
    /// What to sign with.
    #[command(flatten)]
    pub signing: Signing,
    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// How to sign, for every verb that does.
#[derive(Args, Clone, Debug)]
pub struct Signing {
    /// Sign with this private key, EC P-256 or Ed25519 in PEM; may come several times
    #[arg(long = "key", value_name = "FILE.pem")]
    pub keys: Vec<PathBuf>,
    /// Say this in the signed bytes, beside the digest; may come several times
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<Annotation>,
    /// The name of the repository that podman and skopeo will look for in the signature
    /// [default: the name of the layout's directory]
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
    fn signing_needs_a_key_and_a_source() {
        let parse = |line: &str| {
            let outcome = Cli::try_parse_from(line.split(' '));
            outcome.map(|cli| format!("{cli:?}")).map_err(|error| error.kind())
        };
        let missing = Err(ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("gybe-publish sign oci:dir:v1"), missing);
        assert_eq!(parse("gybe-publish sign --key a.pem"), missing);
        assert_eq!(
            parse("gybe-publish sign --key a.pem docker://host/repo:v1"),
            Err(ErrorKind::ValueValidation)
        );
        let good = parse("gybe-publish sign --key a.pem oci:dir:v1 --annotation a=b --key b.pem");
        assert!(good.unwrap().contains(r#"keys: ["a.pem", "b.pem"]"#));
    }
}
