//! The kernel arguments that say where the verified root is.
//!
//! Source: systemd's veritysetup-generator(8), of which these are a part, read 2026-11.

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::Digest;
use gybe_core::slot::Slot;
use gybe_core::verity::Geometry;

use crate::device::cmdline::{CommandLine, CommandLineError};
use crate::device::gpt::Guid;

const DATA: &str = "systemd.verity_root_data";
const HASH: &str = "systemd.verity_root_hash";
const OPTIONS: &str = "systemd.verity_root_options";
const OFFSET: &str = "hash-offset";

/// What the loader and the signed command line say about the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The slot that was loaded.
    pub slot: Option<Slot>,
    /// Whether this is a trial.
    pub trial: bool,
    /// The root hash.
    pub root_hash: Digest,
    /// Where data and tree lie on the partition.
    pub geometry: Geometry,
    /// Which partition it is.
    pub partition: PartitionName,
}

/// A partition, as kernel arguments name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionName {
    /// By its GUID in a GPT: `PARTUUID=aaaaaaaa-…`.
    Guid(Guid),
    /// By the signature of its MBR, and its number: `PARTUUID=aaaaaaaa-01`.
    Mbr {
        /// The signature.
        signature: u32,
        /// The number, counted from 1.
        index: u32,
    },
    /// By its label: `PARTLABEL=root_a`.
    Label(String),
    /// By the name of its device, without `/dev/`.
    Device(String),
}

impl Arguments {
    /// Reads a command line; `None` when it was not made by a loader of ours.
    ///
    /// # Errors
    /// [`ArgumentsError`] names the argument that is missing or makes no sense.
    pub fn parse(line: &str) -> Result<Option<Self>, ArgumentsError> {
        let CommandLine { slot, trial, root_hash, .. } = CommandLine::parse(line)?;
        let Some(root_hash) = root_hash else {
            return match slot {
                None => Ok(None),
                Some(_) => Err(ArgumentsError::Missing { name: "roothash" }),
            };
        };
        let value = |name| one(line, name);
        let missing = |name| ArgumentsError::Missing { name };
        let data = value(DATA)?.ok_or_else(|| missing(DATA))?;
        if value(HASH)?.is_some_and(|hash| hash != data) {
            return Err(ArgumentsError::TwoPartitions);
        }
        let options = value(OPTIONS)?.ok_or_else(|| missing(OPTIONS))?;
        let offset = options.split(',').find_map(|it| it.strip_prefix(OFFSET)?.strip_prefix('='));
        let offset: u64 = offset
            .and_then(|offset| offset.parse().ok())
            .ok_or(ArgumentsError::Value { name: OPTIONS })?;
        let is_whole = offset.is_multiple_of(BLOCK_LEN_U64);
        let blocks = offset.checked_div(BLOCK_LEN_U64).filter(|_| is_whole);
        let geometry = blocks.and_then(Geometry::new);
        Ok(Some(Self {
            slot,
            trial,
            root_hash,
            geometry: geometry.ok_or(ArgumentsError::Value { name: OPTIONS })?,
            partition: PartitionName::parse(data).ok_or(ArgumentsError::Value { name: DATA })?,
        }))
    }
}

impl PartitionName {
    /// Reads a name; `None` for none that we know.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(label) = name.strip_prefix("PARTLABEL=") {
            return (!label.is_empty()).then(|| Self::Label(label.to_owned()));
        }
        if let Some(uuid) = name.strip_prefix("PARTUUID=") {
            return Guid::parse(uuid).map(Self::Guid).or_else(|| mbr(uuid));
        }
        let device = name.strip_prefix("/dev/")?;
        let plain = !device.is_empty() && device.split('/').all(|part| !matches!(part, "" | ".."));
        plain.then(|| Self::Device(device.to_owned()))
    }
}

fn mbr(uuid: &str) -> Option<PartitionName> {
    let (signature, index) = uuid.split_once('-')?;
    let hex = |text: &str, len| (text.len() == len).then(|| u32::from_str_radix(text, 16).ok());
    let (signature, index) = (hex(signature, 8)??, hex(index, 2)??);
    Some(PartitionName::Mbr { signature, index })
}

