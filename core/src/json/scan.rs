//! Finds where values end, checking the syntax on the way.

use heapless::Vec;

use super::{Cause, DEPTH_MAX, JsonError, Value};

/// A place in a document.
pub(super) struct Scanner<'a> {
    document: &'a str,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Object,
    Array,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(document: &'a str, at: usize) -> Self {
        Self { document, at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.skip();
        }
    }

    /// Whether the next token closes the object or array; if not, reads over the comma that
    /// belongs before all but the first item.
    pub(super) fn closed(&mut self, first: bool, close: u8) -> Result<bool, JsonError> {
        self.whitespace();
        if self.peek() == Some(close) {
            self.skip();
            return Ok(true);
        }
        if !first {
            self.take(b',')?;
            self.whitespace();
        }
        Ok(false)
    }

    /// Reads a key and the colon behind it.
    pub(super) fn key(&mut self) -> Result<Value<'a>, JsonError> {
        self.whitespace();
        let start = self.at;
        self.string()?;
        let key = Value { document: self.document, start, end: self.at };
        self.whitespace();
        self.take(b':')?;
        Ok(key)
    }

    /// Reads one value with everything in it.
    pub(super) fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.whitespace();
        let start = self.at;
        let mut open: Vec<Open, DEPTH_MAX> = Vec::new();
        loop {
            self.whitespace();
            let opened = match self.peek() {
                Some(b'{') => Some((Open::Object, b'}')),
                Some(b'[') => Some((Open::Array, b']')),
                _ => None,
            };
            if let Some((kind, close)) = opened {
                open.push(kind).map_err(|_| self.error(Cause::Depth))?;
                self.skip();
                self.whitespace();
                if self.peek() != Some(close) {
                    if kind == Open::Object {
                        self.key()?;
                    }
                    continue;
                }
                self.skip();
                open.pop();
            } else {
                self.scalar()?;
            }
            // A value has ended: what follows belongs to the objects and arrays around it.
            loop {
                let Some(&kind) = open.last() else {
                    return Ok(Value { document: self.document, start, end: self.at });
                };
                self.whitespace();
                match (self.peek(), kind) {
                    (Some(b','), Open::Object) => {
                        self.skip();
                        self.key()?;
                        break;
                    }
                    (Some(b','), Open::Array) => {
                        self.skip();
                        break;
                    }
                    (Some(b'}'), Open::Object) | (Some(b']'), Open::Array) => {
                        self.skip();
                        open.pop();
                    }
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.take(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.skip();
                    return Ok(());
                }
                Some(b'\\') => {
                    let rest = self.document.get(self.at..).unwrap_or_default();
                    let (_, len) = super::text::escape(rest).ok_or(self.unexpected())?;
                    self.at = self.at.saturating_add(len);
                }
                Some(0..0x20) | None => return Err(self.unexpected()),
                Some(_) => self.skip(),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.skip();
        }
        match self.peek() {
            Some(b'0') => self.skip(),
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.skip();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.skip();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.skip();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.skip();
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.take(byte))
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.skip();
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.document.as_bytes().get(self.at).copied()
    }

    const fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn unexpected(&self) -> JsonError {
        self.error(if self.peek().is_none() { Cause::End } else { Cause::Syntax })
    }

    const fn error(&self, cause: Cause) -> JsonError {
        JsonError { at: self.at, cause }
    }
}
