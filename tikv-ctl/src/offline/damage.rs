//! Reports unreadable data with the affected keys and regions.
use keys::CF_RAFT;
use kvproto::{metapb::Region, raft_serverpb::RegionLocalState};
use prost::Message;
use serde_json::{Value, json};
use store_files::io::Damage;

use super::{Offline, bounds::bounds, raft::RaftStore};

/// Maximum number of regions that one text names.
const MAX_NAMED: usize = 20;

impl Offline {
    /// Returns a line for each damaged place found so far.
    pub(super) fn all_damages(&self) -> Vec<String> {
        let found = self.kv.damages();
        // The search for regions may find more damage, which is in `damages` afterwards.
        let regions = if found.is_empty() { Vec::new() } else { self.regions() };
        let mut all: Vec<String> = self.damages.iter().map(ToString::to_string).collect();
        all.extend(texts(&self.kv.damages(), &regions));
        all.extend(self.raft_texts());
        all.extend(self.missing_log());
        all
    }

    /// Returns a line for each damaged place found so far in SSTs and blob files.
    pub fn unread(&self) -> Vec<String> {
        let found = self.kv.unread();
        let regions = if found.is_empty() { Vec::new() } else { self.regions() };
        texts(&found, &regions)
    }

    /// Returns a line for each damaged place of the Raft log.
    fn raft_texts(&self) -> Vec<String> {
        let of_db = matches!(self.raft, RaftStore::Db(_));
        let of = if of_db { "damage in the Raft log: " } else { "" };
        self.raft.damages().iter().map(|damage| format!("{of}{damage}")).collect()
    }

    /// Without any Raft group the Raft log is lost if column family raft has regions.
    fn missing_log(&self) -> Option<String> {
        if self.has_tablets || !self.raft.is_empty() {
            return None;
        }
        let ids: Vec<u64> = self.regions().iter().map(|region| region.id).collect();
        (!ids.is_empty()).then(|| {
            format!(
                "{}: expected Raft groups for regions {} of column family raft, found none: the Raft log and the Raft \
                 states are lost, or this raft-engine belongs to another store",
                self.raft.dir().display(),
                named(&ids)
            )
        })
    }

    fn regions(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        let read = self.each_region(|_, value| {
            regions.extend(RegionLocalState::decode(value).ok().and_then(|state| state.region));
            Ok(())
        });
        // The damage is reported even without the regions.
        let _ = read;
        regions
    }
}

/// Returns damage as JSON: its fields, and its text.
pub(crate) fn json(damage: &Damage) -> Value {
    let lost = damage
        .lost_keys()
        .map(|(after, up_to)| json!({ "after": keys::hex_upper(after), "up_to": keys::hex_upper(up_to) }));
    let named = Some(&damage.path).filter(|path| !path.as_os_str().is_empty());
    // A path of other bytes than UTF-8 is no JSON text.
    let file = named.map(|path| path.display().to_string());
    json!({
        "text": damage.to_string(), "file": file, "offset": damage.offset, "what": damage.what,
        "cf": damage.cf, "lost": lost,
    })
}

/// Formats the damage of a database with the affected regions.
pub(crate) fn texts(found: &[Damage], regions: &[Region]) -> Vec<String> {
    let texts = found.iter().map(|damage| {
        let means = damage.lost_keys().map(|(from, to)| match damage.cf.as_deref() {
            Some(CF_RAFT) => states_between(from, to),
            _ => touched(regions, from, to),
        });
        let of = damage.cf.as_deref().map_or(String::new(), |cf| format!(" in CF {cf}"));
        format!("damage{of}: {damage}{}", means.unwrap_or_default())
    });
    texts.collect()
}

/// Names the regions whose states are between two keys of CF raft.
fn states_between(from: &[u8], to: &[u8]) -> String {
    let id = |key: &[u8]| match key {
        [keys::LOCAL_PREFIX, 2 | 3, rest @ ..] => rest.first_chunk::<8>().map(|id| u64::from_be_bytes(*id)),
        _ => None,
    };
    match (id(from), id(to)) {
        (Some(from), Some(to)) if from == to => format!("; states of region {from}"),
        (Some(from), Some(to)) => format!("; states of regions {from} to {to}"),
        _ => "; states of regions".to_owned(),
    }
}

/// Names the regions that have keys between `from` and `to`.
fn touched(regions: &[Region], from: &[u8], to: &[u8]) -> String {
    let mut ids: Vec<u64> = regions
        .iter()
        .filter(|region| {
            let (start, end) = bounds(Some(region));
            (to.is_empty() || start.as_slice() <= to) && end.as_slice() > from
        })
        .map(|region| region.id)
        .collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return "; in no region of this store".to_owned();
    }
    format!("; regions {}", named(&ids))
}

fn named(ids: &[u64]) -> String {
    let more = ids.len().saturating_sub(MAX_NAMED);
    let first: Vec<String> = ids.iter().take(MAX_NAMED).map(u64::to_string).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_keys_of_cf_raft_are_states() {
        let key = keys::region_state_key;
        assert_eq!(states_between(&key(2), &key(8)), "; states of regions 2 to 8");
        assert_eq!(states_between(&key(2), &keys::apply_state_key(2)), "; states of region 2");
        assert_eq!(states_between(b"", &key(8)), "; states of regions");
    }

    #[test]
    fn json_has_the_text_and_its_parts() {
        let damage = Damage::at("1.sst", 7, "bad").losing(b"a", b"").in_cf("write");
        let expected = json!({
            "text": "1.sst at byte 7: bad; lost: keys after a", "file": "1.sst", "offset": 7, "what": "bad",
            "cf": "write", "lost": { "after": "61", "up_to": "" },
        });
        assert_eq!(json(&damage), expected);
        let unknown = json(&Damage::whole("", "bad"));
        assert_eq!((&unknown["file"], &unknown["lost"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_span_touches_the_regions_that_it_reaches_into() {
        let region = |id, start: &[u8], end: &[u8]| Region {
            id,
            start_key: start.to_vec(),
            end_key: end.to_vec(),
            ..Default::default()
        };
        let regions = [region(2, b"", b"m"), region(4, b"m", b"")];
        assert_eq!(touched(&regions, b"za", b"zb"), "; regions 2");
        assert_eq!(touched(&regions, b"za", b"zm"), "; regions 2, 4");
        assert_eq!(touched(&regions, b"", b""), "; regions 2, 4");
        assert_eq!(touched(&regions, b"{", b"}"), "; in no region of this store");
    }
}
