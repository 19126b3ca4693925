//! The house rules that no compiler checks: arrows, file length, first lines, names, leftovers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines that a Rust file may have.
const RUST_LINES_MAX: usize = 400;
/// Lines that a `lib.rs` or `main.rs` may have: they name the modules and start.
const ENTRY_LINES_MAX: usize = 100;
/// Bytes that a tracked file may have: nothing generated or downloaded belongs here.
const FILE_LEN_MAX: usize = 1 << 20;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];
/// Endings of things that are made, not written.
const MADE: &[&str] = &[
    "img", "erofs", "squashfs", "ext4", "fat", "deb", "tar", "gz", "zst", "xz", "o", "so", "a",
    "elf", "bin", "pack", "iso", "raw",
];
/// Package folder, the packages of ours it may use, and those its tests may use beside them.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("core", &[], &[]),
    ("uboot", &["core"], &["sim"]),
    ("grub", &["core"], &["sim"]),
    ("oci", &["core"], &[]),
    ("image", &["core", "oci"], &[]),
    ("agent", &["core", "uboot", "grub", "oci", "image"], &["sim"]),
    ("publish", &["core", "uboot", "grub", "oci", "image"], &["sim"]),
    ("sim", &["core", "uboot", "grub"], &[]),
    ("hw-tests", &[], &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that is tracked, or would be if someone ran `git add`.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files: install git");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let found: Vec<String> =
        text.split('\0').filter(|name| root().join(name).is_file()).map(str::to_owned).collect();
    assert!(found.len() > 30, "only {} files found", found.len());
    found
}

fn extension(name: &str) -> &str {
    Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or("")
}

/// What is wrong with one file, in words.
fn complaints(name: &str, content: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let ending = extension(name);
    if content.len() > FILE_LEN_MAX {
        found.push(format!("has {} bytes, limit {FILE_LEN_MAX}", content.len()));
    }
    if MADE.contains(&ending) {
        found.push(format!("ends in .{ending}: generated files are not kept"));
    }
    for part in Path::new(name).components() {
        let stem = Path::new(part.as_os_str()).file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&&*stem) {
            found.push(format!("is named {stem}, which says nothing"));
        }
    }
    let Ok(text) = std::str::from_utf8(content) else {
        if ["rs", "toml", "md", "sh", ""].contains(&ending) {
            found.push("is not UTF-8".into());
        }
        return found;
    };
    if ["rs", "toml", "md", "sh", "cmd", "cfg"].contains(&ending) && !text.ends_with('\n') {
        found.push("does not end with a line feed".into());
    }
    // Written in pieces, so that this file does not complain about itself.
    let leftovers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let places = [concat!("/wo", "rk/"), concat!("/Use", "rs/"), concat!("/root/.ca", "rgo")];
    let key = concat!("PRIVATE ", "KEY-----");
    for (index, line) in text.lines().enumerate() {
        let at = index + 1;
        for word in leftovers {
            if words(line).contains(word) {
                found.push(format!("line {at}: {word} belongs in the tracker"));
            }
        }
        for place in places {
            if line.contains(place) {
                found.push(format!("line {at}: {place} is a path of one machine"));
            }
        }
        if ending != "rs" && line.starts_with("-----BEGIN") && line.ends_with(key) {
            found.push(format!("line {at}: a private key"));
        }
    }
    if ending == "rs" {
        found.extend(rust_complaints(name, text));
    }
    found
}

fn words(line: &str) -> BTreeSet<&str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect()
}

fn rust_complaints(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let count = text.lines().count();
    let base = name.rsplit('/').next().unwrap_or(name);
    if !text.starts_with("//! ") {
        found.push("first line is not `//! purpose`".into());
    }
    if count >= RUST_LINES_MAX {
        found.push(format!("has {count} lines, limit {RUST_LINES_MAX}"));
    }
    if matches!(base, "lib.rs" | "main.rs") && count >= ENTRY_LINES_MAX {
        found.push(format!("has {count} lines, limit for an entry {ENTRY_LINES_MAX}"));
    }
    let stopped = [concat!("#[ig", "nore"), concat!("#[should_", "panic")];
    for (index, line) in text.lines().enumerate() {
        for attribute in
            stopped.iter().filter(|attribute| line.trim_start().starts_with(**attribute))
        {
            found.push(format!("line {}: {attribute}] hides a claim", index + 1));
        }
    }
    let package = name.split('/').next().unwrap_or("");
    if base == "lib.rs" && ["core", "uboot", "grub"].contains(&package) {
        for needed in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !text.contains(needed) {
                found.push(format!("lacks {needed}"));
            }
        }
    }
    found
}

/// What is wrong with the dependencies of a package in `folder`.
fn arrow_complaints(folder: &str, manifest: &str) -> Vec<String> {
    let Some((_, uses, tests_use)) = ARROWS.iter().find(|(name, ..)| *name == folder) else {
        return vec![format!("{folder}: a package that the table of arrows does not know")];
    };
    let mut found = Vec::new();
    let mut section = String::new();
    let mut lints = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
        }
        lints |= section == "lints" && line == "workspace = true";
        // Both `gybe-x = …` below [dependencies] and a table [dependencies.gybe-x].
        let named = if section.contains("dependencies.") {
            section.rsplit('.').next().filter(|_| line.starts_with('['))
        } else if section.contains("dependencies") {
            line.split(['.', ' ', '=']).next()
        } else {
            None
        };
        let Some(ours) = named.and_then(|name| name.trim_matches('"').strip_prefix("gybe-")) else {
            continue;
        };
        let test_only = section.contains("dev-dependencies");
        if !(uses.contains(&ours) || test_only && tests_use.contains(&ours)) {
            found.push(format!("{folder} must not use {ours} ({section})"));
        }
    }
    if !lints {
        found.push(format!("{folder} does not inherit the lints of the workspace"));
    }
    found
}

