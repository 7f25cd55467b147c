//! `sst PATH verify`: reads every block, so that all damage shows, and checks the order and the number of
//! keys.
use serde_json::{Map, json};

use super::keys::type_name;
use crate::{
    Error, Result,
    lsm::{self, Table},
    offline::damage::json as json_of,
    print::output::Output,
};

pub fn run(table: &Table, threads: usize, out: &mut Output<'_>) -> Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let found = lsm::verify(table, if threads == 0 { cores() } else { threads })?;
    let damages = &found.damages;
    if out.is_json() {
        let types: Map<_, _> =
            found.types.iter().map(|(kind, count)| (type_name(*kind), json!(count))).collect();
        out.json(&json!({
            "entries": found.entries, "range_deletions": found.range_deletions, "data_blocks": found.blocks,
            "types": types, "ok": damages.is_empty(), "damages": damages.iter().map(json_of).collect::<Vec<_>>(),
        }))?;
    } else {
        damages.iter().try_for_each(|damage| out.line(damage.to_string()))?;
        let end =
            if damages.is_empty() { ": all checksums match, keys are in order" } else { " could be read" };
        out.line(format!("{} entries in {} data blocks{end}", found.entries, found.blocks))?;
    }
    if damages.is_empty() { Ok(()) } else { Err(Error::Damaged(damages.len())) }
}
