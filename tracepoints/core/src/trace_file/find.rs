//! Searches the request table: skips whole chunks by their summaries and single requests by their entries.
use super::{
    bloom,
    chunk::Place,
    entry::{Entry, JOINS},
    query::{self, Query},
    read::TraceFile,
    summary::RequestsSummary,
};
use crate::{catalogue::Lane, recorded::RecordedRequest};

impl TraceFile {
    /// Returns the requests that match a query, with all their stamps.
    pub fn find<'a>(&'a self, query: &Query) -> impl Iterator<Item = RecordedRequest> + 'a {
        let wanted = query.clone();
        self.entries(query.clone()).map(|entry| self.load(&entry)).filter(move |r| wanted.matches(r))
    }

    /// Finds requests like [`TraceFile::find`], but faster: loads stamps only if the query names stages.
    pub fn heads<'a>(&'a self, query: &Query) -> Box<dyn Iterator<Item = RecordedRequest> + 'a> {
        if query.stages.is_empty() {
            return Box::new(self.entries(query.clone()).map(Entry::to_request));
        }
        Box::new(self.find(query))
    }

    /// Returns one request by its displayed number.
    pub fn request(&self, id: u64) -> Option<RecordedRequest> {
        self.find(&Query { request: Some(id), ..Query::default() }).next()
    }

    /// Entries that may match; without stages in the query they do match.
    pub(super) fn entries(&self, query: Query) -> impl Iterator<Item = Entry> + '_ {
        let stages = self.stages_wanted(&query);
        let of_table = {
            let (query, stages) = (query.clone(), stages.clone());
            self.index().requests.iter().flat_map(move |(place, summary)| {
                let stages = stages.as_ref().filter(|s| self.chunk_may_hold(place, summary, &query, s));
                let found: Vec<Entry> = match stages {
                    Some(stages) => self
                        .entries_of(place, summary)
                        .into_iter()
                        .filter(|e| self.wanted(e, &query, stages))
                        .collect(),
                    None => Vec::new(),
                };
                if stages.is_some() {
                    self.forget(place.at, place.end());
                }
                found
            })
        };
        let rebuilt = self.rebuilt.iter().copied();
        of_table.chain(rebuilt.filter(move |e| stages.as_ref().is_some_and(|s| self.wanted(e, &query, s))))
    }

    fn wanted(&self, entry: &Entry, query: &Query, stages: &[(u8, Lane)]) -> bool {
        entry.wanted_by(query, stages, !self.late_of(entry.id).is_empty())
    }

    /// Returns the bits of the query's stages, with their lanes; `None` if the file has no stamp of one of
    /// them.
    fn stages_wanted(&self, query: &Query) -> Option<Vec<(u8, Lane)>> {
        query.stages.iter().map(|s| Some((self.bit_of(*s)?, s.stage().lane))).collect()
    }

    fn chunk_may_hold(
        &self,
        place: &Place,
        summary: &RequestsSummary,
        query: &Query,
        stages: &[(u8, Lane)],
    ) -> bool {
        let head_of = |key: &[u8]| {
            let mut head = [0; query::KEY_HEAD];
            let n = key.len().min(query::KEY_HEAD);
            head[..n].copy_from_slice(&key[..n]);
            head
        };
        let keys = |key: &[u8]| summary.min_key <= head_of(key) && head_of(key) <= summary.max_key;
        let by_summary = query.request.is_none_or(|id| (summary.min_id..=summary.max_id).contains(&id))
            && (query.kinds.is_empty()
                || query.kinds.iter().any(|k| summary.kinds & 1 << (*k as u32 & 63) != 0))
            && query.since_ns.is_none_or(|since| summary.max_begin >= since)
            && query.until_ns.is_none_or(|until| summary.min_begin < until)
            && (!query.stages.is_empty() || summary.max_ns >= query.min_ns)
            && query.key.as_ref().is_none_or(|key| keys(key))
            && (self.has_late(summary.min_id, summary.max_id)
                || stages.iter().all(|(bit, _)| summary.joins || summary.stages.contains(*bit)));
        by_summary && self.filter_may_hold(place, summary, query)
    }

    fn filter_may_hold(&self, place: &Place, summary: &RequestsSummary, query: &Query) -> bool {
        let key =
            query.key.as_ref().map(|k| bloom::of_key(&k[..k.len().min(query::KEY_HEAD)], k.len() as u32));
        let region = query.region.map(bloom::of_region);
        if key.is_none() && region.is_none() {
            return true;
        }
        let body = self.bytes().get(place.body_range()).unwrap_or_default();
        let filter = body.get(summary.rows as usize * Entry::SIZE..).unwrap_or_default();
        if summary.filter_crc.is_some_and(|crc| crc != crc32fast::hash(filter)) {
            return true;
        }
        key.into_iter().chain(region).all(|hash| bloom::may_hold(filter, hash))
    }
}

impl Entry {
    /// Whether the request may match, judged without its stamps.
    fn wanted_by(&self, query: &Query, stages: &[(u8, Lane)], has_late: bool) -> bool {
        // Replicas may take longer than their request, and late stamps are not in the entry.
        let as_long =
            !stages.is_empty() && (has_late || stages.iter().any(|(_, lane)| *lane == Lane::Replica));
        query.wants(&self.to_request())
            && (query.min_ns == 0
                || as_long
                || self.duration_ns().map_or(!stages.is_empty(), |ns| ns >= query.min_ns))
            // The entry's set lacks the stages of joined stamps.
            && stages.iter().all(|(bit, _)| has_late || self.has(JOINS) || self.stages.contains(*bit))
    }
}
