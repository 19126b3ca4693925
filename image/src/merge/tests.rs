//! What upper layers do to lower ones.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::tree::Kind;

fn meta(uid: u32) -> Meta {
    Meta { uid, ..Meta::implied() }
}

fn entry(path: &str, item: Item) -> Entry {
    Entry { path: path.as_bytes().to_vec(), item }
}

/// A layer from a short notation: `d a` a directory, `f a` a file, `l a b` a symlink or `h a b` a
/// hard link from a to b, `w a` a whiteout and `o a` an opaque directory, each owned by the
/// number of its layer and line.
fn layer(number: u32, lines: &[&str]) -> Vec<Entry> {
    let parse = |(line, text): (u32, &&str)| {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or("");
        let (kind, path, target) = (word(), word(), word().as_bytes().to_vec());
        let meta = meta(number * 100 + line);
        let item = match kind {
            "d" => Item::Node(Node::directory(meta)),
            "f" => Item::Node(Node { meta, kind: Kind::Fifo }),
            "l" => Item::Node(Node { meta, kind: Kind::Symlink(target) }),
            "h" => Item::HardLink(target),
            "w" => Item::Whiteout,
            _ => Item::Opaque,
        };
        entry(path, item)
    };
    (0..).zip(lines).map(parse).collect()
}

/// Every path, and the owner of what is there.
fn merge(layers: &[&[&str]]) -> Result<BTreeMap<String, u32>, String> {
    let mut merge = Merge::new(1000);
    for (number, lines) in (1..).zip(layers) {
        merge
            .apply(layer(number, lines))
            .map_err(|(path, cause)| format!("{}: {cause}", path.escape_ascii()))?;
    }
    let tree = merge.finish(&[]);
    let all = tree.walk().skip(1);
    Ok(all.map(|(path, id)| (String::from_utf8(path).unwrap(), tree.node(id).meta.uid)).collect())
}

#[track_caller]
fn assert_merges(layers: &[&[&str]], expected: &[(&str, u32)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|&(path, uid)| (path.to_owned(), uid)).collect();
    assert_eq!(merge(layers), Ok(expected), "{layers:?}");
}

#[test]
fn the_upper_layer_wins_and_directories_keep_what_is_in_them() {
    assert_merges(
        &[&["d a", "f a/x"], &["d a", "f a/y"]],
        &[("a", 200), ("a/x", 101), ("a/y", 201)],
    );
    assert_merges(&[&["d a", "f a/x"], &["f a"]], &[("a", 200)]);
    assert_merges(&[&["f a"], &["d a", "f a/x"]], &[("a", 200), ("a/x", 201)]);
    assert_merges(&[&["l a b", "d b"], &["d a"]], &[("a", 200), ("b", 101)]);
}

#[test]
fn whiteouts_reach_only_what_lies_below_wherever_they_stand() {
    let lower: &[&str] = &["d a", "f a/x", "f a/y"];
    assert_merges(&[lower, &["w a/x"]], &[("a", 100), ("a/y", 102)]);
    for upper in [["w a/x", "f a/x"], ["f a/x", "w a/x"]] {
        let line = upper.iter().position(|text| text.starts_with('f')).unwrap();
        let expected = 200 + u32::try_from(line).unwrap();
        assert_merges(&[lower, &upper], &[("a", 100), ("a/x", expected), ("a/y", 102)]);
    }
    assert_merges(&[lower, &["w a", "w nothing", "w no/thing", "w a/x/z"]], &[]);
}

#[test]
fn an_opaque_directory_hides_what_lies_below_and_keeps_its_metadata() {
    let lower: &[&str] = &["d a", "f a/x", "d a/d", "f a/d/z"];
    assert_merges(&[lower, &["f a/y", "o a"]], &[("a", 100), ("a/y", 200)]);
    assert_merges(&[lower, &["d a", "o a"]], &[("a", 200)]);
    assert_merges(&[lower, &["o ", "f b"]], &[("b", 201)]);
    assert_merges(
        &[lower, &["o a/x", "o b"]],
        &[("a", 100), ("a/d", 102), ("a/d/z", 103), ("a/x", 101)],
    );
}

