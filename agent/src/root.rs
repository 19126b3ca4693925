//! Where the device's own files lie: at `/`, or below the folder that `--root` names.

use std::path::{Component, Path, PathBuf};

/// The folder that stands for `/`. Everything of the device lies below it: configuration, device
/// paths, boot environment, state. What the user names as a source does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root(Option<PathBuf>);

impl Root {
    /// The machine itself.
    #[must_use]
    pub const fn host() -> Self {
        Self(None)
    }

    /// A device whose files all lie below `folder`.
    #[must_use]
    pub const fn below(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// Whether this is the machine itself, with real devices and a real kernel.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.0.is_none()
    }

    /// The folder, where it is not `/`.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// Where `path`, absolute as the device sees it, really lies. A `..` does not lead out.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let Some(root) = &self.0 else { return path.to_owned() };
        let mut below = root.clone();
        below.extend(path.components().filter(|part| matches!(part, Component::Normal(_))));
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_path_stays_below_the_root() {
        let root = Root::below("/tmp/device".into());
        assert_eq!(root.path("/dev/root_a"), Path::new("/tmp/device/dev/root_a"));
        assert_eq!(root.path("/dev/../../etc/x"), Path::new("/tmp/device/dev/etc/x"));
        assert_eq!(Root::host().path("/dev/root_a"), Path::new("/dev/root_a"));
    }
}
