//! Changes in `/etc` that cannot stay beside a release keep it from being armed.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use bench::{Bench, Device, REFUSED, Small};

/// What was changed while slot A ran.
const CHANGES: &str = "var/lib/gybe/etc/a/upper";

#[test]
fn a_release_that_would_hide_what_was_changed_in_etc_is_not_armed() {
    let bench = Bench::new("etc-conflicts");
    let seal = |name: &str, number: u32, write: &dyn Fn(&std::path::Path)| {
        let small = Small::new(number);
        let stage = bench.path(&format!("{name}-stage"));
        small.write(&stage);
        write(&stage.join("etc"));
        let image = bench::image(&bench, name, &stage, small.architecture);
        bench.seal(&image, &format!("{name}-release"), number);
        bench.source(&format!("{name}-release"))
    };
    let first = seal("v1", 1, &|etc| {
        fs::write(etc.join("was-file"), "old").unwrap();
        fs::write(etc.join("stays-file"), "old").unwrap();
        fs::create_dir_all(etc.join("deep/was-folder")).unwrap();
        for number in 0..300 {
            fs::write(etc.join(format!("deep/name-{number}")), "").unwrap();
        }
    });
    let second = seal("v2", 2, &|etc| {
        fs::create_dir_all(etc.join("was-file")).unwrap();
        fs::write(etc.join("stays-file"), "new").unwrap();
        fs::create_dir_all(etc.join("deep")).unwrap();
        fs::write(etc.join("deep/was-folder"), "new").unwrap();
        fs::create_dir_all(etc.join("added.d")).unwrap();
    });
    let device = Device::with(&bench, "device", &first);
    for path in ["was-file", "stays-file/x", "deep/was-folder/x", "deep/name-7", "added.d"] {
        device.write(&format!("{CHANGES}/{path}"), "local");
    }
    let refused = device.gybe(&["install", &second]);
    let refused = refused.ended(REFUSED, &["Merge conflicts found in etc: ", "hint: move them"]);
    let named = "/etc/added.d /etc/deep/was-folder /etc/was-file; each";
    assert!(refused.stderr.contains(named), "{refused:#?}");
    assert_eq!(device.status()["b"]["state"], "proven");
    assert_eq!(device.status()["next_boot"], "a");

    // What is out of the way is, and the slot is armed without fetching anything.
    fs::remove_file(device.path(&format!("{CHANGES}/was-file"))).unwrap();
    fs::remove_file(device.path(&format!("{CHANGES}/added.d"))).unwrap();
    fs::remove_dir_all(device.path(&format!("{CHANGES}/deep/was-folder"))).unwrap();
    let report = device.gybe(&["install", &second, "--json"]).done().json();
    assert_eq!(report["cost"], serde_json::Value::Null);
    assert_eq!(device.status()["b"]["state"], "trial");
}
