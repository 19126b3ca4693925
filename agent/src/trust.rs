//! Who is trusted: `/usr/lib/gybe/trust.toml` and the keys beside it.
//!
//! Both lie in the verified image and nowhere else; see [`crate::config`].

use std::path::{Path, PathBuf};

use gybe_core::trust::{Device, KEYS_MAX, KeyError, KeySet, Policy, PolicyError, PublicKey};

use crate::config::{DocumentError, IMAGE_FOLDER, document};
use crate::root::Root;

/// The file that says which keys count.
pub const FILE: &str = "/usr/lib/gybe/trust.toml";

const TOP: [&str; 2] = ["threshold", "key"];
const KEY: [&str; 2] = ["name", "file"];
/// How many keys must sign, unless the file says otherwise.
const THRESHOLD_DEFAULT: u8 = 1;
const THRESHOLD_MIN: u8 = 1;

/// The keys that count, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    keys: KeySet,
    threshold: usize,
}

impl Trust {
    /// Reads the file and the keys it names.
    ///
    /// # Errors
    /// [`TrustError`] names the file or the key.
    pub fn load(root: &Root) -> Result<Self, TrustError> {
        let path = root.path(FILE);
        let Some(text) = document::read_small(&path)? else {
            return Err(TrustError::NoFile { path });
        };
        let document = document::Document::parse(&path, &text)?;
        let top = document.top();
        top.allow(&TOP)?;
        let keys_max = u8::try_from(KEYS_MAX).unwrap_or(u8::MAX);
        let threshold = top.number("threshold", THRESHOLD_MIN, keys_max)?;
        let mut keys = KeySet::new();
        for section in top.sections("key")? {
            section.allow(&KEY)?;
            let line = section.line();
            let missing = |key| section.value_error(key, line, "is not set");
            let name = section.text("name")?.ok_or_else(|| missing("name"))?.value;
            let file = section.text("file")?.ok_or_else(|| missing("file"))?;
            if Path::new(&file.value).file_name() != Some(file.value.as_ref()) {
                let problem = "is not the name of a file beside trust.toml";
                return Err(section.value_error("file", file.line, problem).into());
            }
            let path = root.path(Path::new(IMAGE_FOLDER).join(&file.value));
            let Some(pem) = document::read_small(&path)? else {
                return Err(TrustError::NoFile { path });
            };
            let key = PublicKey::from_pem(&pem);
            let key = key.map_err(|cause| TrustError::Key { path: path.clone(), cause })?;
            keys.push(&name, key).map_err(|cause| TrustError::Key { path, cause })?;
        }
        let threshold = usize::from(threshold.unwrap_or(THRESHOLD_DEFAULT));
        let trust = Self { keys, threshold };
        // Whether the numbers make sense does not depend on the device.
        trust.policy(Device { compatible: "", architecture: "", floor: 0 })?;
        Ok(trust)
    }

    /// What is asked of a release that is meant for `device`.
    ///
    /// # Errors
    /// When the threshold cannot be reached, which [`Trust::load`] has ruled out.
    pub fn policy<'p>(&'p self, device: Device<'p>) -> Result<Policy<'p>, TrustError> {
        Policy::new(&self.keys, self.threshold, device).map_err(TrustError::Policy)
    }
}

/// Why it is not known who is trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file is wrong by itself.
    #[error("trust: {0}")]
    Document(#[from] DocumentError),
    /// A file is missing.
    #[error("trust: {} does not exist", path.display())]
    NoFile {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A key cannot be used.
    #[error("trust: {}: {cause}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeyError,
    },
    /// The threshold cannot be reached.
    #[error("trust: {0}")]
    Policy(PolicyError),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Made with `openssl genpkey -algorithm ed25519 | openssl pkey -pubout`, for this test only.
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAfEB9E7LIYerB7pvaSzG8ld5cvh/nLO2C8JCpYv3YCx4=\n\
        -----END PUBLIC KEY-----\n";

    fn load(text: &str) -> Result<Trust, TrustError> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        fs::create_dir_all(root.path(IMAGE_FOLDER)).unwrap();
        fs::write(root.path(FILE), text).unwrap();
        fs::write(root.path(IMAGE_FOLDER).join("release.pub"), ED25519).unwrap();
        fs::write(root.path(IMAGE_FOLDER).join("broken.pub"), "no key").unwrap();
        Trust::load(&root)
    }

    const RELEASE: &str = "[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";

    #[test]
    fn one_key_and_no_threshold_is_one_of_one() {
        assert_eq!(load(RELEASE).unwrap().threshold, 1);
    }

    #[test]
    fn what_would_trust_nobody_or_everybody_is_refused() {
        for (text, expected) in [
            ("", "trust: threshold is 1, but there are 0 keys"),
            (&format!("threshold = 2\n{RELEASE}"), "trust: threshold is 2, but there are 1 keys"),
            (&format!("threshold = 0\n{RELEASE}"), "trust.toml:1: threshold is 0, not 1 to 8"),
            (&format!("{RELEASE}{RELEASE}"), "release.pub: "),
            (&RELEASE.replace("release.pub", "../x"), "trust.toml:3: key.file is not the name"),
            (&RELEASE.replace("release.pub", "none.pub"), "none.pub does not exist"),
            (&RELEASE.replace("release.pub", "broken.pub"), "broken.pub: "),
            (&RELEASE.replace("file", "path"), "trust.toml:3: unknown key key.path"),
            ("[[key]]\nname = \"release\"\n", "trust.toml:1: key.file is not set"),
        ] {
            let found = load(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}\n has no\n{expected}");
        }
    }
}
