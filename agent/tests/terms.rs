//! What signatures say beside the digest, and what the device's own configuration may take away.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;

use std::fs;

use ed25519_dalek::SigningKey;
use fixture::{Device, Recipe, Release, config, pem, trusted_key};
use gybe_agent::config::Bootloader;
use gybe_agent::device::environment::AnyEnvironment;
use gybe_agent::root::Root;
use gybe_core::boot::{BootEnv as _, BootState};
use gybe_core::slot::Slot;
use serde_json::{Value, json};

const REFUSED: i32 = 3;
const NOTHING_NEW: i32 = 4;

/// Keys that devices here may trust beside the first.
fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Installs a release in `slot`, boots it and keeps it.
fn arrive(device: &Device, release: &Release, slot: &str) {
    device.gybe(&["install", &release.source()]).done();
    device.boots(slot, release, true);
    device.gybe(&["commit"]).done();
}

/// A release of this number, whose rollback index it is too.
fn numbered(version: &'static str, number: u64) -> Recipe {
    Recipe { rollback_index: number, ..Recipe::new(version, number).changed(1) }
}

/// Two releases, the first of which runs.
fn pair() -> (Device, Release) {
    let device = Device::with(&numbered("1.0.0", 1).seal());
    (device, numbered("2.0.0", 2).seal())
}

/// Lets the image say who is trusted: one key each, by name.
fn trust(device: &Device, head: &str, keys: &[(&str, &SigningKey)]) {
    let mut text = format!("{head}\n");
    for (name, key) in keys {
        text.push_str(&format!("[[key]]\nname = \"{name}\"\nfile = \"{name}.pub\"\n"));
        device.write(&format!("usr/lib/gybe/{name}.pub"), &pem(key));
    }
    device.write("usr/lib/gybe/trust.toml", &text);
}

/// Lets the device's own configuration say something.
fn local(device: &Device, text: &str) {
    device.write("etc/gybe/config.toml", text);
}

#[test]
fn the_image_says_which_channels_there_are_to_follow() {
    let (device, two) = pair();
    local(&device, "[pull]\nchannel = \"beta\"\n");
    trust(&device, "channels = [\"stable\"]", &[("release", &trusted_key())]);
    let why = "the image has no channel beta to follow";
    device.gybe(&["install", &two.source()]).ended(REFUSED, why);
    trust(&device, "channels = [\"stable\", \"beta\"]", &[("release", &trusted_key())]);
    device.gybe(&["verify", &two.source()]).done();
    trust(&device, "", &[("release", &trusted_key())]);
    device.gybe(&["install", &two.source()]).done();
}

#[test]
fn a_release_that_needs_another_before_it_says_which() {
    let (device, two) = pair();
    let needs = |index: u64, issued: u64| json!({ "dev.gybe.not-before-index": index, "dev.gybe.issued": issued.to_string() });
    two.sign_beside(&trusted_key(), &needs(2, 1));
    device
        .gybe(&["install", &two.source()])
        .ended(REFUSED, "rollback index of what runs is 1, the release needs 2");
    // Signed again, it is the later word that counts.
    two.sign_beside(&trusted_key(), &needs(1, 2));
    device.gybe(&["install", &two.source()]).done();
}

#[test]
fn a_release_expires_where_the_clock_can_be_trusted() {
    let (device, two) = pair();
    two.sign_beside(&trusted_key(), &json!({ "dev.gybe.expires": 1_700_000_000 }));
    device.gybe(&["verify", &two.source()]).done();
    device.write("run/systemd/timesync/synchronized", "");
    let expired = "release expired at 1700000000";
    device.gybe(&["install", &two.source()]).ended(REFUSED, expired);
    // A clock that is behind what was signed is wrong, whatever it thinks of itself.
    two.sign_beside(
        &trusted_key(),
        &json!({ "dev.gybe.expires": 1_700_000_000, "dev.gybe.issued": "99999999999" }),
    );
    device.gybe(&["install", &two.source()]).done();
}

