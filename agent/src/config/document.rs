//! A TOML file in which every key must be known, read section by section.
//!
//! Errors name the file and the line, so that whoever typed it can find it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;

/// Longest configuration file, in bytes.
pub const FILE_LEN_MAX: u64 = 64 * 1024;

/// Reads the text of a small file, or `None` when there is no such file.
///
/// # Errors
/// [`DocumentError::Read`] and [`DocumentError::Length`].
pub fn read_small(file: &Path) -> Result<Option<String>, DocumentError> {
    use io::Read as _;
    let read_error = |cause| DocumentError::Read { file: file.to_owned(), cause };
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(read_error(cause)),
    };
    let len = opened.metadata().map_err(read_error)?.len();
    if len > FILE_LEN_MAX {
        return Err(DocumentError::Length { file: file.to_owned(), len });
    }
    let mut text = String::new();
    opened.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(read_error)?;
    Ok(Some(text))
}

/// A parsed file.
#[derive(Debug)]
pub struct Document<'a> {
    place: Place<'a>,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses `text`, which was read from `file`.
    ///
    /// # Errors
    /// [`DocumentError::Syntax`].
    pub fn parse(file: &'a Path, text: &'a str) -> Result<Self, DocumentError> {
        let place = Place { file, text };
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { place, table }),
            Err(error) => Err(DocumentError::Syntax {
                file: file.to_owned(),
                line: place.line(error.span().map_or(0, |span| span.start)),
                problem: error.message().trim().replace('\n', ", "),
            }),
        }
    }

    /// The section outside of all named sections.
    pub fn top(&self) -> Section<'_> {
        Section { place: self.place, name: String::new(), line: 1, table: self.table.get_ref() }
    }
}

/// A file and its text, to find lines in.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|&&byte| byte == b'\n').count().saturating_add(1)
    }
}

