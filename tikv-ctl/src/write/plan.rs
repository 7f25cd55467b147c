//! [`Plan`]: the changes that a command would make.
use kvproto::raft_serverpb::RegionLocalState;
use prost::Message;

use super::Change;
use crate::{Error, Offline, Result, offline::REGION_STATE};

/// Changes, and the errors that prevent others.
#[derive(Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// Regions without changes, with the reason.
    pub errors: Vec<(u64, String)>,
    /// Failures that belong to no region.
    pub failures: Vec<String>,
    /// Notes for the user that are no errors.
    pub notes: Vec<String>,
    /// Makes no change at all if there are errors or failures: half of the changes would be worse than none.
    pub all_or_nothing: bool,
}

impl Plan {
    /// Creates a plan that is applied as a whole or not at all.
    pub fn whole() -> Plan {
        Plan { all_or_nothing: true, ..Plan::default() }
    }

    /// Adds a failure.
    pub fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Returns errors and failures, one per line, as an error.
    pub fn error(&self) -> Result<()> {
        let regions = self.errors.iter().map(|(id, e)| format!("region: {id}, error: {e}"));
        let mut lines: Vec<String> = regions.chain(self.failures.iter().cloned()).collect();
        if lines.is_empty() {
            return Ok(());
        }
        if self.all_or_nothing {
            lines.push("nothing was changed".to_owned());
        }
        Err(Error::Tikv(lines.join("\n")))
    }

    /// Adds a change of a region's `RegionLocalState`; `applied` is its applied index.
    pub(super) fn region_state(
        &mut self,
        store: &Offline,
        (id, applied): (u64, u64),
        old: Option<&RegionLocalState>,
        new: &RegionLocalState,
        why: &str,
    ) {
        let (bytes, new) = (old.map(Message::encode_to_vec), new.encode_to_vec());
        let key = (REGION_STATE, &keys::region_state_key(id)[..]);
        let why = format!("region {id}: {why}");
        self.changes.push(Change::state(store, id, key, applied, (bytes.as_deref(), &new), why));
    }

    /// Assigns changes of data to the tablets of `store`, if it has any.
    pub fn place(&mut self, store: &Offline) -> Result<()> {
        if !store.has_tablets() {
            return Ok(());
        }
        self.changes.iter_mut().try_for_each(|change| change.place(store))
    }
}
