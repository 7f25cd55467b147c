//! Asks the request table: whole chunks of it are passed over by their summaries, single requests by their entries.
use super::{
    Query, bloom,
    chunk::Place,
    entry::{Entry, JOINS},
    query,
    read::TraceFile,
    summary::OfRequests,
};
use crate::{catalogue::Lane, collector::RecordedRequest};

impl TraceFile {
    /// The requests that a query wants, with all their stamps.
    pub fn find<'a>(&'a self, query: &Query) -> impl Iterator<Item = RecordedRequest> + 'a {
        let wanted = query.clone();
        self.entries(query.clone()).map(|entry| self.load(&entry)).filter(move |r| wanted.matches(r))
    }

    /// As [`TraceFile::find`], and faster: stamps are there only if the query asks for stages.
    pub fn heads<'a>(&'a self, query: &Query) -> Box<dyn Iterator<Item = RecordedRequest> + 'a> {
        if query.stages.is_empty() {
            return Box::new(self.entries(query.clone()).map(Entry::to_request));
        }
        Box::new(self.find(query))
    }

    /// One request, by the number that people see.
    pub fn request(&self, id: u64) -> Option<RecordedRequest> {
        self.find(&Query { request: Some(id), ..Query::default() }).next()
    }

    /// Entries that may be wanted; without stages in the query they are.
    pub(super) fn entries(&self, query: Query) -> impl Iterator<Item = Entry> + '_ {
        let stages = self.stages_wanted(&query);
        let of_table = {
            let (query, stages) = (query.clone(), stages.clone());
            self.index().requests.iter().flat_map(move |(place, of)| {
                let stages = stages.as_ref().filter(|s| self.chunk_may_hold(place, of, &query, s));
                let found: Vec<Entry> = match stages {
                    Some(stages) => self
                        .entries_of(place, of)
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

    /// The bits of the stages that a query wants, with their lanes; None if the file has no stamp of one of them.
    fn stages_wanted(&self, query: &Query) -> Option<Vec<(u8, Lane)>> {
        query.stages.iter().map(|s| Some((self.bit_of(*s)?, s.stage().lane))).collect()
    }

    fn chunk_may_hold(&self, place: &Place, of: &OfRequests, query: &Query, stages: &[(u8, Lane)]) -> bool {
        let head_of = |key: &[u8]| {
            let mut head = [0; query::KEY_HEAD];
            let n = key.len().min(query::KEY_HEAD);
            head[..n].copy_from_slice(&key[..n]);
            head
        };
        let keys = |key: &[u8]| of.min_key <= head_of(key) && head_of(key) <= of.max_key;
        let by_summary = query.request.is_none_or(|id| (of.min_id..=of.max_id).contains(&id))
            && (query.kinds.is_empty() || query.kinds.iter().any(|k| of.kinds & 1 << (*k as u32 & 63) != 0))
            && query.since_ns.is_none_or(|since| of.max_begin >= since)
            && query.until_ns.is_none_or(|until| of.min_begin < until)
            && (!query.stages.is_empty() || of.max_ns >= query.min_ns)
            && query.key.as_ref().is_none_or(|key| keys(key))
            && (self.has_late(of.min_id, of.max_id)
                || stages.iter().all(|(bit, _)| of.joins || of.stages.contains(*bit)));
        by_summary && self.filter_may_hold(place, of, query)
    }

    fn filter_may_hold(&self, place: &Place, of: &OfRequests, query: &Query) -> bool {
        let key =
            query.key.as_ref().map(|k| bloom::of_key(&k[..k.len().min(query::KEY_HEAD)], k.len() as u32));
        let region = query.region.map(bloom::of_region);
        if key.is_none() && region.is_none() {
            return true;
        }
        let body = self.bytes().get(place.body_range()).unwrap_or_default();
        let filter = body.get(of.rows as usize * Entry::SIZE..).unwrap_or_default();
        if of.filter_crc.is_some_and(|crc| crc != crc32fast::hash(filter)) {
            return true;
        }
        key.into_iter().chain(region).all(|hash| bloom::may_hold(filter, hash))
    }
}

impl Entry {
    /// Whether the request may be wanted: all but what its stages must tell.
    fn wanted_by(&self, query: &Query, stages: &[(u8, Lane)], has_late: bool) -> bool {
        // Replicas may take longer than their request; what came late is not in the entry.
        let as_long =
            !stages.is_empty() && (has_late || stages.iter().any(|(_, lane)| *lane == Lane::Replica));
        query.wants(&self.to_request())
            && (query.min_ns == 0
                || as_long
                || self.duration_ns().map_or(!stages.is_empty(), |ns| ns >= query.min_ns))
            // What is joined is not in the set.
            && stages.iter().all(|(bit, _)| has_late || self.has(JOINS) || self.stages.contains(*bit))
    }
}
