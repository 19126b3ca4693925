//! What `disk` says when it is done, to people and to programs.

use serde::Serialize;

use super::DiskError;
use super::plan::Plan;
use crate::output;

/// The version of the JSON report.
const VERSION: u32 = 1;

/// A disk that was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made<'a> {
    version: u32,
    pub(super) output: String,
    pub(super) format: &'static str,
    pub(super) bytes: u64,
    pub(super) loader: &'static str,
    pub(super) release: Release<'a>,
    partitions: Vec<Partition>,
    pub(super) users: Vec<&'a str>,
    pub(super) warnings: Vec<String>,
}

/// The release in slot A.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Release<'a> {
    pub(super) digest: String,
    pub(super) version: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    number: usize,
    name: &'static str,
    guid: String,
    start: u64,
    bytes: u64,
}

impl<'a> Made<'a> {
    pub(super) fn new(plan: &Plan, loader: &'static str, release: Release<'a>) -> Self {
        let partitions = (1..).zip(&plan.entries).map(|(number, entry)| Partition {
            number,
            name: entry.name,
            guid: entry.guid.to_string(),
            start: entry.start,
            bytes: entry.len,
        });
        Self {
            version: VERSION,
            output: String::new(),
            format: "",
            bytes: plan.disk_len,
            loader,
            release,
            partitions: partitions.collect(),
            users: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Tells about it, as JSON or as text.
    pub(super) fn report(&self, json: bool) -> Result<(), DiskError> {
        self.warnings.iter().for_each(output::warning);
        if json {
            return output::json(self).map_err(DiskError::Json);
        }
        let Self { output, format, bytes, loader, release, .. } = self;
        output::data(format_args!("disk       {output} ({format}, {bytes} bytes, {loader})"));
        output::data(format_args!("slot a     {} (version {})", release.digest, release.version));
        for Partition { number, name, start, bytes, .. } in &self.partitions {
            output::data(format_args!("{number:<10} {name:<10} {bytes} bytes from {start}"));
        }
        if !self.users.is_empty() {
            output::data(format_args!("users      {}", self.users.join(", ")));
        }
        Ok(())
    }
}
