//! `fw_env.config`: where the copies of a U-Boot environment lie.
//!
//! Source: U-Boot 2025.01, `tools/env/fw_env.config`, and libubootenv 0.3.2, `README.md`, read
//! 2026-11. A line is `device offset length`, with more columns for raw flash; `#` begins a comment.

/// Longest environment in bytes.
pub const LEN_MAX: usize = 1 << 20;

/// Shortest environment in bytes: room for our variables and a few more.
const LEN_MIN: usize = 512;

/// Where one copy lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area<'a> {
    /// Path of a block device or a file.
    pub device: &'a str,
    /// Where the copy begins, in bytes.
    pub offset: u64,
    /// Its length in bytes, at most [`LEN_MAX`].
    pub len: usize,
}

/// The two areas of a redundant environment, of equal length and not overlapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FwEnv<'a> {
    /// The first area.
    pub first: Area<'a>,
    /// The second area.
    pub second: Area<'a>,
}

/// Why an `fw_env.config` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FwEnvError {
    /// It is YAML, which newer libubootenv reads.
    #[error(
        "line {line}: the YAML form of fw_env.config is not supported, write `device offset length`"
    )]
    Yaml {
        /// Which line, counted from 1.
        line: usize,
    },
    /// A line has too few columns.
    #[error("line {line}: not `device offset length`")]
    Columns {
        /// Which line, counted from 1.
        line: usize,
    },
    /// A column is not a number.
    #[error("line {line}: {column} is not a decimal or 0x number")]
    Number {
        /// Which line, counted from 1.
        line: usize,
        /// Which column.
        column: &'static str,
    },
    /// The environment is too short or too long.
    #[error("line {line}: environment of {found} bytes, limits {LEN_MIN} and {LEN_MAX}")]
    Length {
        /// Which line, counted from 1.
        line: usize,
        /// The length there.
        found: u64,
    },
    /// Raw flash has to be erased before it is written, which is not supported.
    #[error("line {line}: raw flash is not supported, use a block device or a file")]
    RawFlash {
        /// Which line, counted from 1.
        line: usize,
    },
    /// There are not two areas: a single one does not survive a cut.
    #[error("{found} areas, not 2: a redundant environment is needed")]
    Areas {
        /// How many there are, at most 3.
        found: usize,
    },
    /// The areas differ in length.
    #[error("areas of {first} and {second} bytes, not of equal length")]
    LengthsDiffer {
        /// Length of the first.
        first: usize,
        /// Length of the second.
        second: usize,
    },
    /// The areas overlap.
    #[error("areas at {first} and {second} overlap")]
    Overlap {
        /// Where the first begins.
        first: u64,
        /// Where the second begins.
        second: u64,
    },
}

impl<'a> FwEnv<'a> {
    /// Reads an `fw_env.config`.
    ///
    /// # Errors
    /// Names the line, or what is wrong with the two areas together.
    pub fn parse(text: &'a str) -> Result<Self, FwEnvError> {
        let mut areas = (1..).zip(text.lines()).filter_map(|(line, content)| {
            let content = content.split_once('#').map_or(content, |(before, _)| before).trim();
            (!content.is_empty()).then(|| area(line, content))
        });
        let first = areas.next().ok_or(FwEnvError::Areas { found: 0 })??;
        let second = areas.next().ok_or(FwEnvError::Areas { found: 1 })??;
        if areas.next().is_some() {
            return Err(FwEnvError::Areas { found: 3 });
        }
        if first.len != second.len {
            return Err(FwEnvError::LengthsDiffer { first: first.len, second: second.len });
        }
        let apart = u64::try_from(first.len).unwrap_or(u64::MAX);
        if first.device == second.device && first.offset.abs_diff(second.offset) < apart {
            return Err(FwEnvError::Overlap { first: first.offset, second: second.offset });
        }
        Ok(Self { first, second })
    }
}

fn area(line: usize, content: &str) -> Result<Area<'_>, FwEnvError> {
    let mut columns = content.split_ascii_whitespace();
    let device = columns.next().ok_or(FwEnvError::Columns { line })?;
    if device == "---" || device == "-" || device.ends_with(':') {
        return Err(FwEnvError::Yaml { line });
    }
    let is_flash = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    if device.strip_prefix("/dev/mtd").is_some_and(is_flash) || device.starts_with("/dev/ubi") {
        return Err(FwEnvError::RawFlash { line });
    }
    let mut number = |column| {
        let text = columns.next().ok_or(FwEnvError::Columns { line })?;
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
        u64::from_str_radix(digits, radix).map_err(|_| FwEnvError::Number { line, column })
    };
    let offset = number("offset")?;
    let found = number("length")?;
    let len = usize::try_from(found).ok().filter(|len| (LEN_MIN..=LEN_MAX).contains(len));
    Ok(Area { device, offset, len: len.ok_or(FwEnvError::Length { line, found })? })
}

#[cfg(test)]
mod tests;