#[test]
fn what_a_signature_says_and_cannot_be_read_refuses_the_release() {
    for (annotations, why) in [
        (json!({ "dev.gybe.expires": "soon" }), "annotation dev.gybe.expires is not an integer"),
        (json!({ "dev.gybe.expires": {} }), "is neither a text nor a number"),
        (json!({ "dev.gybe.downgrade-sequence": "1" }), "a downgrade needs"),
    ] {
        let (device, two) = pair();
        two.sign_beside(&trusted_key(), &annotations);
        device.gybe(&["install", &two.source()]).ended(REFUSED, why);
        // By a key that does not count it may say what it likes.
        let (device, two) = pair();
        two.sign_beside(&key(9), &annotations);
        device.gybe(&["install", &two.source()]).done();
    }
}

/// The annotations of a downgrade.
fn downgrade(from: &Release, to: &Release, sequence: u64) -> Value {
    json!({
        "dev.gybe.downgrade-from": from.digest.to_string(),
        "dev.gybe.downgrade-to": to.digest.to_string(),
        "dev.gybe.downgrade-sequence": sequence.to_string(),
        "dev.gybe.issued": (1000 + sequence).to_string(),
    })
}

#[test]
fn an_emergency_downgrade_is_made_once_also_when_the_state_is_lost() {
    let one = numbered("1.0.0", 1).seal();
    let two = numbered("2.0.0", 2).seal();
    let three = numbered("3.0.0", 3).seal();
    for release in [&one, &two, &three] {
        release.sign_beside(&key(8), &Value::Null);
    }
    let device = Device::with(&one);
    arrive(&device, &two, "b");
    arrive(&device, &three, "a");
    local(&device, &format!("reference = \"{}\"\n", one.source()));
    let below = "rollback index of the release is 1, the floor is 2";
    device.gybe(&["upgrade"]).ended(REFUSED, below);
    device.gybe(&["install", &one.source()]).ended(REFUSED, below);
    // From another release than the one that runs it is none.
    one.sign_beside(&trusted_key(), &downgrade(&two, &one, 5));
    device.gybe(&["upgrade"]).ended(REFUSED, below);
    // By one of two that must sign neither.
    one.sign_beside(&trusted_key(), &downgrade(&three, &one, 6));
    trust(&device, "threshold = 2", &[("release", &trusted_key()), ("second", &key(8))]);
    device.gybe(&["install", &one.source()]).ended(REFUSED, "rollback index of the release is 1");
    trust(&device, "", &[("release", &trusted_key())]);

    // It is taken without anyone asking, though it is older.
    device.gybe(&["check"]).done();
    device.gybe(&["upgrade"]).done();
    device.boots("b", &one, true);
    // A trial that falls back may be made again; one that is kept may not.
    assert_eq!(state(&device)["downgraded"], 0);
    device.gybe(&["commit"]).done();
    assert_eq!(state(&device)["downgraded"], 6);

    // Somebody brings the bad release back, and shows the same signatures again.
    arrive(&device, &three, "a");
    for lost in [false, true] {
        if lost {
            fs::remove_dir_all(device.path("var/lib/gybe")).unwrap();
        }
        let ended = device.gybe(&["upgrade"]).done();
        assert!(ended.stdout.contains("No update available: its sequence 1"), "{ended:?}");
        device.gybe(&["check"]).ended(NOTHING_NEW, "");
    }
    one.sign_beside(&trusted_key(), &downgrade(&three, &one, 7));
    device.gybe(&["upgrade"]).done();
    assert_eq!(device.status()["b"]["state"], "trial");
}

/// What the device remembers.
fn state(device: &Device) -> Value {
    let text = fs::read_to_string(device.path("var/lib/gybe/state")).unwrap();
    // Both areas: the one with the higher sequence is in force.
    let areas = text.split("gybe-state 1 ").filter(|area| !area.trim().is_empty());
    let newest =
        areas.max_by_key(|area| area.split(' ').next().unwrap().parse::<u64>().unwrap_or(0));
    serde_json::from_str(newest.unwrap().lines().nth(1).unwrap()).unwrap()
}

