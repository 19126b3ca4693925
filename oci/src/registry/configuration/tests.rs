//! What registries.conf says about repositories.

use super::*;

const TEXT: &str = r#"
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "r.example/acme"
location = "inner.example:5000/mirrored"
[[registry.mirror]]
location = "m1.example/acme"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "m2.example:80/x"
insecure = true
[[registry]]
location = "r.example"
insecure = true
[[registry]]
prefix = "r.example/acme/private"
blocked = true
[[registry]]
prefix = "*.wild.example"
location = "inner.example/wild"
[aliases]
x = "y"
"#;

/// The files by name, below a folder of their own.
fn read(files: &[(&str, &str)]) -> Result<Registries, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let read = Registries::read(&folder.path().join("r.conf"));
    read.map_err(|cause| cause.to_string().replace(&folder.path().display().to_string(), "dir"))
}

/// The places as text: `!` for insecure, `#` for digests only.
fn places(registries: &Registries, name: &str) -> Option<Vec<String>> {
    let text = |it: Location| {
        let insecure = if it.is_insecure { "!" } else { "" };
        let by_digest = if it.pull_from == PullFrom::DigestOnly { "#" } else { "" };
        format!("{}{insecure}{by_digest}", it.name)
    };
    Some(registries.locations(name)?.into_iter().map(text).collect())
}

#[test]
fn the_longest_prefix_says_where_a_repository_is() {
    let registries = read(&[("r.conf", TEXT)]).unwrap();
    for (name, expected) in [
        (
            "r.example/acme/gw",
            Some(
                &["m1.example/acme/gw#", "m2.example:80/x/gw!", "inner.example:5000/mirrored/gw"][..],
            ),
        ),
        ("r.example/acmexy", Some(&["r.example/acmexy!"])),
        ("r.example/acme/private/x", None),
        ("r.example:5000/a", Some(&["r.example:5000/a!"])),
        ("other.example/a", Some(&["other.example/a"])),
        ("a.wild.example/b/c", Some(&["inner.example/wild/b/c"])),
        ("wild.example/b", Some(&["wild.example/b"])),
    ] {
        let expected = expected.map(|all| all.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(places(&registries, name), expected, "{name}");
    }
}

#[test]
fn later_files_replace_what_earlier_ones_say_of_a_prefix() {
    let ours = "[[registry]]\nprefix = \"r.example/acme\"\nlocation = \"last.example\"\n";
    let wrong = "nothing that could be read";
    let files = [
        ("r.conf", TEXT),
        ("r.conf.d/1.conf", TEXT),
        ("r.conf.d/2.conf", ours),
        ("r.conf.d/3", wrong),
    ];
    let registries = read(&files).unwrap();
    assert_eq!(places(&registries, "r.example/acme/a"), Some(vec!["last.example/a".to_owned()]));
    let nothing = read(&[]).unwrap();
    assert_eq!(places(&nothing, "r.example/a"), Some(vec!["r.example/a".to_owned()]));
}

#[test]
fn mirrors_may_be_asked_for_digests_only() {
    let text = "[[registry]]\nlocation = \"r.example\"\nmirror-by-digest-only = true\n\
                [[registry.mirror]]\nlocation = \"m.example\"\n";
    let registries = read(&[("r.conf", text)]).unwrap();
    let expected = vec!["m.example/a#".to_owned(), "r.example/a".to_owned()];
    assert_eq!(places(&registries, "r.example/a"), Some(expected));
}

#[test]
fn what_cannot_be_used_is_named() {
    let mirror = "[[registry.mirror]]\nlocation = \"m\"\n";
    let many = format!("[[registry]]\nlocation = \"r\"\n{}", mirror.repeat(MIRRORS_MAX + 1));
    for (text, expected) in [
        ("[[registry]]\ninsecure = true\n", "registries: dir/r.conf: a registry has neither"),
        ("\n[[registry]]\ninsecure = 7\n", "registries: dir/r.conf:3: invalid type"),
        (&many, "registries: dir/r.conf: r has 17 mirrors, limit 16"),
    ] {
        let found = read(&[("r.conf", text)]).unwrap_err();
        assert!(found.starts_with(expected), "{found}\n is not\n{expected}");
    }
}
