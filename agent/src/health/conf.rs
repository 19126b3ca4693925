//! greenboot's configuration file, read and never executed.
//!
//! `/etc/greenboot/greenboot.conf` is a piece of shell that greenboot sources. What we need of it are
//! simple assignments: `NAME=value`, and `NAME=( "a" b )` over several lines. Whatever else is in it
//! is passed over.
//!
//! Source: greenboot 0.15 (`usr/libexec/greenboot/greenboot`), greenboot-rs 0.16, read 2026-11.

use std::fs;
use std::io::Read as _;

use tracing::warn;

use crate::root::Root;

/// Where greenboot is configured.
pub const FILE: &str = "/etc/greenboot/greenboot.conf";
/// The most that is read of it.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// What greenboot's configuration says that concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// Names of checks that are not run.
    pub disabled: Vec<String>,
    /// How often a new system may try to boot.
    pub attempts_max: Option<u8>,
}

impl Conf {
    /// Reads it below `root`. What is missing or cannot be read says nothing.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let path = root.path(FILE);
        let mut bytes = Vec::new();
        let Ok(file) = fs::File::open(&path) else { return Self::default() };
        if let Err(cause) = file.take(FILE_LEN_MAX).read_to_end(&mut bytes) {
            warn!(file = %path.display(), %cause, "cannot be read, so it disables nothing");
            return Self::default();
        }
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            // The last assignment counts, as in a shell.
            match name {
                "DISABLED_HEALTHCHECKS" => conf.disabled = list(value, &mut lines),
                "GREENBOOT_MAX_BOOT_ATTEMPTS" => {
                    conf.attempts_max =
                        words(value).words.first().and_then(|word| word.parse().ok());
                }
                _ => {}
            }
        }
        conf
    }
}

/// The words of an assignment of one value, or of a list that may go on in `lines`.
fn list<'a>(value: &str, lines: &mut impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some(first) = value.strip_prefix('(') else { return words(value).words };
    let mut found = Vec::new();
    let mut line = first;
    loop {
        let Words { words, is_closed } = words(line);
        found.extend(words);
        match lines.next() {
            Some(next) if !is_closed => line = next,
            _ => return found,
        }
    }
}

struct Words {
    words: Vec<String>,
    /// Whether a closing parenthesis came.
    is_closed: bool,
}

/// The words of a line up to a comment or a parenthesis, without their quotes.
fn words(line: &str) -> Words {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut quote, mut is_closed) = (None, false);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ')') => {
                is_closed = true;
                break;
            }
            (None, '#') if word.is_none() => break,
            (None, ';') => break,
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Words { words, is_closed }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_configuration(text in "(DISABLED_HEALTHCHECKS=)?\\PC{0,80}\n\\PC{0,80}") {
            Conf::parse(&text);
        }
    }

    #[test]
    fn assignments_are_read_as_a_shell_reads_them() {
        let disabled = |text: &str| Conf::parse(text).disabled;
        for (text, expected) in [
            ("DISABLED_HEALTHCHECKS=()", &[][..]),
            ("# DISABLED_HEALTHCHECKS=(\"a.sh\")", &[]),
            ("DISABLED_HEALTHCHECKS=( \"a.sh\" 'b c' d ) # why", &["a.sh", "b c", "d"]),
            ("DISABLED_HEALTHCHECKS=(\n  \"a.sh\" # one\n  b.sh\n)\nX=(c)\n", &["a.sh", "b.sh"]),
            ("DISABLED_HEALTHCHECKS=a.sh\nDISABLED_HEALTHCHECKS=b.sh", &["b.sh"]),
            ("  export DISABLED_HEALTHCHECKS=(\"a#b.sh\")", &["a#b.sh"]),
            ("DISABLED_HEALTHCHECKS=(a", &["a"]),
        ] {
            assert_eq!(disabled(text), expected, "{text}");
        }
    }

    #[test]
    fn attempts_are_a_number_or_nothing() {
        let attempts = |text: &str| Conf::parse(text).attempts_max;
        assert_eq!(attempts("GREENBOOT_MAX_BOOT_ATTEMPTS=5\n"), Some(5));
        assert_eq!(attempts("GREENBOOT_MAX_BOOT_ATTEMPTS=\"2\" # two"), Some(2));
        for text in ["", "GREENBOOT_MAX_BOOT_ATTEMPTS=$N", "GREENBOOT_MAX_BOOT_ATTEMPTS=-1"] {
            assert_eq!(attempts(text), None, "{text}");
        }
    }
}
