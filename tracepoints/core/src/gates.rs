//! Gates as a person writes them: a place, a hit count and a condition.
//!
//! ```text
//! write_cf_found                            a stage
//! write_cf_found if commit_ts > ts1         a condition on its fields
//! raft_propose#2                            from the second arrival on
//! point_getter.rs:170                       a line: its stage, or the nearest one of its function
//! PointGetter::load_data                    a function: ours or TiKV's
//! any if store == 2 and kind == kv_commit   any stage
//! any error, key error, region error        the outcome of a request
//! change of commit if store == 2            a value that its owner publishes
//! ```
mod condition;
mod error;
mod lex;
mod parse;
mod timestamps;
mod watch;

use std::fmt;

pub use condition::{Arrival, Comparison, Condition, Live, Operand, Recorded};
pub use error::GateError;
pub use parse::{Names, SourceOf};
pub use timestamps::{Timestamps, is_from_pd, is_timestamp, of_facts, of_rows};
pub(crate) use watch::Watcher;
pub use watch::{Change, Watched};

use crate::{
    Outcome,
    catalogue::{StageId, stage},
};

/// The place of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any of these stages: one, or those of a function.
    Stages(Vec<StageId>),
    /// The stage of one line; another line may stamp the same stage.
    Line {
        /// The stage.
        stage: StageId,
        /// The file of the stamp.
        file: &'static str,
        /// The line of the stamp.
        line: u32,
    },
    /// Any stage that can hold.
    Any,
    /// The reply with one of these outcomes.
    Outcome(Vec<Outcome>),
    /// The first stage after a change of this value.
    Change(Watched),
}

/// A gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The place.
    pub place: Place,
    /// The number of the first arrival that is held, from 1.
    pub hit: u32,
    /// The condition under which an arrival counts; for [`Place::Change`], the one under which a change counts.
    pub condition: Option<Condition>,
    /// The gate as a person wrote it, with one spelling for each place.
    text: String,
}

impl Gate {
    /// Makes a gate at one stage, without a condition.
    pub fn at(stage: StageId) -> Self {
        Self { place: Place::Stages(vec![stage]), hit: 1, condition: None, text: stage.name().to_owned() }
    }

    /// Holds only from the arrival of this number on; from 1.
    #[must_use]
    pub fn from_hit(mut self, hit: u32) -> Self {
        self.hit = hit.max(1);
        self.text = format!("{}#{}", self.text, self.hit);
        self
    }

    /// Parses a gate. `names` has the timestamps and files that the text may name.
    ///
    /// # Errors
    /// The text has no such form, or names an unknown stage, line or field, or a stage that cannot hold.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, GateError> {
        parse::gate(text, names)
    }

    /// Adds a condition; an empty text adds none.
    ///
    /// # Errors
    /// The condition does not parse, or names an unknown field of the gate's stages.
    pub fn under(self, condition: &str, names: &Names<'_>) -> Result<Self, GateError> {
        match condition.trim() {
            "" => Ok(self),
            condition => parse::gate(&format!("{} if {condition}", self.text), names),
        }
    }

    /// The gate's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The one stage of the gate; None if it has several.
    pub fn stage(&self) -> Option<StageId> {
        match &self.place {
            Place::Stages(stages) => match stages.as_slice() {
                [one] => Some(*one),
                _ => None,
            },
            Place::Line { stage, .. } => Some(*stage),
            Place::Outcome(_) => Some(stage::GRPC_REPLY),
            Place::Any | Place::Change(_) => None,
        }
    }

    /// Whether an arrival at `stage`, stamped in this line, is one at this gate; `false` for a change.
    pub fn accepts(&self, stage: StageId, file: &str, line: u32, at: &impl Arrival) -> bool {
        let here = match &self.place {
            Place::Stages(stages) => stages.contains(&stage),
            Place::Line { stage: wanted, file: in_file, line: in_line } => {
                *wanted == stage && *in_line == line && *in_file == file
            }
            Place::Any => true,
            Place::Outcome(outcomes) => {
                let outcome = at.field("outcome");
                stage == stage::GRPC_REPLY && outcomes.iter().any(|o| outcome == Some(*o as u64))
            }
            Place::Change(_) => false,
        };
        here && self.condition.as_ref().is_none_or(|condition| condition.holds(at))
    }
}

impl From<StageId> for Gate {
    fn from(stage: StageId) -> Self {
        Self::at(stage)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
