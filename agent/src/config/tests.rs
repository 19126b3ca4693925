//! What configuration files mean, and how they are refused.

use std::fs;

use proptest::prelude::*;

use super::health::{NoChecks, Watchdog};
use super::*;

const IMAGE: &str = r#"compatible = "acme-gateway"
reference = "oci:/media/stick"
[slot.a]
root = "/dev/root_a"
boot = "/dev/boot_a"
[slot.b]
root = "/dev/root_b"
boot = "/dev/boot_b"
[bootloader]
kind = "grub"
environment = "/boot/env/grubenv"
"#;

/// A device whose image has `image`, and whose `/etc` has `local`.
fn load(image: &str, local: Option<&str>) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    for (file, text) in [(IMAGE_FILE, Some(image)), (LOCAL_FILE, local)] {
        let file = root.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        if let Some(text) = text {
            fs::write(file, text).unwrap();
        }
    }
    Config::load(&root)
}

/// The message, without the folder of the test.
fn message(image: &str, local: Option<&str>) -> String {
    let message = load(image, local).unwrap_err().to_string();
    let file = ["/usr/lib/gybe/", "/etc/gybe/"].iter().find_map(|part| message.find(part));
    message[file.unwrap_or(0)..].to_owned()
}

#[test]
fn the_image_alone_is_enough() {
    let config = load(IMAGE, None).unwrap();
    assert_eq!(config.compatible, "acme-gateway");
    assert_eq!(config.reference.as_deref(), Some("oci:/media/stick"));
    assert_eq!(config.slot(Slot::B).target("boot"), Some(Path::new("/dev/boot_b")));
    assert_eq!(config.slot(Slot::B).target("firmware"), None);
    let environment = "/boot/env/grubenv".into();
    assert_eq!(config.bootloader, Bootloader::Grub { environment });
    assert_eq!(config.tries, TRIES_DEFAULT);
}

#[test]
fn etc_overrides_key_by_key() {
    let local = r#"reference = "oci:/srv/releases:beta"
[slot.b]
root = "/dev/sdb2"
[bootloader]
kind = "uboot"
fw_env = "/etc/fw_env.config"
tries = 7
"#;
    let config = load(IMAGE, Some(local)).unwrap();
    assert_eq!(config.reference.as_deref(), Some("oci:/srv/releases:beta"));
    assert_eq!(config.b.root, Path::new("/dev/sdb2"));
    assert_eq!(config.b.boot.as_deref(), Some(Path::new("/dev/boot_b")));
    let fw_env = "/etc/fw_env.config".into();
    assert_eq!(config.bootloader, Bootloader::UbootRedundant { fw_env });
    assert_eq!(config.tries, 7);
}

#[test]
fn health_has_defaults_and_etc_overrides_them() {
    let expected = Health {
        deadline_s: 1800,
        no_checks: NoChecks::Unhealthy,
        watchdog: Watchdog::IfThere,
        watchdog_timeout_s: 60,
    };
    assert_eq!(load(IMAGE, None).unwrap().health, expected);
    let image = format!("{IMAGE}[health]\ndeadline_s = 600\nwatchdog = \"/dev/watchdog1\"\n");
    let local = "[health]\ndeadline_s = 60\nno_checks = \"healthy\"\nwatchdog_timeout_s = 5\n";
    let expected = Health {
        deadline_s: 60,
        no_checks: NoChecks::Healthy,
        watchdog: Watchdog::At("/dev/watchdog1".into()),
        watchdog_timeout_s: 5,
    };
    assert_eq!(load(&image, Some(local)).unwrap().health, expected);
    let none = load(&image, Some("[health]\nwatchdog = \"none\"\n")).unwrap();
    assert_eq!(none.health.watchdog, Watchdog::None);
}

#[test]
fn tries_are_ours_or_greenboots_or_three() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    let put = |file: &str, text: &str| {
        fs::create_dir_all(root.path(file).parent().unwrap()).unwrap();
        fs::write(root.path(file), text).unwrap();
    };
    let tries = || Config::load(&root).unwrap().tries;
    put(IMAGE_FILE, IMAGE);
    for (text, expected) in [("2", 2), ("9", 7), ("0", 1), ("x", 3), ("", 3)] {
        put("/etc/greenboot/greenboot.conf", &format!("GREENBOOT_MAX_BOOT_ATTEMPTS={text}\n"));
        assert_eq!(tries(), expected, "{text:?}");
    }
    put("/etc/greenboot/greenboot.conf", "GREENBOOT_MAX_BOOT_ATTEMPTS=2\n");
    put(IMAGE_FILE, &format!("{IMAGE}tries = 5\n"));
    assert_eq!(tries(), 5);
}

#[test]
fn slots_have_a_boot_partition_both_or_neither() {
    let without = |names: &[&str]| {
        let line =
            |line: &&str| names.iter().all(|name| !line.contains(&format!("/dev/boot_{name}")));
        IMAGE.lines().filter(line).map(|line| format!("{line}\n")).collect::<String>()
    };
    let config = load(&without(&["a", "b"]), None).unwrap();
    for slot in Slot::ALL {
        assert_eq!(config.slot(slot).target("boot"), None);
        let names: Vec<_> = config.slot(slot).all().map(|(name, _)| name).collect();
        assert_eq!(names, ["root"]);
    }
    for name in ["a", "b"] {
        let why = load(&without(&[name]), None).unwrap_err().to_string();
        assert!(why.contains(&format!("slot.{name}.boot is not set")), "{why}");
    }
}

