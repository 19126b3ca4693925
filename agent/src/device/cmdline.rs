//! The kernel command line, on which the boot loader says what it loaded.

use gybe_core::boot::{LOADER_ARGUMENT, SLOT_ARGUMENT, TRIAL_ARGUMENT};
use gybe_core::digest::Digest;
use gybe_core::slot::Slot;

/// Where the kernel shows it.
pub const FILE: &str = "/proc/cmdline";

/// What a command line says about slots. Everything else on it is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The slot that was loaded, `gybe.slot=`.
    pub slot: Option<Slot>,
    /// Whether this is a trial, `gybe.trial=1`.
    pub trial: bool,
    /// The version of the loader's script, `gybe.loader=`.
    pub loader: Option<u32>,
    /// The root hash of the root file system, `roothash=`.
    pub root_hash: Option<Digest>,
}

impl CommandLine {
    /// Reads a command line.
    ///
    /// # Errors
    /// When one of our arguments makes no sense, or is there twice and says two things: then
    /// somebody may have appended what they wish were true.
    pub fn parse(line: &str) -> Result<Self, CommandLineError> {
        let [mut slot, mut trial, mut loader, mut root_hash] = [None; 4];
        for word in line.split_ascii_whitespace() {
            // What stands behind a lone -- belongs to init.
            if word == "--" {
                break;
            }
            let Some((name, value)) = word.split_once('=') else { continue };
            let (name, found) = match name {
                SLOT_ARGUMENT => (SLOT_ARGUMENT, &mut slot),
                TRIAL_ARGUMENT => (TRIAL_ARGUMENT, &mut trial),
                LOADER_ARGUMENT => (LOADER_ARGUMENT, &mut loader),
                ROOT_HASH_ARGUMENT => (ROOT_HASH_ARGUMENT, &mut root_hash),
                _ => continue,
            };
            if found.is_some_and(|other| other != value) {
                return Err(CommandLineError::Twice { name });
            }
            *found = Some(value);
        }
        Ok(Self {
            slot: parse_value(SLOT_ARGUMENT, slot, Slot::from_name)?,
            trial: trial == Some("1"),
            loader: parse_value(LOADER_ARGUMENT, loader, |value| value.parse().ok())?,
            root_hash: parse_value(ROOT_HASH_ARGUMENT, root_hash, |value| {
                Digest::from_hex(value).ok()
            })?,
        })
    }
}

/// Kernel argument of systemd's veritysetup-generator.
const ROOT_HASH_ARGUMENT: &str = "roothash";

fn parse_value<T>(
    name: &'static str,
    value: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, CommandLineError> {
    let Some(value) = value else { return Ok(None) };
    parse(value).map(Some).ok_or(CommandLineError::Value { name })
}

/// Why a command line says nothing certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// An argument says two things.
    #[error("{name}= is there twice, with two values")]
    Twice {
        /// The argument.
        name: &'static str,
    },
    /// An argument has no meaning.
    #[error("{name}= has a value that means nothing")]
    Value {
        /// The argument.
        name: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_says_something_or_nothing(line in ".{0,200}") {
            let _ = CommandLine::parse(&line);
        }

        #[test]
        fn what_others_append_never_changes_the_slot(junk in "[a-z.]{1,20}(=[ -~]{0,20})?") {
            // Ours are named in full; nothing that is like them counts.
            prop_assume!(!junk.contains("gybe.") && !junk.contains("roothash"));
            let line = CommandLine::parse(&format!("{junk} gybe.slot=a {junk}"));
            prop_assume!(!junk.split_whitespace().any(|word| word == "--"));
            prop_assert_eq!(line.map(|line| line.slot), Ok(Some(Slot::A)));
        }
    }

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_loader_is_understood() {
        let line = format!("quiet roothash={HASH} gybe.slot=b gybe.trial=1 gybe.loader=1 -- x\n");
        let expected = CommandLine {
            slot: Some(Slot::B),
            trial: true,
            loader: Some(1),
            root_hash: Some(Digest::of(b"")),
        };
        assert_eq!(CommandLine::parse(&line), Ok(expected));
        assert_eq!(CommandLine::parse("quiet splash"), Ok(CommandLine::default()));
    }

    #[test]
    fn what_belongs_to_init_is_not_ours() {
        let line = CommandLine::parse("gybe.slot=a -- gybe.slot=b gybe.trial=1").unwrap();
        assert_eq!((line.slot, line.trial), (Some(Slot::A), false));
    }

    #[test]
    fn two_answers_are_none() {
        let twice = CommandLine::parse("gybe.slot=a gybe.slot=b");
        assert_eq!(twice, Err(CommandLineError::Twice { name: "gybe.slot" }));
        assert_eq!(CommandLine::parse("gybe.slot=a gybe.slot=a").unwrap().slot, Some(Slot::A));
    }

    #[test]
    fn nonsense_is_named() {
        for (line, name) in [
            ("gybe.slot=c", "gybe.slot"),
            ("gybe.loader=x", "gybe.loader"),
            ("roothash=00", "roothash"),
        ] {
            assert_eq!(CommandLine::parse(line), Err(CommandLineError::Value { name }));
        }
    }
}
