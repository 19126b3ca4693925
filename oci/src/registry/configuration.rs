//! Which places have a repository: `registries.conf`.
//!
//! Source: containers-registries.conf(5), version 2. Names without a registry and aliases are not
//! known here: a device's references name their registry.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Longest file, in bytes.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// Most files in the folder beside it.
const FILES_MAX: usize = 64;
/// Most mirrors of one registry.
pub(super) const MIRRORS_MAX: usize = 16;

/// What is said about registries, in all files.
#[derive(Debug, Default)]
pub(super) struct Registries(Vec<Registry>);

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Registry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullFrom {
    /// Anything.
    #[default]
    All,
    /// What is named by digest.
    DigestOnly,
    /// What is named by tag.
    TagOnly,
}

/// A place that may have a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The host, with its port, and the repository.
    pub(super) name: String,
    /// Whether neither a believed certificate nor TLS at all is asked for.
    pub(super) is_insecure: bool,
    /// What it is asked for.
    pub(super) pull_from: PullFrom,
}

impl Registries {
    /// Reads `file` and, in the order of their names, the files ending in `.conf` in the folder of
    /// that name with `.d`. What comes later about a prefix replaces what came before.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigurationError> {
        let mut folder = file.as_os_str().to_owned();
        folder.push(".d");
        let mut files = vec![file.to_owned()];
        files.extend(drop_ins(Path::new(&folder))?);
        let mut all = Self::default();
        for file in files {
            for mut registry in read(&file)? {
                if registry.prefix.is_empty() {
                    registry.prefix.clone_from(&registry.location);
                }
                if registry.prefix.is_empty() {
                    return Err(ConfigurationError::NoPrefix { file });
                }
                if registry.mirror.len() > MIRRORS_MAX {
                    let (prefix, found) = (registry.prefix, registry.mirror.len());
                    return Err(ConfigurationError::Mirrors { file, prefix, found });
                }
                all.0.retain(|other| other.prefix != registry.prefix);
                all.0.push(registry);
            }
        }
        Ok(all)
    }

    /// The places of a repository, mirrors first; `None` when it is blocked.
    pub(super) fn locations(&self, name: &str) -> Option<Vec<Location>> {
        let fitting = self.0.iter().filter_map(|it| Some((it.matches(name)?, it)));
        let Some((len, registry)) = fitting.max_by_key(|(len, _)| *len) else {
            let (name, pull_from) = (name.to_owned(), PullFrom::All);
            return Some(vec![Location { name, is_insecure: false, pull_from }]);
        };
        if registry.blocked {
            return None;
        }
        let rest = name.get(len..).unwrap_or_default();
        let at = |location: &str| match location {
            "" => name.to_owned(),
            // A wildcard stands for any host: what lies there keeps its path only.
            location if registry.prefix.starts_with("*.") => {
                format!("{location}{}", rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""))
            }
            location => format!("{location}{rest}"),
        };
        let by_digest = registry.mirror_by_digest_only;
        let mirrors = registry.mirror.iter().map(|mirror| Location {
            name: at(&mirror.location),
            is_insecure: mirror.insecure,
            pull_from: if by_digest { PullFrom::DigestOnly } else { mirror.pull_from_mirror },
        });
        let itself = Location {
            name: at(&registry.location),
            is_insecure: registry.insecure,
            pull_from: PullFrom::All,
        };
        Some(mirrors.chain([itself]).collect())
    }
}

impl Registry {
    /// How much of `name` the prefix is about: of `*.example.com` the host.
    fn matches(&self, name: &str) -> Option<usize> {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            let host = name.split('/').next().unwrap_or(name);
            return host.ends_with(domain).then_some(host.len());
        }
        let rest = name.strip_prefix(self.prefix.as_str())?;
        let ends = rest.is_empty() || rest.starts_with(['/', ':', '@']);
        ends.then_some(self.prefix.len())
    }
}

fn read(file: &Path) -> Result<Vec<Registry>, ConfigurationError> {
    let failed = |cause| ConfigurationError::Read { file: file.to_owned(), cause };
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut text = String::new();
    opened.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(ConfigurationError::Length { file: file.to_owned() });
    }
    let document: Document = toml::from_str(&text).map_err(|cause| {
        let before = text.as_bytes().iter().take(cause.span().map_or(0, |span| span.start));
        let line = before.filter(|byte| **byte == b'\n').count().saturating_add(1);
        let problem = cause.message().trim().replace('\n', ", ");
        ConfigurationError::Syntax { file: file.to_owned(), line, problem }
    })?;
    Ok(document.registry)
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, ConfigurationError> {
    let failed = |cause| ConfigurationError::Read { file: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == "conf") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(ConfigurationError::Files { folder: folder.to_owned() });
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Why `registries.conf` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file cannot be read.
    #[error("registries: {}: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file is too long.
    #[error("registries: {} is more than {FILE_LEN_MAX} bytes", file.display())]
    Length {
        /// The file.
        file: PathBuf,
    },
    /// There are too many files.
    #[error("registries: {} has more than {FILES_MAX} files", folder.display())]
    Files {
        /// The folder.
        folder: PathBuf,
    },
    /// It is not what it should be.
    #[error("registries: {}:{line}: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A registry has neither.
    #[error("registries: {}: a registry has neither prefix nor location", file.display())]
    NoPrefix {
        /// The file.
        file: PathBuf,
    },
    /// A registry has too many mirrors.
    #[error("registries: {}: {prefix} has {found} mirrors, limit {MIRRORS_MAX}", file.display())]
    Mirrors {
        /// The file.
        file: PathBuf,
        /// The registry.
        prefix: String,
        /// How many.
        found: usize,
    },
}

#[cfg(test)]
mod tests;