#[test]
fn etc_cannot_widen_what_is_believed() {
    for (local, key, line) in [
        ("compatible = \"other\"\n", "compatible", 1),
        ("reference = \"oci:/x\"\nthreshold = 0\n", "threshold", 2),
        ("[[key]]\nname = \"mine\"\nfile = \"mine.pub\"\n", "key", 1),
    ] {
        let error = load(IMAGE, Some(local)).unwrap_err();
        let ConfigError::ImageOnly { key: found, line: at, .. } = error else {
            panic!("{local}: {error}")
        };
        assert_eq!((found, at), (key, line));
    }
}

#[test]
fn a_trust_file_below_etc_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    for (file, text) in [(IMAGE_FILE, IMAGE), (LOCAL_TRUST_FILE, "")] {
        fs::create_dir_all(root.path(file).parent().unwrap()).unwrap();
        fs::write(root.path(file), text).unwrap();
    }
    assert!(matches!(Config::load(&root), Err(ConfigError::LocalTrust { .. })));
}

#[test]
fn a_mistake_is_named_with_its_line() {
    for (change, to, expected) in [
        (
            "compatible",
            "compatable",
            "config.toml:1: unknown key compatable, did you mean compatible?",
        ),
        (
            "environment =",
            "enviroment =",
            "config.toml:11: unknown key bootloader.enviroment, did you mean environment?",
        ),
        ("[slot.b]", "[slot.c]", "config.toml:6: unknown key slot.c, did you mean a?"),
        ("\"grub\"", "\"lilo\"", "config.toml:10: bootloader.kind is not grub or uboot"),
        ("\"grub\"", "3", "config.toml:10: bootloader.kind is not a string but of type integer"),
        ("\"/dev/root_a\"", "\"root_a\"", "config.toml:4: slot.a.root is not an absolute path"),
        ("\"/dev/root_a\"", "\"\"", "config.toml:4: slot.a.root is empty"),
        ("\"/dev/root_a\"", "\"/dev/../x\"", "config.toml:4: slot.a.root has a .. in its path"),
        ("kind = ", "tries = 8\nkind = ", "config.toml:10: bootloader.tries is 8, not 1 to 7"),
        ("kind = ", "tries = 0\nkind = ", "config.toml:10: bootloader.tries is 0, not 1 to 7"),
        ("kind = ", "polling = 0\nkind = ", "config.toml:10: unknown key bootloader.polling"),
        ("[slot.a]", "slot = 1\n[slot.x]", "config.toml:4: "),
        (
            "[slot.a]",
            "[health]\ndeadline = 9\n[slot.a]",
            "config.toml:4: unknown key health.deadline, did you mean deadline_s?",
        ),
        (
            "[slot.a]",
            "[health]\ndeadline_s = 86401\n[slot.a]",
            "config.toml:4: health.deadline_s is 86401, not 1 to 86400",
        ),
        (
            "[slot.a]",
            "[health]\nno_checks = \"ok\"\n[slot.a]",
            "config.toml:4: health.no_checks is not unhealthy or healthy",
        ),
        (
            "[slot.a]",
            "[health]\nwatchdog = \"watchdog0\"\n[slot.a]",
            "config.toml:4: health.watchdog is not an absolute path",
        ),
    ] {
        let found = message(&IMAGE.replace(change, to), None);
        let expected = format!("/usr/lib/gybe/{expected}");
        assert!(found.starts_with(&expected), "{found}\n is not\n{expected}");
    }
    assert!(
        message(IMAGE, Some("polling = 1")).starts_with("/etc/gybe/config.toml:1: unknown key")
    );
}

#[test]
fn what_has_no_default_must_be_set() {
    for key in ["compatible = ", "root = \"/dev/root_b\"", "boot = \"/dev/boot_a\"", "kind = "] {
        let without: Vec<&str> = IMAGE.lines().filter(|line| !line.starts_with(key)).collect();
        let error = load(&without.join("\n"), None).unwrap_err();
        assert!(matches!(error, ConfigError::Unset { .. }), "{key}: {error}");
    }
}

#[test]
fn a_boot_loader_has_exactly_one_place() {
    let without = IMAGE.replace("environment = \"/boot/env/grubenv\"\n", "");
    assert!(matches!(load(&without, None), Err(ConfigError::GrubPlace)));
    let uboot = without.replace("grub", "uboot");
    assert!(matches!(load(&uboot, None), Err(ConfigError::UbootPlace)));
    let both = format!("{uboot}file = \"/boot/gybe.env\"\nfw_env = \"/etc/fw_env.config\"\n");
    assert!(matches!(load(&both, None), Err(ConfigError::UbootPlace)));
    let one = format!("{uboot}file = \"/boot/gybe.env\"\n");
    let file = "/boot/gybe.env".into();
    assert_eq!(load(&one, None).unwrap().bootloader, Bootloader::UbootFile { file });
}