#[test]
fn a_hard_link_keeps_what_it_leads_to() {
    let lower: &[&str] = &["f x", "h y x"];
    // The other name is replaced or removed, above or in the same layer.
    assert_merges(&[lower, &["f x"]], &[("x", 200), ("y", 100)]);
    assert_merges(&[lower, &["w x"]], &[("y", 100)]);
    assert_merges(&[&["f x"], &["h y x", "f x"]], &[("x", 201), ("y", 100)]);
    assert_merges(&[&["f x"], &["h y x", "w x"]], &[("y", 100)]);
    assert_merges(&[&["f x"], &["w x", "h y x"]], &[("y", 100)]);
    // What was replaced before the link is found as it is now.
    assert_merges(&[&["f x"], &["f x", "h y x"]], &[("x", 200), ("y", 200)]);
    // A whole directory was taken away, and another put in its place.
    assert_merges(&[&["d a", "f a/x"], &["w a", "d a", "h y a/x"]], &[("a", 201), ("y", 101)]);
    assert_merges(&[&["d a", "f a/x"], &["o a", "h a/y a/x"]], &[("a", 100), ("a/y", 101)]);
    assert_merges(&[&["f x"], &["h x x"]], &[("x", 100)]);
}

#[test]
fn links_into_a_directory_that_is_emptied_keep_their_content() {
    let mut merge = Merge::new(10);
    let layers: [&[&str]; 2] = [&["f sysroot/ostree/x"], &["h usr/x sysroot/ostree/x"]];
    for lines in layers {
        merge.apply(layer(1, lines)).unwrap();
    }
    let tree = merge.finish(&[b"sysroot".to_vec(), b"boot".to_vec(), b"usr/x".to_vec()]);
    let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
    assert_eq!(paths, [&b""[..], b"sysroot", b"usr", b"usr/x"]);
}

