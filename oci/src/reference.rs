//! Names of sources, spelt as skopeo spells them: registries, OCI layouts and archives.
//!
//! Source: containers-transports(5), "oci:", "oci-archive:" and "docker://". Differences: a tag of a
//! layout begins after the last colon, and only if no `/` follows it, so that a path may hold a
//! colon; and a registry is named always, since a device has nobody to ask which one was meant.

mod registry;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use registry::RegistryReference;

/// Where something lies that is meant: in a registry or in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An OCI layout.
    Layout(LayoutReference),
    /// A repository of a registry.
    Registry(RegistryReference),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.starts_with(RegistryReference::PREFIX) {
            return text.parse().map(Self::Registry);
        }
        text.parse().map(Self::Layout)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(layout) => layout.fmt(f),
            Self::Registry(registry) => registry.fmt(f),
        }
    }
}

/// An OCI layout in a directory or in a tar file, and the tag of what is meant in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    /// How the layout is stored.
    pub transport: Transport,
    /// The directory or the file.
    pub path: PathBuf,
    /// The tag; without one there must be only one candidate.
    pub tag: Option<String>,
}

/// How a layout is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A directory.
    Directory,
    /// An uncompressed tar file.
    Archive,
}

impl Transport {
    const ALL: [Self; 2] = [Self::Directory, Self::Archive];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Directory => "oci:",
            Self::Archive => "oci-archive:",
        }
    }
}

impl LayoutReference {
    /// The layout in a directory, without a tag.
    #[must_use]
    pub fn directory(path: &Path) -> Self {
        Self { transport: Transport::Directory, path: path.to_owned(), tag: None }
    }
}

impl FromStr for LayoutReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (transport, rest) = Transport::ALL
            .iter()
            .find_map(|&transport| Some((transport, text.strip_prefix(transport.prefix())?)))
            .ok_or_else(|| ReferenceError::Transport { text: text.to_owned() })?;
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if path.is_empty() {
            return Err(ReferenceError::NoPath { text: text.to_owned() });
        }
        if tag == Some("") {
            return Err(ReferenceError::EmptyTag { text: text.to_owned() });
        }
        Ok(Self { transport, path: path.into(), tag: tag.map(str::to_owned) })
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.transport.prefix(), self.path.display())?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It begins with no transport known here.
    #[error("{text} does not begin with oci:, oci-archive: or docker://")]
    Transport {
        /// The text.
        text: String,
    },
    /// Nothing follows the transport.
    #[error("{text} names no directory or file")]
    NoPath {
        /// The text.
        text: String,
    },
    /// It ends in a colon.
    #[error("{text} ends in a colon but no tag")]
    EmptyTag {
        /// The text.
        text: String,
    },
    /// It names no registry that can be asked.
    #[error("{text}: {part} is not {what}")]
    Part {
        /// The text.
        text: String,
        /// The part of it that is wrong.
        part: String,
        /// What it should be.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_skopeo_writes_them() {
        let cases = [
            ("oci:/a/b", Transport::Directory, "/a/b", None),
            ("oci:b:v1", Transport::Directory, "b", Some("v1")),
            ("oci:a:b/c", Transport::Directory, "a:b/c", None),
            ("oci:a:b/c:v1", Transport::Directory, "a:b/c", Some("v1")),
            ("oci-archive:x.tar:2.0", Transport::Archive, "x.tar", Some("2.0")),
        ];
        for (text, transport, path, tag) in cases {
            let read: LayoutReference = text.parse().unwrap();
            assert_eq!((read.transport, read.path.to_str().unwrap()), (transport, path));
            assert_eq!(read.tag.as_deref(), tag);
            assert_eq!(read.to_string(), text);
            assert_eq!(text.parse(), Ok(Reference::Layout(read)));
        }
    }

    #[test]
    fn what_names_no_source_is_refused() {
        for (text, message) in [
            ("x/y:z", "x/y:z does not begin with oci:, oci-archive: or docker://"),
            ("oci:", "oci: names no directory or file"),
            ("oci::v1", "oci::v1 names no directory or file"),
            ("oci:a:", "oci:a: ends in a colon but no tag"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap_err().to_string(), message);
        }
    }
}