#[test]
fn two_targets_cannot_share_a_partition() {
    let shared = IMAGE.replace("/dev/root_b", "/dev/boot_a");
    assert!(matches!(load(&shared, None), Err(ConfigError::SamePartition { .. })));
}

#[test]
fn a_long_file_is_refused_with_both_numbers() {
    let long = format!("#{}", "x".repeat(64 * 1024));
    assert_eq!(message(&long, None), "/usr/lib/gybe/config.toml: is 65537 bytes, limit 65536");
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,200}") {
        let _ = Layer::parse(Path::new("config.toml"), &text);
    }

    #[test]
    fn a_mistyped_configuration_is_one_or_an_error(at in 0..IMAGE.len(), byte in 0x20_u8..0x7f) {
        let mut text = IMAGE.as_bytes().to_vec();
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        let file = Path::new("config.toml");
        match Layer::parse(file, &text).and_then(|layer| layer.finish(file)) {
            Ok(config) => prop_assert!((TRIES_MIN..=TRIES_MAX).contains(&config.tries)),
            Err(error) => prop_assert!(error.to_string().starts_with("configuration: ")),
        }
    }
}

#[test]
fn registries_are_reached_as_both_files_say() {
    use std::time::Duration;
    let image = format!(
        "{IMAGE}[registry]\ncredentials = [\"/usr/lib/gybe/auth.json\"]\nmax_bytes = 5000\n\
         token_hosts = [\"gitlab.example\"]\nconnect_s = 3\nrate_min = 0\n"
    );
    let local = "[registry]\ncredentials = [\"/etc/a.json\", \"/etc/b.json\"]\ntries = 2\n";
    let registry = load(&image, Some(local)).unwrap().registry;
    let root = Root::below("/d".into());
    let access = registry.access(&root, None);
    // One's own before the usual ones, and none outside of the device.
    let first: Vec<_> =
        access.credentials.iter().take(3).map(|path| path.to_str().unwrap()).collect();
    assert_eq!(first, ["/d/etc/a.json", "/d/etc/b.json", "/d/etc/gybe/auth.json"]);
    assert_eq!(access.registries, Path::new("/d/etc/containers/registries.conf"));
    assert_eq!(access.token_hosts, ["gitlab.example"]);
    assert_eq!((access.limits.connect, access.limits.tries), (Duration::from_secs(3), 2));
    assert_eq!((access.limits.stall, access.limits.rate_min), (Duration::from_secs(60), 0));
    // A command may allow less, not more.
    for (asked, allowed) in [(None, 5000), (Some(9000), 5000), (Some(100), 100)] {
        assert_eq!(registry.access(&root, asked).max_bytes, Some(allowed));
    }
    assert_eq!(load(IMAGE, None).unwrap().registry.access(&root, None).max_bytes, None);
    for (text, expected) in [
        ("max_bytes = 0", "config.toml:13: registry.max_bytes is 0, not 1 to "),
        ("credentials = [\"a\"]", "config.toml:13: registry.credentials has no absolute path"),
        ("credentials = \"/a\"", "config.toml:13: registry.credentials is not an array of strings"),
        ("token_hosts = [1]", "config.toml:13: registry.token_hosts is not an array of strings"),
        ("connect_s = 604801", "config.toml:13: registry.connect_s is 604801, not 1 to 604800"),
        ("stal_s = 1", "config.toml:13: unknown key registry.stal_s"),
    ] {
        let found = message(&format!("{IMAGE}[registry]\n{text}\n"), None);
        assert!(found.contains(expected), "{found}\n has no\n{expected}");
    }
}

#[test]
fn how_releases_are_pulled_may_be_said_in_etc_key_by_key() {
    use crate::config::pull::{Download, INTERVAL_S_DEFAULT, RebootPolicy};
    let image = format!(
        "{IMAGE}[pull]\nreboot = \"now\"\nwindows = [\"02:00-04:00\"]\nbudget_bytes = 500_000_000\n\
         [report]\nurl = \"https://fleet.example/gybe\"\n"
    );
    let local =
        "[pull]\nreboot = \"window\"\nchannel = \"beta\"\n[metrics]\nfile = \"/run/x.prom\"\n";
    let config = load(&image, Some(local)).unwrap();
    assert_eq!(config.pull.reboot, RebootPolicy::Window);
    assert_eq!(config.pull.download, Download::Any);
    assert_eq!(config.pull.interval_s, INTERVAL_S_DEFAULT);
    assert_eq!(config.pull.budget_bytes, Some(500_000_000));
    assert_eq!(config.pull.channel.as_deref(), Some("beta"));
    assert!(!config.pull.windows.is_empty());
    assert_eq!(config.telling.url.as_deref(), Some("https://fleet.example/gybe"));
    assert_eq!(config.telling.metrics.as_deref(), Some(Path::new("/run/x.prom")));
    // An empty list takes the image's windows away.
    let config = load(&image, Some("[pull]\nwindows = []\n")).unwrap();
    assert!(config.pull.windows.is_empty());
}
