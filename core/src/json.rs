//! A bounded reader for JSON: no allocation, no recursion, no floating point.
//!
//! [`Value::parse`] checks the syntax of the whole document once; what it returns is a cheap
//! handle into the borrowed document, as are the values below it.
//!
//! ```
//! use gybe_core::json::Value;
//!
//! # fn main() -> Result<(), gybe_core::json::JsonError> {
//! let document = br#"{"name": "root", "sizes": [1, 2], "later": {"x": null}}"#;
//! let (mut name, mut sum) = (None, 0);
//! for member in Value::parse(document)?.object()? {
//!     let (key, value) = member?;
//!     match key {
//!         "name" => name = Some(value.str()?),
//!         "sizes" => {
//!             for size in value.array()? {
//!                 sum += size?.u64()?;
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//! assert_eq!((name, sum), (Some("root"), 3));
//! # Ok(())
//! # }
//! ```
//!
//! Stricter than the standard where programs differ: a key that comes twice in an object we read,
//! a key with an escape in it, a lone surrogate, and anything behind the value are errors.
//! Source: RFC 8259, read 2026-11.

mod scan;
mod text;

#[cfg(test)]
mod tests;

use core::fmt;

use heapless::Vec;

pub use self::text::{Text, Unescape};
use scan::Scanner;

/// How deep arrays and objects may be nested.
pub const DEPTH_MAX: usize = 16;

/// How many members an object that is read may have. Skipped objects may have any number.
pub const MEMBERS_MAX: usize = 128;

/// How long a document may be, in bytes.
pub const DOCUMENT_LEN_MAX: usize = 4 * 1024 * 1024;

/// A value inside a document of which the syntax has been checked.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a str,
    start: usize,
    end: usize,
}

/// The type of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

impl<'a> Value<'a> {
    /// Checks a document completely and returns its one value.
    ///
    /// # Errors
    /// [`JsonError`] with the first place at which `document` is not what we accept.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        if document.len() > DOCUMENT_LEN_MAX {
            return Err(JsonError { at: 0, cause: Cause::TooLong { len: document.len() } });
        }
        let document = core::str::from_utf8(document)
            .map_err(|error| JsonError { at: error.valid_up_to(), cause: Cause::NotUtf8 })?;
        let mut scanner = Scanner::new(document, 0);
        let value = scanner.value()?;
        scanner.whitespace();
        if scanner.at() != document.len() {
            return Err(JsonError { at: scanner.at(), cause: Cause::Trailing });
        }
        Ok(value)
    }

    /// Where the value begins, in bytes from the start of the document.
    #[must_use]
    pub const fn at(self) -> usize {
        self.start
    }

    /// The value as it stands in the document.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.document.get(self.start..self.end).unwrap_or_default()
    }

    /// The type of the value.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.raw().as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The members of an object.
    ///
    /// # Errors
    /// [`Cause::Kind`] if this is not an object.
    pub fn object(self) -> Result<Object<'a>, JsonError> {
        self.expect(Kind::Object)?;
        Ok(Object { value: self, next: self.start.saturating_add(1), keys: Vec::new() })
    }

    /// The items of an array.
    ///
    /// # Errors
    /// [`Cause::Kind`] if this is not an array.
    pub fn array(self) -> Result<Array<'a>, JsonError> {
        self.expect(Kind::Array)?;
        Ok(Array { value: self, next: self.start.saturating_add(1), first: true })
    }

    /// A string, with its escapes unread.
    ///
    /// # Errors
    /// [`Cause::Kind`] if this is not a string.
    pub fn text(self) -> Result<Text<'a>, JsonError> {
        self.expect(Kind::String)?;
        let inside = self.start.saturating_add(1)..self.end.saturating_sub(1);
        Ok(Text::new(self.document.get(inside).unwrap_or_default()))
    }

    /// A string in which nothing is escaped.
    ///
    /// # Errors
    /// [`Cause::Kind`] if this is not a string, [`Cause::Escape`] if it has an escape.
    pub fn str(self) -> Result<&'a str, JsonError> {
        self.text()?.plain().ok_or(self.error(Cause::Escape))
    }

    /// An integer from 0 to 2^64 - 1, written without sign, fraction or exponent.
    ///
    /// # Errors
    /// [`Cause::Kind`] if this is not a number, [`Cause::NotU64`] if it is another one.
    pub fn u64(self) -> Result<u64, JsonError> {
        self.expect(Kind::Number)?;
        let raw = self.raw();
        if !raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error(Cause::NotU64));
        }
        raw.parse().map_err(|_| self.error(Cause::NotU64))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`Cause::Kind`] if it is neither.
    pub fn bool(self) -> Result<bool, JsonError> {
        self.expect(Kind::Bool)?;
        Ok(self.raw() == "true")
    }

    /// An error about this value, for readers of a schema.
    #[must_use]
    pub const fn error(self, cause: Cause) -> JsonError {
        JsonError { at: self.start, cause }
    }

    /// The error for an object that lacks the member `name`.
    #[must_use]
    pub const fn missing(self, name: &'static str) -> JsonError {
        self.error(Cause::Missing { name })
    }

    fn expect(self, expected: Kind) -> Result<(), JsonError> {
        let found = self.kind();
        if found == expected { Ok(()) } else { Err(self.error(Cause::Kind { expected, found })) }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw())
    }
}