#[test]
fn every_file_keeps_the_house_rules() {
    let mut wrong = Vec::new();
    for name in files() {
        let content = fs::read(root().join(&name)).unwrap();
        wrong.extend(complaints(&name, &content).iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn arrows_between_packages_never_point_back() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for name in files() {
        let Some(folder) = name.strip_suffix("/Cargo.toml") else { continue };
        // Packages outside the workspace (firmware, fuzzing) stand on the core in their own way.
        let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        if !workspace.contains(&format!("    \"{folder}\",\n")) {
            continue;
        }
        seen += 1;
        wrong.extend(arrow_complaints(folder, &fs::read_to_string(root().join(&name)).unwrap()));
    }
    assert_eq!(seen, ARROWS.len(), "packages of the workspace");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The names of tests that a page calls guards: `in_backticks`, behind the word "Guard".
fn guards(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for item in page.split("Invariant:").skip(1) {
        let Some((_, named)) = item.split_once("Guard") else { continue };
        // The item ends where the next one or another paragraph begins.
        let named = named.split("\n\n").next().unwrap_or(named);
        let words = named.split('`').skip(1).step_by(2);
        found.extend(words.filter(|word| word.contains('_') && !word.contains(['/', '.'])));
    }
    found.retain(|word| *word != "compile_fail");
    found
}

#[test]
fn every_guard_that_the_map_names_exists() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let named = guards(&page);
    assert!(named.len() > 20, "only {} guards found: {named:?}", named.len());
    let sources: Vec<String> = files()
        .iter()
        .filter(|name| extension(name) == "rs")
        .map(|name| fs::read_to_string(root().join(name)).unwrap())
        .collect();
    let is_there = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}(")));
    let lost: Vec<&str> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(lost.is_empty(), "named in docs/ARCHITECTURE.md, but no such test: {lost:?}");
    assert_eq!(guards("Invariant: a.\nGuard: `no_such`, `b/c_d.rs`.\n\n`e_f`"), ["no_such"]);
}

#[test]
fn the_guard_sees_what_it_guards_against() {
    let good = "//! A purpose.\n";
    assert_eq!(complaints("core/src/slot.rs", good.as_bytes()), Vec::<String>::new());
    let long = format!("{good}{}", "\n".repeat(RUST_LINES_MAX));
    let entry = format!("{good}{}", "\n".repeat(ENTRY_LINES_MAX));
    let leftover = format!("{good}// {} later\n", concat!("TO", "DO"));
    let place = format!("built in {}x\n", concat!("/wo", "rk/"));
    let hidden = format!("{good}{}]\n", concat!("#[ig", "nore"));
    let secret = format!("-----BEGIN {}\n", concat!("PRIVATE ", "KEY-----"));
    let cases: &[(&str, &[u8], &str)] = &[
        ("core/src/slot.rs", b"use std::fs;\n", "first line"),
        ("core/src/slot.rs", long.as_bytes(), "401 lines"),
        ("oci/src/lib.rs", entry.as_bytes(), "101 lines"),
        ("core/src/lib.rs", good.as_bytes(), "lacks #![no_std]"),
        ("core/src/utils.rs", good.as_bytes(), "says nothing"),
        ("agent/src/common/slot.rs", good.as_bytes(), "says nothing"),
        ("core/src/slot.rs", leftover.as_bytes(), "line 2"),
        ("docs/notes.md", place.as_bytes(), "one machine"),
        ("agent/src/slot.rs", hidden.as_bytes(), "hides a claim"),
        ("hw-tests/key.pem", secret.as_bytes(), "a private key"),
        ("hw-tests/root.erofs", b"", "generated"),
        ("docs/notes.md", b"no line feed", "line feed"),
        ("docs/notes.md", b"\xff\n", "UTF-8"),
        ("docs/photo.png", &[0; FILE_LEN_MAX + 1], "limit 1048576"),
    ];
    for (name, content, expected) in cases {
        let found = complaints(name, content).join("; ");
        assert!(found.contains(expected), "{name}: expected `{expected}`, found `{found}`");
    }
}

#[test]
fn the_guard_of_the_arrows_sees_each_way_to_write_one() {
    let lints = "[lints]\nworkspace = true\n";
    let back = [
        "[dependencies]\ngybe-agent.workspace = true\n",
        "[dependencies]\ngybe-agent = { path = \"../agent\" }\n",
        "[dependencies]\n\"gybe-agent\" = \"1\"\n",
        "[dependencies.gybe-agent]\nworkspace = true\n",
        "[target.'cfg(unix)'.dependencies]\ngybe-agent.workspace = true\n",
        "[build-dependencies]\ngybe-agent.workspace = true\n",
        "[dev-dependencies]\ngybe-agent.workspace = true\n",
    ];
    for manifest in back {
        let found = arrow_complaints("core", &format!("{manifest}{lints}"));
        assert_eq!(found.len(), 1, "{manifest}: {found:?}");
        assert!(found[0].starts_with("core must not use agent"), "{found:?}");
    }
    let tests_only = "dependencies]\ngybe-sim.workspace = true\n";
    assert_eq!(arrow_complaints("agent", &format!("[dev-{tests_only}{lints}")).len(), 0);
    assert_eq!(arrow_complaints("agent", &format!("[{tests_only}{lints}")).len(), 1);
    assert_eq!(arrow_complaints("core", "[dependencies]\n").len(), 1, "lints are missing");
    assert_eq!(arrow_complaints("stranger", lints).len(), 1, "an unknown package");
}
