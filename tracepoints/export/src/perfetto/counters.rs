//! Raft's indexes over time: the last proposed, appended, persisted, committed and applied index of a region
//! on a store.
use std::collections::HashSet;

use crate::model::Span;

/// Stages whose stamps have an index, and the meaning of the index.
const INDEXES: &[(&str, &str)] = &[
    ("raft_propose", "proposed"),
    ("follower_append", "appended"),
    ("raft_write_end", "persisted"),
    ("raft_commit", "committed"),
    ("apply_done", "applied"),
];

pub(super) struct Point {
    pub name: String,
    pub value: i64,
}

/// Points already written: a stamp of a batch is part of many requests but counts once.
#[derive(Default)]
pub(super) struct Counters(HashSet<(u64, u64, &'static str, u64)>);

impl Counters {
    pub fn point(&mut self, span: &Span) -> Option<Point> {
        let (_, what) = INDEXES.iter().find(|(stage, _)| *stage == span.name)?;
        let field = |name: &str| span.attributes.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.uint());
        let (region, index) = (field("region")?, field("last").or_else(|| field("index"))?);
        let value = i64::try_from(index).ok().filter(|i| *i > 0)?;
        let new = self.0.insert((span.store, region, what, span.start_ns));
        new.then(|| Point { name: format!("region {region} {what}"), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_with_an_index_are_in_the_catalogue() {
        for (stage, _) in INDEXES {
            assert!(tracepoints::find_stage(stage).is_some(), "{stage}");
        }
    }
}