#[test]
fn etc_may_trust_less_and_never_more() {
    let (device, two) = pair();
    trust(&device, "threshold = 1", &[("release", &trusted_key()), ("second", &key(8))]);
    let source = two.source();
    // As the image says: either key is enough.
    device.gybe(&["verify", &source]).done();
    for (text, why) in [
        ("[restrict]\nthreshold = 2\n", "1 of 2 required signatures"),
        ("[restrict]\ndistrust = [\"release\"]\n", "0 of 1 required signatures"),
        ("[restrict]\nrollback_index = 3\n", "rollback index of the release is 2, the floor is 3"),
        (
            "[restrict]\ndistrust = [\"release\", \"second\"]\n",
            "trust: threshold is 1, but there are 0 keys",
        ),
    ] {
        local(&device, text);
        for verb in ["verify", "plan", "install"] {
            device.gybe(&[verb, &source]).ended(REFUSED, why);
        }
        // What is here already stays, whatever is said about what comes.
        device.gybe(&["verify", "--slots"]).done();
        device.gybe(&["commit"]).done();
    }
    two.sign_beside(&key(8), &Value::Null);
    local(&device, "[restrict]\nthreshold = 2\n");
    device.gybe(&["verify", &source]).done();

    // The image asks for two; nothing in /etc makes it one, or another.
    let (device, two) = pair();
    trust(&device, "threshold = 2", &[("release", &trusted_key()), ("second", &key(8))]);
    for (text, code, why) in [
        ("[restrict]\nthreshold = 1\n", REFUSED, "1 of 2 required signatures"),
        ("[restrict]\nthreshold = 0\n", 1, "restrict.threshold is 0, not 1 to 8"),
        ("[restrict]\ntrust = [\"third\"]\n", 1, "unknown key restrict.trust"),
        ("threshold = 1\n", 1, "threshold may only be set in the verified image"),
        ("[[key]]\nname = \"third\"\n", 1, "key may only be set in the verified image"),
        ("[[identity]]\nname = \"ci\"\n", 1, "identity may only be set in the verified image"),
        ("docker_reference = \"ignore\"\n", 1, "docker_reference may only be set"),
        ("channels = [\"beta\"]\n", 1, "channels may only be set in the verified image"),
        ("trusted_root = \"root.json\"\n", 1, "trusted_root may only be set"),
        ("repository = \"example\"\n", 1, "repository may only be set"),
    ] {
        local(&device, text);
        device.gybe(&["install", &two.source()]).ended(code, why);
    }

    // What the image restricts is not taken back either.
    let (device, two) = pair();
    let image = format!("{}[restrict]\nrollback_index = 3\n", config("acme-gateway"));
    device.write("usr/lib/gybe/config.toml", &image);
    local(&device, "[restrict]\nrollback_index = 0\ndistrust = [\"stranger\"]\n");
    device.gybe(&["install", &two.source()]).ended(REFUSED, "the floor is 3");
}

#[test]
fn a_key_of_the_next_image_counts_when_it_is_kept_and_a_revoked_one_no_more() {
    let (old, new) = (trusted_key(), key(8));
    let device = Device::with(&numbered("1.0.0", 1).seal());
    // The release that brings the new key is signed with both.
    let two = numbered("2.0.0", 2).seal();
    two.sign_beside(&new, &Value::Null);
    let by_new = Recipe { key: new.clone(), ..numbered("3.0.0", 3) }.seal();
    let by_old = numbered("3.1.0", 4).seal();
    device.gybe(&["install", &by_new.source()]).ended(REFUSED, "not made by a trusted key");
    device.gybe(&["install", &two.source()]).done();

    // On trial the new image runs, with its keys, and nothing is installed by either.
    device.boots("b", &two, true);
    trust(&device, "", &[("release-2", &new)]);
    for release in [&by_new, &by_old] {
        device.gybe(&["install", &release.source()]).ended(1, "gybe commit, or give it up");
    }
    // It falls back: the old image runs, and nothing has changed.
    device.gybe(&["rollback"]).done();
    device.boots("a", &numbered("1.0.0", 1).seal(), false);
    trust(&device, "", &[("release", &old)]);
    device.gybe(&["verify", &by_old.source()]).done();
    device.gybe(&["verify", &by_new.source()]).ended(REFUSED, "not made by a trusted key");

    // It is kept: the old key is no longer one.
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    trust(&device, "", &[("release-2", &new)]);
    device.gybe(&["commit"]).done();
    device.gybe(&["install", &by_old.source()]).ended(REFUSED, "not made by a trusted key");
    device.gybe(&["install", &by_new.source()]).done();
    // What lies in the other slot was signed with it, and says nothing about the floor any more.
    assert_eq!(device.status()["b"]["signers"][0]["name"], "release-2");
}