/// The value of an argument that may be there once, or twice with one value.
fn one<'l>(line: &'l str, name: &'static str) -> Result<Option<&'l str>, ArgumentsError> {
    let words = line.split_ascii_whitespace().take_while(|word| *word != "--");
    let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let first = values.next();
    match first.and_then(|first| values.find(|other| *other != first)) {
        Some(_) => Err(ArgumentsError::CommandLine(CommandLineError::Twice { name })),
        None => Ok(first),
    }
}

/// Why it is not known which root is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// One of ours makes no sense.
    #[error("kernel command line: {0}")]
    CommandLine(#[from] CommandLineError),
    /// An argument is missing.
    #[error("kernel command line: {name}= is missing")]
    Missing {
        /// The argument.
        name: &'static str,
    },
    /// An argument has no meaning.
    #[error("kernel command line: {name}= has a value that means nothing")]
    Value {
        /// The argument.
        name: &'static str,
    },
    /// Data and tree are on two partitions.
    #[error("kernel command line: {DATA}= and {HASH}= name two partitions, and a slot has one")]
    TwoPartitions,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH_TEXT: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const UUID: &str = "aaaaaaaa-0000-0000-0000-000000000002";

    fn line() -> String {
        format!(
            "panic=10 quiet root=/dev/mapper/root ro rootfstype=erofs roothash={HASH_TEXT} \
             systemd.verity_root_options=hash-offset=1228800 gybe.slot=b gybe.trial=1 \
             gybe.loader=1 systemd.verity_root_data=PARTUUID={UUID} \
             systemd.verity_root_hash=PARTUUID={UUID} local\n"
        )
    }

    #[test]
    fn what_seal_and_loader_say_is_understood() {
        let expected = Arguments {
            slot: Some(Slot::B),
            trial: true,
            root_hash: Digest::of(b""),
            geometry: Geometry::new(300).unwrap(),
            partition: PartitionName::Guid(Guid::parse(UUID).unwrap()),
        };
        assert_eq!(Arguments::parse(&line()), Ok(Some(expected)));
        assert_eq!(Arguments::parse("quiet root=/dev/vda2"), Ok(None));
    }

    #[test]
    fn every_way_to_name_a_partition_is_read() {
        use PartitionName::{Device, Guid as ByGuid, Label, Mbr};
        for (name, expected) in [
            (format!("PARTUUID={UUID}"), Guid::parse(UUID).map(ByGuid)),
            ("PARTUUID=0badf00d-1f".into(), Some(Mbr { signature: 0x0bad_f00d, index: 31 })),
            ("PARTLABEL=root_a".into(), Some(Label("root_a".into()))),
            ("/dev/mmcblk0p3".into(), Some(Device("mmcblk0p3".into()))),
            ("/dev/../etc".into(), None),
            ("PARTUUID=0badf00d-1".into(), None),
            ("UUID=0badf00d".into(), None),
            ("PARTLABEL=".into(), None),
        ] {
            assert_eq!(PartitionName::parse(&name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_named() {
        let missing = |name| ArgumentsError::Missing { name };
        let value = |name| ArgumentsError::Value { name };
        for (from, to, expected) in [
            (format!("roothash={HASH_TEXT}"), "", missing("roothash")),
            (format!("{DATA}=PARTUUID={UUID}"), "", missing(DATA)),
            (
                format!("{HASH}=PARTUUID={UUID}"),
                &format!("{HASH}=/dev/sda1"),
                ArgumentsError::TwoPartitions,
            ),
            ("hash-offset=1228800".into(), "hash-offset=1228801", value(OPTIONS)),
            ("hash-offset=1228800".into(), "hash-offset=0", value(OPTIONS)),
            ("hash-offset=1228800".into(), "superblock=no", value(OPTIONS)),
            (format!("{OPTIONS}=hash-offset=1228800"), "", missing(OPTIONS)),
            (
                " local".into(),
                &format!(" {OPTIONS}=hash-offset=4096"),
                CommandLineError::Twice { name: OPTIONS }.into(),
            ),
        ] {
            assert_eq!(Arguments::parse(&line().replace(&from, to)), Err(expected), "{from}");
        }
    }

    proptest! {
        #[test]
        fn any_text_says_something_or_nothing(name in "(PARTUUID=|/dev/)?[-a-f0-9/.]{0,40}") {
            let _ = PartitionName::parse(&name);
        }
    }
}
