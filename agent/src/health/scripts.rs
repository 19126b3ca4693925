//! Which scripts there are: greenboot's folders, with the rules of both its versions put together.
//!
//! Run is what ends in `.sh`, executable or not, and whatever else is executable: the shell version
//! of greenboot takes the first, greenboot-rs both. In each folder they run in the order of their
//! names; the image's own folder comes before `/etc`'s.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::conf::Conf;
use crate::root::Root;

/// Where scripts lie, the image's own first.
const BASES: [&str; 2] = ["/usr/lib/greenboot", "/etc/greenboot"];
/// The most scripts of a folder.
const SCRIPTS_MAX: usize = 256;

/// What scripts are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Must pass.
    Required,
    /// Should pass.
    Wanted,
    /// Run when all is well.
    Green,
    /// Run when it is not.
    Red,
}

impl Kind {
    /// The folder below a base.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Required => "check/required.d",
            Self::Wanted => "check/wanted.d",
            Self::Green => "green.d",
            Self::Red => "red.d",
        }
    }
}

/// One script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its file name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// How it is run.
    pub by: By,
    /// Whether the configuration says not to run it.
    pub is_disabled: bool,
}

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By bash, or by sh where there is none.
    Shell,
    /// By itself.
    Itself,
}

/// The scripts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripts {
    /// In the order in which they run.
    pub scripts: Vec<Script>,
    /// Whether there is any folder for them.
    pub has_folder: bool,
}

/// Finds the scripts of `kind` below `root`.
#[must_use]
pub fn find(root: &Root, kind: Kind, conf: &Conf) -> Scripts {
    let mut found = Scripts { scripts: Vec::new(), has_folder: false };
    for base in BASES {
        let Ok(entries) = fs::read_dir(root.path(base).join(kind.folder())) else { continue };
        found.has_folder = true;
        let mut names: Vec<_> =
            entries.filter_map(Result::ok).map(|entry| (entry.file_name(), entry.path())).collect();
        names.sort();
        let scripts = names.into_iter().filter_map(|(name, path)| script(name, path, conf));
        found.scripts.extend(scripts.take(SCRIPTS_MAX));
    }
    found
}

fn script(name: OsString, path: PathBuf, conf: &Conf) -> Option<Script> {
    let status = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let by = if name.as_encoded_bytes().ends_with(b".sh") {
        By::Shell
    } else if status.permissions().mode() & 0o111 != 0 {
        By::Itself
    } else {
        return None;
    };
    let name = name.to_string_lossy().into_owned();
    let is_disabled = conf.disabled.contains(&name);
    Some(Script { name, path, by, is_disabled })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn scripts_of_both_versions_run_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        let conf = Conf { disabled: vec!["30_off.sh".to_owned()], attempts_max: None };
        assert!(!find(&root, Kind::Required, &conf).has_folder);
        let put = |path: &str, mode| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (path, mode) in [
            ("usr/lib/greenboot/check/required.d/20_b.sh", 0o644),
            ("usr/lib/greenboot/check/required.d/10_a", 0o755),
            ("usr/lib/greenboot/check/required.d/README", 0o644),
            ("usr/lib/greenboot/check/required.d/sub.sh/x", 0o644),
            ("etc/greenboot/check/required.d/00_first.sh", 0o755),
            ("etc/greenboot/check/required.d/30_off.sh", 0o755),
            ("etc/greenboot/check/wanted.d/00_w.sh", 0o755),
        ] {
            put(path, mode);
        }
        symlink("10_a", folder.path().join("usr/lib/greenboot/check/required.d/15_link")).unwrap();
        symlink("gone", folder.path().join("usr/lib/greenboot/check/required.d/16_gone.sh"))
            .unwrap();
        let found = find(&root, Kind::Required, &conf);
        let shown: Vec<_> = found
            .scripts
            .iter()
            .map(|script| (script.name.as_str(), script.by, script.is_disabled))
            .collect();
        let expected = [
            ("10_a", By::Itself, false),
            ("15_link", By::Itself, false),
            ("20_b.sh", By::Shell, false),
            ("00_first.sh", By::Shell, false),
            ("30_off.sh", By::Shell, true),
        ];
        assert_eq!(shown, expected);
        assert!(found.has_folder);
        assert_eq!(find(&root, Kind::Green, &conf), Scripts { scripts: vec![], has_folder: false });
    }
}
