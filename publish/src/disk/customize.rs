//! `--config`: the part of bootc-image-builder's `config.toml` that a factory disk can honour.
//!
//! What it cannot honour is refused by name, never passed over.
//! Source: bootc-image-builder, README, "Build config", read 2026-11.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gybe_image::bootc::kargs;
use serde::Deserialize;

/// Longest file, in bytes.
const LEN_MAX: u64 = 64 << 10;

/// What is to be different from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Customizations {
    pub(super) users: Vec<User>,
    /// Arguments for the kernel, not signed.
    pub(super) append: String,
    /// Least length of the state partition, in bytes.
    pub(super) state_len: Option<u64>,
}

/// A user to be made, or changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Option<String>,
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    customizations: Sections,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    user: Vec<User>,
    #[serde(default)]
    kernel: Kernel,
    #[serde(default)]
    filesystem: Vec<FileSystem>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kernel {
    #[serde(default)]
    append: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSystem {
    mountpoint: String,
    minsize: Size,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

impl Customizations {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, CustomizeError> {
        let at = |cause| CustomizeError { path: path.to_owned(), cause };
        let mut text = String::new();
        let file = File::open(path).map_err(|cause| at(Cause::Read(cause)))?;
        file.take(LEN_MAX + 1).read_to_string(&mut text).map_err(|it| at(Cause::Read(it)))?;
        if text.len() as u64 > LEN_MAX {
            return Err(at(Cause::Len { limit: LEN_MAX }));
        }
        Self::parse(&text).map_err(at)
    }

    fn parse(text: &str) -> Result<Self, Cause> {
        let Document { customizations } =
            toml::from_str(text).map_err(|cause| Cause::Toml(Box::new(cause)))?;
        let Sections { user: users, kernel, filesystem } = customizations;
        let append = append(&kernel.append)?;
        let mut state_len = None;
        for FileSystem { mountpoint, minsize } in filesystem {
            let instead = match mountpoint.as_str() {
                "/var" if state_len.is_none() => {
                    state_len = Some(minsize.bytes()?);
                    continue;
                }
                "/var" => "is there twice",
                "/" => "is a slot's: use --root-size",
                "/boot" => "is a slot's: use --boot-size",
                path if path.starts_with("/var/") => {
                    "lies on the state partition: say how long /var is to be"
                }
                _ => "cannot be a file system of its own: only /var, the state partition, is one",
            };
            return Err(Cause::MountPoint { mountpoint, instead });
        }
        for (at, user) in users.iter().enumerate() {
            user.check()?;
            if users.iter().take(at).any(|other| other.name == user.name) {
                return Err(Cause::UserTwice { name: user.name.clone() });
            }
        }
        Ok(Self { users, append, state_len })
    }
}

/// Arguments that reach the kernel as they are through both scripts, in which a `$` begins a variable.
fn append(text: &str) -> Result<String, Cause> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let line = words.join(" ");
    if line.is_empty() {
        return Ok(line);
    }
    kargs::check(&line).map_err(Cause::Argument)?;
    match line.chars().find(|letter| matches!(letter, '$' | '`' | ';' | '&' | '|' | '#')) {
        Some(letter) => Err(Cause::Letter { letter }),
        None => Ok(line),
    }
}

impl Size {
    fn bytes(self) -> Result<u64, Cause> {
        let text = match self {
            Self::Bytes(bytes) => return Ok(bytes),
            Self::Text(text) => text,
        };
        let trimmed = text.trim();
        let digits = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit: Option<u64> = match unit.trim() {
            "" | "B" => Some(1),
            "kB" => Some(1000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "TB" => Some(1_000_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            "TiB" => Some(1 << 40),
            _ => None,
        };
        let bytes = number.parse::<u64>().ok().zip(unit);
        let bytes = bytes.and_then(|(number, unit)| number.checked_mul(unit));
        bytes.ok_or(Cause::Size { text })
    }
}

impl User {
    fn check(&self) -> Result<(), Cause> {
        let name = &self.name;
        if !is_name(name) {
            return Err(Cause::UserName { name: name.clone() });
        }
        if let Some(group) = self.groups.iter().find(|group| !is_name(group)) {
            return Err(Cause::Group { name: name.clone(), group: group.clone() });
        }
        let is_hash = |text: &str| {
            text.starts_with('$')
                && text.len() <= 512
                && text.matches('$').count() >= 3
                && text.bytes().all(|it| it.is_ascii_graphic() && it != b':')
        };
        if self.password.as_deref().is_some_and(|password| !is_hash(password)) {
            return Err(Cause::Password { name: name.clone() });
        }
        let is_key = |key: &str| {
            key.split_ascii_whitespace().count() >= 2
                && key.lines().all(|line| !line.chars().any(char::is_control))
        };
        if self.key.as_deref().is_some_and(|key| !is_key(key)) {
            return Err(Cause::Key { name: name.clone() });
        }
        Ok(())
    }
}

/// What every `useradd` takes for a name.
fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    name.len() <= 32
        && first.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && name.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Why customizations are refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct CustomizeError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Read(io::Error),
    #[error("is longer than {limit} bytes")]
    Len { limit: u64 },
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    #[error("customizations.kernel.append: {0}")]
    Argument(kargs::ArgumentError),
    #[error(
        "customizations.kernel.append has a {letter:?}, which a loader's script would not leave as it is"
    )]
    Letter { letter: char },
    #[error("customizations.filesystem: {mountpoint} {instead}")]
    MountPoint { mountpoint: String, instead: &'static str },
    #[error(
        "customizations.filesystem: minsize {text:?} is not a number of bytes, as 4096 or \"2 GiB\""
    )]
    Size { text: String },
    #[error(
        "customizations.user: {name:?} is no name: 1 to 32 of a-z, 0-9, _ and -, not first a digit or -"
    )]
    UserName { name: String },
    #[error("customizations.user: {name} is there twice")]
    UserTwice { name: String },
    #[error("customizations.user: {name}: {group:?} is no name of a group")]
    Group { name: String, group: String },
    #[error("customizations.user: {name}: the password is not hashed\nhint: openssl passwd -6")]
    Password { name: String },
    #[error("customizations.user: {name}: the key is none that ssh would take")]
    Key { name: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_honoured_is_read() {
        let text = "[[customizations.user]]\nname = \"anna\"\npassword = \"$6$salt$hash\"\n\
             key = \"ssh-ed25519 AAAA anna\"\ngroups = [\"wheel\"]\n\
             [customizations.kernel]\nappend = \" mitigations=off  nosmt\"\n\
             [[customizations.filesystem]]\nmountpoint = \"/var\"\nminsize = \"2 GiB\"\n";
        let found = Customizations::parse(text).unwrap();
        assert_eq!(
            (found.append.as_str(), found.state_len),
            ("mitigations=off nosmt", Some(2 << 30))
        );
        assert_eq!(found.users.len(), 1);
        assert_eq!(found.users[0].groups, ["wheel"]);
        assert_eq!(Customizations::parse("").unwrap(), Customizations::default());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let user = |rest: &str| format!("[[customizations.user]]\nname = \"anna\"\n{rest}");
        let append = |text: &str| format!("[customizations.kernel]\nappend = \"{text}\"\n");
        let place = |path: &str, len: &str| {
            format!("[[customizations.filesystem]]\nmountpoint = \"{path}\"\nminsize = {len}\n")
        };
        for (text, expected) in [
            ("[customizations]\nhostname = \"x\"\n".to_owned(), "unknown field `hostname`"),
            ("[customization]\n".to_owned(), "unknown field `customization`"),
            (user("uid = 1\n"), "unknown field `uid`"),
            ("[customizations.installer]\n".to_owned(), "unknown field `installer`"),
            (user("password = \"secret\"\n"), "anna: the password is not hashed"),
            (user("key = \"x\"\n"), "anna: the key is none"),
            (user("groups = [\"A\"]\n"), "\"A\" is no name of a group"),
            (user(&user("")), "anna is there twice"),
            (user("").replace("anna", "-x"), "\"-x\" is no name"),
            (append("init=/bin/sh"), "init=/bin/sh"),
            (append("a root=/dev/sda1"), "root=/dev/sda1"),
            (append("systemd.verity=no"), "systemd.verity=no"),
            (append("roothash=0"), "roothash=0"),
            (append("gybe.slot=b"), "gybe.slot=b"),
            (append("a=$b"), "has a '$'"),
            (place("/", "1"), "/ is a slot's: use --root-size"),
            (place("/var/lib/x", "1"), "/var/lib/x lies on the state partition"),
            (place("/home", "1"), "/home cannot be a file system of its own"),
            (place("/var", "\"2 gigs\""), "\"2 gigs\" is not a number of bytes"),
            (place("/var", "1") + &place("/var", "2"), "/var is there twice"),
        ] {
            let found = Customizations::parse(&text).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}\n has no\n{expected}");
        }
    }
}