#[test]
fn parents_are_implied_or_found_through_links() {
    assert_merges(&[&["f a/b/x"]], &[("a", 0), ("a/b", 0), ("a/b/x", 100)]);
    assert_merges(&[&["f a/x", "d a"]], &[("a", 101), ("a/x", 100)]);
    let usr: &[&str] = &["d usr", "d usr/lib", "l lib usr/lib"];
    let below = [("lib", 102), ("usr", 100), ("usr/lib", 101)];
    let with = |more: &[(&'static str, u32)]| [&below[..], more].concat();
    assert_merges(&[usr, &["f lib/d/x"]], &with(&[("usr/lib/d", 0), ("usr/lib/d/x", 200)]));
    assert_merges(&[usr, &["f lib/x"], &["w lib/x"]], &below);
    assert_merges(&[usr, &["f lib/x"], &["h y lib/x"]], &with(&[("usr/lib/x", 200), ("y", 200)]));
    assert_merges(&[usr, &["f lib/x"], &["o lib"]], &below);
    // Above the root there is only the root.
    assert_merges(&[&["l a ../../b", "d b"], &["f a/x"]], &[("a", 100), ("b", 101), ("b/x", 200)]);
    assert_merges(
        &[&["d c", "l c/a /b", "d b"], &["f c/a/x"]],
        &[("b", 102), ("b/x", 200), ("c", 100), ("c/a", 101)],
    );
}

#[test]
fn what_contradicts_itself_is_refused_by_path() {
    let cases: [(&[&[&str]], &str); 16] = [
        (&[&["f a", "f a"]], "a: path is in the layer twice"),
        (&[&["f a", "d a"]], "a: path is in the layer twice"),
        (&[&["d a", "f a"]], "a: path is in the layer twice"),
        (&[&["f a/x", "f a"]], "a: path is in the layer twice"),
        (&[&["f x", "f a", "h a x"]], "a: path is in the layer twice"),
        (&[&["d b", "l a b"], &["f a/x", "f b/x"]], "b/x: path is in the layer twice"),
        (&[&["f a", "f a/x"]], "a/x: parent a is not a directory"),
        (&[&["f a"], &["f a/x"]], "a/x: parent a is not a directory"),
        (&[&["l a b"], &["f a/x"]], "a/x: parent leads to b, which is not there"),
        (&[&["l a a"], &["f a/x"]], "a/x: parent leads through more than 40 symlinks"),
        (&[&["h a b"]], "a: hardlink to b, which is not there"),
        (&[&["h a b", "f b"]], "a: hardlink to b, which is not there"),
        (&[&["h a a"]], "a: hardlink to a, which is not there"),
        (&[&["d b", "h a b"]], "a: hardlink to b, which is a directory"),
        (&[&["h a "]], "a: hardlink to , which is a directory"),
        (&[&["f "]], ": the root is not a directory"),
    ];
    for (layers, message) in cases {
        assert_eq!(merge(layers), Err(message.to_owned()), "{layers:?}");
    }
    assert_merges(&[&["d a", "d a"]], &[("a", 101)]);
}

#[test]
fn there_are_never_more_nodes_than_the_limit() {
    let mut merge = Merge::new(3);
    merge.apply(layer(1, &["f a/b/c"])).unwrap();
    let error = merge.apply(layer(2, &["d a", "f d"])).unwrap_err();
    assert_eq!(error, (b"d".to_vec(), MergeError::Count { limit: 3 }));
}

/// What is at a path in the model: a directory or something else, and its owner.
type Flat = BTreeMap<String, (bool, u32)>;

/// The same rules, written as slowly and plainly as possible: paths are texts.
fn model(map: &mut Flat, layer: &[Entry]) -> Option<()> {
    let lower = map.clone();
    let remove_below = |map: &mut Flat, path: &str| {
        map.retain(|other, _| !other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    };
    let text = |entry: &Entry| String::from_utf8(entry.path.clone()).unwrap();
    for entry in layer {
        let path = text(entry);
        if entry.item == Item::Whiteout {
            map.remove(&path);
        }
        if matches!(entry.item, Item::Whiteout | Item::Opaque) {
            remove_below(map, &path);
        }
    }
    let mut said: BTreeMap<String, bool> = BTreeMap::new();
    let mut passed = BTreeSet::new();
    for entry in layer {
        let path = text(entry);
        let new = match &entry.item {
            Item::Node(node) => (node.is_directory(), node.meta.uid),
            Item::HardLink(to) => {
                let to = String::from_utf8(to.clone()).unwrap();
                *map.get(&to).or_else(|| lower.get(&to)).filter(|it| !it.0)?
            }
            _ => continue,
        };
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            if !map.entry(parent.to_owned()).or_insert((true, 0)).0 {
                return None;
            }
            passed.insert(parent.to_owned());
        }
        match said.get(&path) {
            Some(false) => return None,
            Some(true) if !new.0 => return None,
            _ => {}
        }
        if !new.0 && passed.contains(&path) {
            return None;
        }
        said.insert(path.clone(), new.0);
        if !new.0 {
            remove_below(map, &path);
        }
        map.insert(path, new);
    }
    Some(())
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "c"], 1..4).prop_map(|names| names.join("/"))
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any_path().prop_map(|path| format!("d {path}")),
        4 => any_path().prop_map(|path| format!("f {path}")),
        2 => (any_path(), any_path()).prop_map(|(path, to)| format!("h {path} {to}")),
        1 => any_path().prop_map(|path| format!("w {path}")),
        1 => any_path().prop_map(|path| format!("o {path}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_layers_give_what_applying_them_one_by_one_gives(
        layers in proptest::collection::vec(proptest::collection::vec(any_line(), 0..6), 1..4),
    ) {
        let mut merge = Merge::new(1000);
        let mut map = Flat::new();
        for (number, lines) in (1..).zip(&layers) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let layer = layer(number, &lines);
            let expected = model(&mut map, &layer);
            let found = merge.apply(layer);
            prop_assert_eq!(found.is_ok(), expected.is_some(), "{:?}", found);
            if found.is_err() {
                return Ok(());
            }
        }
        let tree = merge.finish(&[]);
        let mut found = Flat::new();
        let mut nodes = BTreeMap::new();
        for (path, id) in tree.walk().skip(1) {
            let node = tree.node(id);
            found.insert(String::from_utf8(path).unwrap(), (node.is_directory(), node.meta.uid));
            if !node.is_directory() {
                prop_assert_eq!(*nodes.entry(node.meta.uid).or_insert(id), id, "one node, two numbers");
            }
        }
        prop_assert_eq!(found, map);
    }
}
