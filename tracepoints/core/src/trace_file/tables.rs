//! Side tables: what stamps name by number, and notes on the recording.
use serde::{Deserialize, Serialize};

use crate::site::StampSite;

/// A place in the source. `stage` is empty for a mark, whose name is in `file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Site {
    pub number: u32,
    pub stage: String,
    /// The stage's bit in [`super::entry::StageSet`]; counted per file.
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

/// What is noted beside the stamps: at the begin, at every checkpoint, and at the end. All counts are since the begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The system's clock, in Unix ns.
    pub unix_ns: u64,
    /// The clock of the stamps at the same moment, in Unix ns: what it has drifted away is the difference.
    pub stamps_ns: u64,
    /// Version of the program that recorded, its process id and its name.
    pub program: String,
    pub pid: u32,
    /// Stamps that full rings dropped.
    pub dropped: u64,
    /// The same by thread; threads that have ended are in the sum only.
    pub dropped_by_thread: Vec<(String, u64)>,
    /// Stamps in the file.
    pub stamps: u64,
    /// Stamps that could not be written when the recording ended early; how many came after that is not known here.
    #[serde(default)]
    pub unwritten: u64,
}

impl Note {
    /// How far the stamps' clock is ahead of the system's, in ns.
    pub fn drift_ns(&self) -> i64 {
        self.stamps_ns.wrapping_sub(self.unix_ns) as i64
    }
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It was stopped.
    Stopped = 0,
    /// The disk was full: stamps from then on are missing.
    DiskFull = 1,
    /// The file had reached the size it was allowed: stamps from then on are missing.
    SizeLimit = 2,
    /// Another error of the file system: stamps from then on are missing.
    Failed = 3,
}

impl Ended {
    pub(super) fn of(n: u32) -> Self {
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
