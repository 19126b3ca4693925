//! What tells this device from all others, and is the same over reboots and updates.
//!
//! It is never shown: `machine-id(5)` asks that only hashes of it leave the machine, each for one use.

use std::fs;

use gybe_core::digest::{Digest, Hasher};

use crate::config::Pull;
use crate::device::this_boot::ThisBoot;
use crate::root::Root;

const MACHINE_ID: &str = "/etc/machine-id";
const MACHINE_ID_LEN: usize = 32;
/// One use each.
const DELAY: &[u8] = b"gybe-pull-delay-v1\0";
const NAME: &[u8] = b"gybe-device-v1\0";
/// How many digits of a hash name a device.
const NAME_LEN: usize = 32;

/// The seed of the device below `root`: `pull.seed`, or its machine id. A system that has none, or not
/// yet, is not told from others.
#[must_use]
pub fn seed(root: &Root, pull: &Pull) -> Option<String> {
    if let Some(seed) = &pull.seed {
        return Some(seed.clone());
    }
    let text = fs::read_to_string(root.path(MACHINE_ID)).ok()?;
    let id = text.trim();
    let is_whole = id.len() == MACHINE_ID_LEN && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole.then(|| id.to_ascii_lowercase())
}

/// The device's own number, by which a fleet is spread over time. Without a seed it is another in each
/// boot, which spreads as well.
#[must_use]
pub fn spread(root: &Root, pull: &Pull, boot: &ThisBoot) -> u64 {
    let seed = seed(root, pull).or_else(|| boot.id.clone()).unwrap_or_default();
    let digest = hashed(DELAY, &seed);
    u64::from_be_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// What the device is called in reports, unless the configuration says otherwise.
#[must_use]
pub fn name(root: &Root, pull: &Pull) -> Option<String> {
    let mut name = hashed(NAME, &seed(root, pull)?).hex().to_string();
    name.truncate(NAME_LEN);
    Some(name)
}

fn hashed(domain: &[u8], seed: &str) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(domain);
    hasher.update(seed.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_device_is_told_from_others_and_its_machine_id_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        for folder in ["etc", "usr/lib/gybe"] {
            fs::create_dir_all(root.path("/").join(folder)).unwrap();
        }
        let config = "compatible = \"x\"\n\
                      [slot.a]\nroot = \"/a\"\n[slot.b]\nroot = \"/b\"\n\
                      [bootloader]\nkind = \"grub\"\nenvironment = \"/e\"\n[pull]\n";
        let pull = |more: &str| {
            fs::write(root.path("/usr/lib/gybe/config.toml"), format!("{config}{more}")).unwrap();
            Config::load(&root).unwrap().pull
        };
        let id = "0123456789abcdef0123456789abcdef";
        for (text, expected) in [
            (format!("{id}\n"), Some(id)),
            (id.to_uppercase(), Some(id)),
            ("uninitialized\n".to_owned(), None),
            (String::new(), None),
        ] {
            fs::write(root.path(MACHINE_ID), text).unwrap();
            assert_eq!(seed(&root, &pull("")).as_deref(), expected);
        }
        assert_eq!(name(&root, &pull("")), None);
        assert_eq!(seed(&root, &pull("seed = \"till 7\"")).as_deref(), Some("till 7"));
        let boot = ThisBoot::default();
        let [one, two] = ["seed = \"1\"", "seed = \"2\""].map(pull);
        assert_ne!(spread(&root, &one, &boot), spread(&root, &two, &boot));
        assert_ne!(name(&root, &one), name(&root, &two));
        fs::write(root.path(MACHINE_ID), id).unwrap();
        let shown = name(&root, &pull("")).unwrap();
        assert!(shown.len() == NAME_LEN && shown != id, "{shown}");
    }
}
