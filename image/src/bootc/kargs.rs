//! Kernel arguments of an image: `/usr/lib/bootc/kargs.d/*.toml`.
//!
//! Source: bootc, `docs/src/building/kernel-arguments.md`.

use serde::Deserialize;

use super::resolve::{self, ResolveError};
use crate::content::ReadContent;
use crate::tree::Tree;

const DIRECTORY: &str = "usr/lib/bootc/kargs.d";

/// Longest file of kernel arguments, in bytes.
pub const KARGS_LEN_MAX: u64 = 64 << 10;

/// Most files of kernel arguments.
pub const KARGS_FILES_MAX: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kargs {
    kargs: Vec<String>,
    match_architectures: Option<Vec<String>>,
}

/// The arguments for the OCI architecture `architecture`, file by file in the order of their names.
pub(super) fn read(
    tree: &Tree,
    contents: &dyn ReadContent,
    architecture: &str,
) -> Result<Vec<String>, KargsError> {
    let names = tree.find(DIRECTORY.as_bytes()).and_then(|id| tree.node(id).entries());
    let names: Vec<_> = names
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|n| n.ends_with(b".toml"))
        .collect();
    if names.len() > KARGS_FILES_MAX {
        return Err(KargsError::Files { found: names.len(), limit: KARGS_FILES_MAX });
    }
    let mut all = Vec::new();
    for name in names {
        let path = [DIRECTORY.as_bytes(), b"/", name].concat();
        let shown = || path.escape_ascii().to_string();
        let content = resolve::file(tree, &path)
            .map_err(|cause| KargsError::File { path: shown(), cause })?;
        if content.len > KARGS_LEN_MAX {
            return Err(KargsError::Len {
                path: shown(),
                found: content.len,
                limit: KARGS_LEN_MAX,
            });
        }
        let mut bytes = vec![0; usize::try_from(content.len).unwrap_or(0)];
        contents
            .read_at(content, 0, &mut bytes)
            .map_err(|cause| KargsError::Read { path: shown(), cause })?;
        let text = String::from_utf8(bytes).map_err(|_| KargsError::NotUtf8 { path: shown() })?;
        let file: Kargs = toml::from_str(&text)
            .map_err(|cause| KargsError::Toml { path: shown(), cause: Box::new(cause) })?;
        let here = rust_architecture(architecture);
        if file.match_architectures.is_some_and(|list| !list.iter().any(|name| name == here)) {
            continue;
        }
        for argument in file.kargs {
            check(&argument).map_err(|cause| KargsError::Argument { path: shown(), cause })?;
            all.push(argument);
        }
    }
    Ok(all)
}

/// What `std::env::consts::ARCH` is on a machine of this OCI architecture.
fn rust_architecture(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "x86",
        "ppc64le" => "powerpc64",
        other => other,
    }
}

/// Whether `argument`, which may be several with spaces between, can be signed for every loader.
///
/// # Errors
/// When it takes away what the loader or the verified root has to say, or would come through one
/// of the loaders as something else.
pub fn check(argument: &str) -> Result<(), ArgumentError> {
    let stays_as_it_is = |c: char| matches!(c, ' '..='~') && !matches!(c, '\\' | '"' | '\'');
    if argument.trim().is_empty() {
        return Err(ArgumentError::Empty);
    }
    if let Some(character) = argument.chars().find(|c| !stays_as_it_is(*c)) {
        return Err(ArgumentError::Character { argument: argument.into(), character });
    }
    if let Some(word) = argument.split(' ').find(|word| word.starts_with(['/', '('])) {
        return Err(ArgumentError::Path { argument: word.into() });
    }
    match argument.split(' ').find(|argument| is_reserved(argument)) {
        Some(argument) => Err(ArgumentError::Reserved { argument: argument.into() }),
        None => Ok(()),
    }
}

/// Whether an argument decides about the root or who runs first. The kernel takes `-` and `_`
/// for the same.
fn is_reserved(argument: &str) -> bool {
    let name = argument.split('=').next().unwrap_or_default().replace('-', "_");
    let has_value = argument.contains('=');
    let exact = ["root", "rootflags", "rootfstype", "roothash", "usrhash", "ostree", "composefs"];
    let prefixes =
        ["systemd.verity", "rd.systemd.verity", "systemd.volatile", "gybe.", "dm_mod.create"];
    (has_value && matches!(name.as_str(), "init" | "rdinit" | "rd.init"))
        || exact.contains(&name.as_str())
        || prefixes.iter().any(|prefix| name.starts_with(prefix))
        // What follows would go to init.
        || argument == "--"
}

/// Why a file of kernel arguments is refused.
#[derive(Debug, thiserror::Error)]
pub enum KargsError {
    /// There are too many.
    #[error("/usr/lib/bootc/kargs.d has {found} files, limit {limit}")]
    Files {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// It is none.
    #[error("/{path}: {cause}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong.
        cause: ResolveError,
    },
    /// It is too long.
    #[error("/{path} has {found} bytes, limit {limit}")]
    Len {
        /// Its path.
        path: String,
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// It could not be read.
    #[error("/{path}: {cause}")]
    Read {
        /// Its path.
        path: String,
        /// What the medium says.
        cause: std::io::Error,
    },
    /// It is not text.
    #[error("/{path} is not UTF-8")]
    NotUtf8 {
        /// Its path.
        path: String,
    },
    /// It is not what bootc reads, or has a key that bootc does not know.
    #[error("/{path}: {cause}")]
    Toml {
        /// Its path.
        path: String,
        /// Where and what, in several lines.
        cause: Box<toml::de::Error>,
    },
    /// An argument is refused.
    #[error("/{path}: {cause}")]
    Argument {
        /// Its path.
        path: String,
        /// Which, and why.
        cause: ArgumentError,
    },
}

/// Why an argument is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// There is nothing in it.
    #[error("kernel argument is empty")]
    Empty,
    /// A boot loader would change it.
    #[error(
        "kernel argument {argument:?} has the character {character:?}, which not every boot \
         loader passes on"
    )]
    Character {
        /// The argument.
        argument: String,
        /// The first such character in it.
        character: char,
    },
    /// It begins like a path, which GRUB would look up.
    #[error("kernel argument {argument:?} begins with / or (, which GRUB takes for a path")]
    Path {
        /// The argument.
        argument: String,
    },
    /// It is gybe's to say.
    #[error("kernel argument {argument:?} is gybe's to set, an image must not")]
    Reserved {
        /// The argument.
        argument: String,
    },
}
