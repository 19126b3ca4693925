//! What a configuration may say, and how it is refused when it says something else.

use std::string::{String as StdString, ToString as _};

use super::*;
use crate::recipe::PackId;

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn sample() -> serde_json::Value {
    serde_json::json!({
        "format": 1, "agentMin": "0.1.0", "loaderMin": 1, "architecture": "amd64",
        "features": {"incompatible": [], "compatible": ["shiny"]},
        "hash": "sha256", "blockSize": 4096, "pageSize": 4096,
        "chunkSizeMax": 262_144, "frameSizeMax": 1_048_576, "windowSizeMax": 1_048_576,
        "recipe": {"tableSize": 144, "tableDigest": StdString::from("sha256:") + HASH},
        "packs": [{"id": 0, "frames": 3}, {"id": 7, "frames": 0}],
        "targets": [
            {"name": "root", "size": 8192, "rootHash": HASH, "tree": true, "layout": "erofs-v1"},
            {"name": "boot", "size": 5000, "rootHash": HASH, "tree": false}
        ],
        "later": {"unknown": [1, 2, {}]}
    })
}

fn parse(value: &serde_json::Value) -> Result<(), ConfigError> {
    Config::parse(value.to_string().as_bytes(), Version(0, 1, 0)).map(|_| ())
}

/// The sample with one member, named by a JSON pointer, replaced.
fn with(pointer: &str, value: serde_json::Value) -> Result<(), ConfigError> {
    let mut sample = sample();
    *sample.pointer_mut(pointer).unwrap() = value;
    parse(&sample)
}

#[test]
fn a_configuration_is_read_and_unknown_keys_are_passed_over() {
    let text = sample().to_string();
    let config = Config::parse(text.as_bytes(), Version(0, 1, 0)).unwrap();
    assert_eq!((config.architecture, config.loader_min), ("amd64", 1));
    assert_eq!(config.chunk_blocks_max, 64);
    assert_eq!(config.root().unwrap().blocks, 2);
    assert_eq!((config.targets[1].name, config.targets[1].blocks), ("boot", 2));
    assert_eq!(config.packs[1].id, PackId(7));
    assert_eq!(config.recipe.table_size, 144);
    let parts: std::vec::Vec<_> = config.parts().collect();
    let target = |index| Part::Target(TargetIndex(index));
    assert_eq!(parts, [(target(0), 2), (target(1), 2), (Part::Pack(PackId(0)), 3)]);
}

#[test]
fn what_a_newer_gybe_made_is_refused_with_the_version_needed() {
    let said = |result: Result<(), ConfigError>| result.unwrap_err().to_string();
    let mut newer = sample();
    newer["format"] = 2.into();
    newer["agentMin"] = "3.1.4".into();
    assert!(said(parse(&newer)).ends_with("gybe 3.1.4 or newer is needed"), "{newer}");
    let feature = with("/features/incompatible", serde_json::json!(["lz4-frames"]));
    let text = "release needs the feature \"lz4-frames\", which gybe 0.1.0 or newer has";
    assert_eq!(said(feature), text);
    let agent = with("/agentMin", "0.2.0".into());
    assert_eq!(said(agent), "release needs gybe 0.2.0 or newer, this is 0.1.0");
}

#[test]
fn values_out_of_range_are_refused_with_both_numbers() {
    for (pointer, value, text) in [
        ("/blockSize", 512, "configuration: blockSize is 512, expected 4096"),
        ("/windowSizeMax", 8_388_608, "configuration: windowSizeMax is 8388608, expected 1048576"),
        ("/packs/0/id", 65_536, "configuration: id of a pack is 65536, expected 65535"),
        ("/recipe/tableSize", 9_000_000, "configuration: tableSize is 9000000, expected 1048592"),
        ("/targets/0/size", 0, "configuration: size of a target is 0, expected 1099511627776"),
    ] {
        assert_eq!(with(pointer, value.into()).unwrap_err().to_string(), text);
    }
    let huge = with("/targets/0/size", (999u64 << 40).into()).unwrap_err();
    assert!(matches!(huge, ConfigError::Value { field: "size of a target", .. }));
}

#[test]
fn missing_members_and_wrong_types_are_refused() {
    for name in ["format", "agentMin", "hash", "targets", "packs", "recipe", "architecture"] {
        let mut sample = sample();
        sample.as_object_mut().unwrap().remove(name);
        let text = parse(&sample).unwrap_err().to_string();
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(with("/targets", "none".into()).is_err());
    assert!(with("/targets/0/rootHash", "abc".into()).is_err());
    let text = with("/hash", "md5".into()).unwrap_err().to_string();
    assert_eq!(text, "configuration: hash is \"md5\", this gybe knows \"sha256\"");
}

#[test]
fn targets_are_told_apart_and_the_first_is_root() {
    let text = |result: Result<(), ConfigError>| result.unwrap_err().to_string();
    let twice = with("/targets/1/name", "root".into());
    assert_eq!(text(twice), "configuration: two targets have one name");
    let twice = with("/packs/1/id", 0.into());
    assert_eq!(text(twice), "configuration: two packs have one number");
    let bare = with("/targets/0/tree", false.into());
    assert_eq!(text(bare), "configuration: the first target is not a root with its tree");
    let none = with("/targets", serde_json::json!([]));
    assert_eq!(text(none), "configuration: the first target is not a root with its tree");
}
