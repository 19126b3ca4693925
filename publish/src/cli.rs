//! What can be typed. Man pages and completions come from this one definition.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
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
    /// Sign a release, or any image, as cosign does in both of its formats
    Sign(Sign),
}

/// `gybe-publish sign`
#[derive(Args, Debug)]
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
    #[arg(long = "key", value_name = "FILE.pem", required = true)]
    pub keys: Vec<PathBuf>,
    /// Say this in the signed bytes, beside the digest; may come several times
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<Annotation>,
    /// The name of the repository that podman and skopeo will look for in the signature
    /// [default: the name of the layout's directory]
    #[arg(long, value_name = "NAME")]
    pub docker_reference: Option<String>,
}