/// One table of a [`Document`].
#[derive(Debug)]
pub struct Section<'a> {
    place: Place<'a>,
    name: String,
    line: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The line on which the section begins.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Refuses every key that is not in `known`.
    pub fn allow(&self, known: &[&'static str]) -> Result<(), DocumentError> {
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                return Err(DocumentError::UnknownKey {
                    file: self.place.file.to_owned(),
                    line: self.place.line(key.span().start),
                    key: self.full(key.get_ref()),
                    nearest: nearest(key.get_ref(), known),
                });
            }
        }
        Ok(())
    }

    /// The first of `keys` that the section has, with its line.
    pub fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, usize)> {
        keys.iter().find_map(|&wanted| {
            let key = self.table.keys().find(|key| key.get_ref().as_ref() == wanted)?;
            Some((wanted, self.place.line(key.span().start)))
        })
    }

    /// The text of `key`. An empty text is refused.
    pub fn text(&self, key: &str) -> Result<Option<Keyed<String>>, DocumentError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let line = self.place.line(value.span().start);
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                Err(self.value_error(key, line, "is empty"))
            }
            DeValue::String(text) => Ok(Some(Keyed { line, value: text.clone().into_owned() })),
            other => Err(self.type_error(key, line, "a string", other)),
        }
    }

    /// Whether `key` is `true`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, DocumentError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(*value)),
            other => {
                let line = self.place.line(value.span().start);
                Err(self.type_error(key, line, "true or false", other))
            }
        }
    }

    /// The texts of `key`, an array.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<Keyed<String>>>, DocumentError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let DeValue::Array(array) = value.get_ref() else {
            let line = self.place.line(value.span().start);
            return Err(self.type_error(key, line, "an array of strings", value.get_ref()));
        };
        let text = |item: &Spanned<DeValue<'_>>| {
            let line = self.place.line(item.span().start);
            match item.get_ref() {
                DeValue::String(text) => Ok(Keyed { line, value: text.clone().into_owned() }),
                other => Err(self.type_error(key, line, "an array of strings", other)),
            }
        };
        array.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// What the word of `key` stands for in `choices`; another word is a `problem`.
    pub fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        problem: &'static str,
    ) -> Result<Option<T>, DocumentError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text.value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => Err(self.value_error(key, text.line, problem)),
        }
    }

    /// The absolute path of `key`.
    pub fn absolute_path(&self, key: &str) -> Result<Option<PathBuf>, DocumentError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if !text.value.starts_with('/') {
            return Err(self.value_error(key, text.line, "is not an absolute path"));
        }
        if text.value.split('/').any(|part| part == "..") {
            return Err(self.value_error(key, text.line, "has a .. in its path"));
        }
        Ok(Some(PathBuf::from(text.value)))
    }

    /// The whole number of `key`, between `min` and `max`.
    pub fn number<N>(&self, key: &str, min: N, max: N) -> Result<Option<N>, DocumentError>
    where
        N: Copy + PartialOrd + TryFrom<u64> + Into<u64>,
    {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let line = self.place.line(value.span().start);
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(self.type_error(key, line, "a whole number", value.get_ref()));
        };
        let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let parsed = parsed.and_then(|number| N::try_from(number).ok());
        match parsed.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(DocumentError::Range {
                file: self.place.file.to_owned(),
                line,
                key: self.full(key),
                found: integer.as_str().to_owned(),
                min: min.into(),
                max: max.into(),
            }),
        }
    }

    /// The section named `key` below this one.
    pub fn section(&self, key: &str) -> Result<Option<Self>, DocumentError> {
        let Some((name, value)) = self.table.get_key_value(key) else { return Ok(None) };
        self.below(name, value).map(Some)
    }

    /// The sections of an array of tables, `[[key]]`.
    pub fn sections(&self, key: &str) -> Result<Vec<Self>, DocumentError> {
        let Some((name, value)) = self.table.get_key_value(key) else { return Ok(Vec::new()) };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().map(|item| self.below(name, item)).collect(),
            other => {
                let line = self.place.line(value.span().start);
                Err(self.type_error(key, line, "an array of sections", other))
            }
        }
    }

    /// An error about the value of `key`.
    pub fn value_error(&self, key: &str, line: usize, problem: &'static str) -> DocumentError {
        let key = self.full(key);
        DocumentError::Value { file: self.place.file.to_owned(), line, key, problem }
    }

    fn below(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<Self, DocumentError> {
        let key = name.get_ref();
        let line = self.place.line(value.span().start);
        match value.get_ref() {
            DeValue::Table(table) => {
                Ok(Self { place: self.place, name: self.full(key), line, table })
            }
            other => Err(self.type_error(key, line, "a section", other)),
        }
    }

    fn type_error(
        &self,
        key: &str,
        line: usize,
        expected: &'static str,
        found: &DeValue<'_>,
    ) -> DocumentError {
        let file = self.place.file.to_owned();
        DocumentError::Type { file, line, key: self.full(key), expected, found: found.type_str() }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// A value, and the line it stands on.
#[derive(Debug)]
pub struct Keyed<T> {
    /// The line, counted from 1.
    pub line: usize,
    /// The value.
    pub value: T,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("{}: cannot read: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is too long.
    #[error("{}: is {len} bytes, limit {FILE_LEN_MAX}", file.display())]
    Length {
        /// The file.
        file: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key that means nothing here.
    #[error("{}:{line}: unknown key {key}{}", file.display(), Meant(*nearest))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// The known key that is most like it.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type.
    #[error("{}:{line}: {key} is not {expected} but of type {found}", file.display())]
    Type {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is, in TOML's words.
        found: &'static str,
    },
    /// A number out of its range.
    #[error("{}:{line}: {key} is {found}, not {min} to {max}", file.display())]
    Range {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// What stands there.
        found: String,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A value that cannot be used.
    #[error("{}:{line}: {key} {problem}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The end of a message about a mistyped key.
struct Meant(Option<&'static str>);

impl std::fmt::Display for Meant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |known| write!(f, ", did you mean {known}?"))
    }
}