#[test]
fn a_release_that_its_own_keys_do_not_accept_is_not_kept() {
    let device = Device::with(&numbered("1.0.0", 1).seal());
    let two = numbered("2.0.0", 2).seal();
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    // It brings a new key only, and was signed with the old one only.
    trust(&device, "", &[("release-2", &key(8))]);
    device.gybe(&["commit"]).ended(1, "slot b is not committed: 0 of 1 required signatures");
    assert_eq!(device.status()["b"]["state"], "trial");
}

#[test]
fn a_forged_environment_moves_neither_floor_nor_trust() {
    let one = numbered("5.0.0", 5).seal();
    let device = Device::with(&one);
    let old = numbered("4.0.0", 4).seal();
    let below = "rollback index of the release is 4, the floor is 5";
    device.gybe(&["install", &old.source()]).ended(REFUSED, below);
    // Somebody writes that both slots are good, and that the other one, which is empty, is preferred.
    let path = "/boot/env/grubenv".into();
    let root = Root::below(device.root().to_owned());
    let mut environment = AnyEnvironment::open(&root, &Bootloader::Grub { environment: path });
    let environment = environment.as_mut().unwrap();
    let forged = BootState::factory(Some(Slot::A)).arm(Slot::B, 1).unwrap();
    environment.store(&forged.commit(Slot::B).unwrap()).unwrap();
    assert_eq!(device.status()["b"]["state"], "good");
    assert_eq!(device.status()["b"]["signers"], json!([]));
    device.gybe(&["install", &old.source()]).ended(REFUSED, below);
    device.gybe(&["verify", "--slots"]).ended(1, "");
    let stranger = Recipe { key: key(9), ..numbered("6.0.0", 6) }.seal();
    device.gybe(&["install", &stranger.source()]).ended(REFUSED, "not made by a trusted key");
}

#[test]
fn a_release_is_asked_under_which_name_it_was_signed() {
    let name = "registry.example:5000/acme/gateway";
    let signed = |reference: &str| {
        let release = Recipe { key: key(9), ..numbered("2.0.0", 2) }.seal();
        release.sign_as(reference, &trusted_key(), &Value::Null);
        release
    };
    let device = Device::with(&numbered("1.0.0", 1).seal());
    let rule = |rule: &str| {
        trust(&device, &format!("docker_reference = {rule}"), &[("release", &trusted_key())]);
    };
    let other = signed("registry.example:5000/acme/camera");
    let tagged = signed(&format!("{name}:stable"));
    rule("\"ignore\"");
    device.gybe(&["verify", &other.source()]).done();
    // A folder names no repository, so that the trust file must.
    rule("\"repository\"");
    device.gybe(&["verify", &tagged.source()]).ended(REFUSED, "names no repository");
    rule(&format!("\"repository\"\nrepository = \"{name}\""));
    device.gybe(&["verify", &tagged.source()]).done();
    let why = "signed for another repository: registry.example:5000/acme/camera";
    device.gybe(&["install", &other.source()]).ended(REFUSED, why);
    rule(&format!("\"exact\"\nrepository = \"{name}:stable\""));
    device.gybe(&["verify", &tagged.source()]).done();
    device.gybe(&["verify", &signed(name).source()]).ended(REFUSED, "another repository");
    rule("\"any\"");
    device.gybe(&["verify", &tagged.source()]).ended(1, "is not ignore, repository or exact");
}
