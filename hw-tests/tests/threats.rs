//! Every row of the table of threats names the tests that fail without what stops it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The attack of each row of a page's tables, and the tests that its last column names.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rows = Vec::new();
    let lines: Vec<&str> = page.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(row) = line.strip_prefix("| ") else { continue };
        let next = lines.get(index + 1).copied().unwrap_or("");
        // A header stands before its rule; comparisons without an attack are no threats.
        let heads: Vec<_> =
            lines[..index].iter().rev().take_while(|it| it.starts_with('|')).collect();
        let head = heads.last().copied().unwrap_or(line);
        if next.starts_with("|--") || !head.starts_with("| attack |") {
            continue;
        }
        let columns: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let tests = columns.get(2).copied().unwrap_or("");
        let words = tests.split('`').skip(1).step_by(2);
        let tests = words.filter(|word| word.contains('_') && !word.contains(['/', '.']));
        rows.push((columns[0], tests.collect()));
    }
    rows
}

/// The names of all functions in the Rust files below `folder` that have tests.
fn functions(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            functions(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_threat_has_a_test_that_exists() {
    let page = fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let rows = rows(&page);
    assert!(rows.len() > 40, "only {} rows found", rows.len());
    let mut there = Vec::new();
    functions(&root(), &mut there);
    for (attack, tests) in rows {
        assert!(!tests.is_empty(), "no test for: {attack}");
        for test in tests {
            assert!(there.iter().any(|name| name == test), "no test {test}, named for: {attack}");
        }
    }
}

#[test]
fn a_row_without_a_test_is_seen() {
    let page = "# T\n\n| attack | stops | tests |\n|---|---|---|\n| a | b | `c_d`, in `e/f_g.rs` |\n\
                | h | i | same |\n\n| x | y |\n|---|---|\n| `no_test` | z |\n";
    assert_eq!(rows(page), [("a", vec!["c_d"]), ("h", vec![])]);
}
