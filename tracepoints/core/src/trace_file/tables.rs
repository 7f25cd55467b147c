//! Side tables: the sites and threads that stamps refer to by number, and notes about the recording.
use serde::{Deserialize, Serialize};

use crate::site::StampSite;

/// A source location. `stage` is empty for a mark; a mark's name is in `file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Site {
    pub number: u32,
    pub stage: String,
    /// The stage's bit in [`super::entry::StageSet`], assigned per file.
    pub bit: u8,
    pub file: String,
    pub line: u32,
    pub function: String,
    pub fields: Vec<String>,
}

impl Site {
    pub(super) fn describe(site: &StampSite, number: u32, bit: u8) -> Self {
        Self {
            number,
            stage: if site.is_mark() { String::new() } else { site.stage.name().into() },
            bit,
            file: site.file.into(),
            line: site.line,
            function: site.function(),
            fields: site.fields.iter().map(|f| (*f).to_owned()).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Thread {
    pub number: u16,
    pub name: String,
    pub store: u64,
}

/// A note about the recording, written at its start, at every checkpoint and at its end. All counts are since
/// the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The system's clock, in Unix ns.
    pub unix_ns: u64,
    /// The stamps' clock at the same moment, in Unix ns; the difference to `unix_ns` is its drift.
    pub stamps_ns: u64,
    /// Name and version of the recording program.
    pub program: String,
    /// Process id of the recording program.
    pub pid: u32,
    /// Number of stamps that full rings dropped.
    pub dropped: u64,
    /// Dropped stamps by thread name; threads that have ended are only in `dropped`.
    pub dropped_by_thread: Vec<(String, u64)>,
    /// Number of stamps in the file.
    pub stamps: u64,
    /// Stamps that could not be written when the recording ended early; does not count later ones.
    #[serde(default)]
    pub unwritten: u64,
}

impl Note {
    /// Returns how far the stamps' clock is ahead of the system's clock, in ns.
    pub fn drift_ns(&self) -> i64 {
        self.stamps_ns.wrapping_sub(self.unix_ns) as i64
    }
}

/// The reason why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// A user or a program stopped the recording.
    Stopped = 0,
    /// The disk was full; later stamps are missing.
    DiskFull = 1,
    /// The file reached its size limit; later stamps are missing.
    SizeLimit = 2,
    /// Another error of the file system; later stamps are missing.
    Failed = 3,
}

impl Ended {
    pub(super) fn from_number(n: u32) -> Self {
        [Self::Stopped, Self::DiskFull, Self::SizeLimit]
            .into_iter()
            .find(|e| *e as u32 == n)
            .unwrap_or(Self::Failed)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::DiskFull => "ended early: the disk was full",
            Self::SizeLimit => "ended early: the file had reached its size limit",
            Self::Failed => "ended early: the file could not be written",
        })
    }
}
