//! What those who signed a release say about it, beside its digest.
//!
//! Annotations of a signature (`cosign sign -a key=value`) are inside the signed bytes, and can be
//! changed by signing again, without another release. Only those whose names begin with
//! [`PREFIX`] are read: what they restrict may not get lost, so one of them that cannot be read is a
//! reason to refuse the release.

use std::collections::BTreeMap;

use gybe_core::json::{Kind, Value};
use gybe_core::trust::Annotations;

/// How the names of our annotations begin.
pub const PREFIX: &str = "dev.gybe.";
/// How many of our annotations a signature may have.
pub const STATEMENT_ANNOTATIONS_MAX: usize = 32;
/// How long the name of one of our annotations may be, in bytes.
pub const STATEMENT_NAME_LEN_MAX: usize = 64;
/// How long the value of one of our annotations may be, in bytes.
pub const STATEMENT_VALUE_LEN_MAX: usize = 256;

/// What one signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The name of who signed, as the device's trust has it.
    pub key: String,
    /// Our annotations, by name; numbers in decimal.
    pub annotations: BTreeMap<String, String>,
}

impl Statement {
    /// Reads what the signature of `key` says.
    pub(crate) fn read(key: &str, annotations: Annotations<'_>) -> Result<Self, StatementError> {
        let malformed = |cause| StatementError::Json { key: key.to_owned(), cause };
        let mut ours = BTreeMap::new();
        for member in annotations.members().map_err(malformed)? {
            let (name, value) = member.map_err(malformed)?;
            if !name.starts_with(PREFIX) {
                continue;
            }
            let refused = |why| StatementError::Annotation {
                key: key.to_owned(),
                name: name.chars().take(STATEMENT_NAME_LEN_MAX).collect(),
                why,
            };
            if name.len() > STATEMENT_NAME_LEN_MAX {
                return Err(refused(Unreadable::Name { len: name.len() }));
            }
            if ours.len() == STATEMENT_ANNOTATIONS_MAX {
                return Err(refused(Unreadable::TooMany));
            }
            ours.insert(name.to_owned(), text(value).map_err(refused)?);
        }
        Ok(Self { key: key.to_owned(), annotations: ours })
    }
}

/// A value as text: some signers write numbers where others write strings.
fn text(value: Value<'_>) -> Result<String, Unreadable> {
    let mut text = String::new();
    match value.kind() {
        Kind::String => {
            // A string that is checked as far as it is JSON, so only its length can be wrong.
            let chars = value.text().map(|text| text.chars()).into_iter().flatten();
            for char in chars {
                text.push(char);
                if text.len() > STATEMENT_VALUE_LEN_MAX {
                    return Err(Unreadable::Value);
                }
            }
        }
        Kind::Number | Kind::Bool => text.push_str(value.raw()),
        Kind::Object | Kind::Array | Kind::Null => return Err(Unreadable::Kind),
    }
    if text.len() > STATEMENT_VALUE_LEN_MAX {
        return Err(Unreadable::Value);
    }
    if text.chars().any(char::is_control) {
        return Err(Unreadable::Control);
    }
    Ok(text)
}

/// Why it is not known what a signature that counts says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The annotations are not what JSON readers agree on.
    #[error("annotations of the signature by {key}: {cause}")]
    Json {
        /// Who signed.
        key: String,
        /// What is wrong.
        cause: gybe_core::json::JsonError,
    },
    /// One of ours cannot be read.
    #[error("annotation {name} of the signature by {key} {why}")]
    Annotation {
        /// Who signed.
        key: String,
        /// The annotation's name, as far as it is not too long.
        name: String,
        /// What is wrong with it.
        why: Unreadable,
    },
}

/// Why an annotation cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its name is too long.
    #[error("has a name of {len} bytes, limit {STATEMENT_NAME_LEN_MAX}")]
    Name {
        /// The length of the name.
        len: usize,
    },
    /// Its value is too long.
    #[error("has more than {STATEMENT_VALUE_LEN_MAX} bytes")]
    Value,
    /// Its value is neither text nor a number.
    #[error("is neither a text nor a number")]
    Kind,
    /// Its value has control characters.
    #[error("has control characters")]
    Control,
    /// It comes after the last that is read.
    #[error("is one of more than {STATEMENT_ANNOTATIONS_MAX}")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &str) -> Result<Statement, String> {
        let payload = format!("{{\"critical\":{{}},\"optional\":{annotations}}}");
        let value = Value::parse(payload.as_bytes()).unwrap();
        let optional = value.object().unwrap().nth(1).unwrap().unwrap().1;
        Statement::read("release", Annotations::of(optional)).map_err(|cause| cause.to_string())
    }

    #[test]
    fn ours_are_read_and_others_are_left() {
        let said = read(
            r#"{"board":{"any":1},"dev.gybe.channel":"st\u0061ble","dev.gybe.issued":7,
                "dev.gybe.paused":true,"long":"…"}"#,
        );
        let said = said.unwrap();
        assert_eq!(said.key, "release");
        let said: Vec<_> = said.annotations.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(said, ["dev.gybe.channel=stable", "dev.gybe.issued=7", "dev.gybe.paused=true"]);
        assert_eq!(read("{}").unwrap().annotations.len(), 0);
    }

    #[test]
    fn one_of_ours_that_cannot_be_read_is_named() {
        let long = "x".repeat(STATEMENT_VALUE_LEN_MAX + 1);
        let many: Vec<_> = (0..33).map(|index| format!("\"dev.gybe.{index}\":1")).collect();
        for (annotations, why) in [
            (r#"{"dev.gybe.channel":null}"#, "is neither a text nor a number"),
            (r#"{"dev.gybe.channel":["a"]}"#, "is neither a text nor a number"),
            (r#"{"dev.gybe.channel":"a\nb"}"#, "has control characters"),
            (&format!("{{\"dev.gybe.channel\":\"{long}\"}}"), "has more than 256 bytes"),
            (&format!("{{\"dev.gybe.{long}\":1}}"), "has a name of 266 bytes, limit 64"),
            (&format!("{{{}}}", many.join(",")), "is one of more than 32"),
            (r#"{"a":1,"a":2}"#, "key comes twice in one object"),
            ("[]", "expected an object, found an array"),
        ] {
            let found = read(annotations).unwrap_err();
            assert!(found.contains("the signature by release"), "{found}");
            assert!(found.contains(why), "{found}\n has no\n{why}");
        }
    }
}