/// The members of an object, in the order of the document.
///
/// Yields an error, and then nothing more, if a key comes twice, is escaped, or is one too many.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    value: Value<'a>,
    next: usize,
    /// Where the keys seen so far begin.
    keys: Vec<u32, MEMBERS_MAX>,
}

impl<'a> Object<'a> {
    fn member(&mut self) -> Result<Option<(&'a str, Value<'a>)>, JsonError> {
        let mut scanner = Scanner::new(self.value.document, self.next);
        if scanner.closed(self.keys.is_empty(), b'}')? {
            self.next = self.value.end;
            return Ok(None);
        }
        let key = scanner.key()?;
        let name = key.text()?.plain().ok_or(key.error(Cause::EscapedKey))?;
        if self.keys.iter().any(|&at| self.key_at(at) == Some(name)) {
            return Err(key.error(Cause::Duplicate));
        }
        let start = u32::try_from(key.start).map_err(|_| key.error(Cause::Members))?;
        self.keys.push(start).map_err(|_| key.error(Cause::Members))?;
        let value = scanner.value()?;
        self.next = scanner.at();
        Ok(Some((name, value)))
    }

    /// The earlier key whose opening quote is at `at`.
    fn key_at(&self, at: u32) -> Option<&'a str> {
        let start = usize::try_from(at).ok()?.checked_add(1)?;
        self.value.document.get(start..)?.split('"').next()
    }
}

impl<'a> Iterator for Object<'a> {
    type Item = Result<(&'a str, Value<'a>), JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.value.end {
            return None;
        }
        let member = self.member();
        if member.is_err() {
            self.next = self.value.end;
        }
        member.transpose()
    }
}

/// The items of an array, in order.
///
/// The document has been checked, so no item is an error; the type says so only to keep a bug
/// from shortening an array in silence.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    value: Value<'a>,
    next: usize,
    first: bool,
}

impl<'a> Array<'a> {
    fn item(&mut self) -> Result<Option<Value<'a>>, JsonError> {
        let mut scanner = Scanner::new(self.value.document, self.next);
        if scanner.closed(self.first, b']')? {
            self.next = self.value.end;
            return Ok(None);
        }
        self.first = false;
        let value = scanner.value()?;
        self.next = scanner.at();
        Ok(Some(value))
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Result<Value<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.value.end {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            self.next = self.value.end;
        }
        item.transpose()
    }
}

/// Where and why a document is not what we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {cause}")]
pub struct JsonError {
    /// The place, in bytes from the start of the document.
    pub at: usize,
    /// The reason.
    pub cause: Cause,
}

/// Why a document is not what we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The document is longer than [`DOCUMENT_LEN_MAX`].
    #[error("document is {len} bytes, limit {DOCUMENT_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The document is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The document ends inside a value.
    #[error("unexpected end")]
    End,
    /// A byte that cannot stand here.
    #[error("not JSON")]
    Syntax,
    /// Something follows the value.
    #[error("data behind the value")]
    Trailing,
    /// Arrays and objects are nested too deep.
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// An object has too many members.
    #[error("more than {MEMBERS_MAX} members")]
    Members,
    /// A key comes twice in one object.
    #[error("key comes twice in one object")]
    Duplicate,
    /// A key has an escape in it.
    #[error("key with an escape")]
    EscapedKey,
    /// A string has an escape where none is accepted.
    #[error("string with an escape")]
    Escape,
    /// A string is longer than the room for it.
    #[error("string is longer than {limit} bytes")]
    TextTooLong {
        /// The room.
        limit: usize,
    },
    /// The value has another type.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// The type that belongs here.
        expected: Kind,
        /// The type that stands here.
        found: Kind,
    },
    /// A number is not an integer from 0 to 2^64 - 1.
    #[error("not an integer from 0 to 18446744073709551615")]
    NotU64,
    /// An object lacks a member.
    #[error("\"{name}\" is missing")]
    Missing {
        /// The member.
        name: &'static str,
    },
    /// A value is none of those that are known here.
    #[error("unknown value of \"{name}\"")]
    Unknown {
        /// The member that has the value.
        name: &'static str,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Null => "null",
        })
    }
}
