//! What a device is told about registries: where files lie, and what limits hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where credentials are looked for, the most particular first.
const CREDENTIALS: [&str; 5] = [
    "etc/gybe/auth.json",
    "etc/ostree/auth.json",
    "etc/crio/openshift-pull-secret",
    "run/containers/0/auth.json",
    "root/.docker/config.json",
];
/// The configuration that podman, CRI-O and MicroShift share.
const REGISTRIES: &str = "etc/containers/registries.conf";
/// Where certificates of single registries lie, the most particular first.
const CERTIFICATES: [&str; 2] = ["etc/containers/certs.d", "etc/docker/certs.d"];
/// Where systems keep the certificates that everybody believes.
const ROOTS: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
];

/// How registries are reached, and what they may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Files with credentials, in the form of `auth.json`. Those that are not there are passed over.
    pub credentials: Vec<PathBuf>,
    /// `registries.conf`; the files of the folder of that name with `.d` come on top.
    pub registries: PathBuf,
    /// Folders with one folder for each registry with certificates of its own.
    pub certificates: Vec<PathBuf>,
    /// Files with the authorities that are believed: the first that is there counts.
    pub roots: Vec<PathBuf>,
    /// Hosts that may give out tokens for other hosts.
    pub token_hosts: Vec<String>,
    /// Most bytes that may be received altogether.
    pub max_bytes: Option<u64>,
    /// The other limits.
    pub limits: Limits,
}

impl Access {
    /// With everything where it lies below `root`, and the usual limits.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let all = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
        Self {
            credentials: all(&CREDENTIALS),
            registries: root.join(REGISTRIES),
            certificates: all(&CERTIFICATES),
            roots: all(&ROOTS),
            token_hosts: Vec::new(),
            max_bytes: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To connect, the handshake included.
    pub connect: Duration,
    /// Without a byte, wherever one is due.
    pub stall: Duration,
    /// For one document: a manifest, an index, a token.
    pub document: Duration,
    /// For everything that one command asks.
    pub overall: Duration,
    /// Fewest bytes in a second, on average over [`Limits::rate_window`].
    pub rate_min: u64,
    /// How long it may be slower.
    pub rate_window: Duration,
    /// How often in a row something is tried that does not get on.
    pub tries: u32,
    /// The first wait before trying again; each is twice the one before.
    pub wait_first: Duration,
    /// The longest of these waits.
    pub wait_max: Duration,
    /// Longest wait that a registry may ask for. One that asks for more is left alone.
    pub retry_after_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            document: Duration::from_secs(120),
            overall: Duration::from_secs(24 * 3600),
            rate_min: 512,
            rate_window: Duration::from_secs(60),
            tries: 6,
            wait_first: Duration::from_secs(1),
            wait_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(300),
        }
    }
}
