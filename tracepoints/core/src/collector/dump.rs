//! Writes kept requests to a trace file.
use std::path::Path;

use super::{CollectorError, CollectorHandle};
use crate::{
    recorded::{RecordedRequest, Why},
    recorder,
    req::Req,
    stamp::Stamp,
    trace_file::TraceFileWriter,
};

impl CollectorHandle {
    /// Writes the requests kept for these reasons to a new file; returns their number.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn write_kept(&self, why: &[Why], path: &Path) -> Result<usize, CollectorError> {
        let mut requests: Vec<RecordedRequest> = why.iter().flat_map(|why| self.kept(*why)).collect();
        // A request may have changed its reason between two queries.
        requests.sort_by_key(|r| r.id);
        requests.dedup_by_key(|r| r.id);
        let mut file = TraceFileWriter::create(path)?;
        file.stamps(&stamps_of(&requests))?;
        file.finish()?;
        Ok(requests.len())
    }
}

/// Collects the stamps as threads made them: a stamp of a batch that several requests share appears once.
fn stamps_of(requests: &[RecordedRequest]) -> Vec<Stamp> {
    let mut all: Vec<Stamp> = requests
        .iter()
        .flat_map(|r| r.marks().into_iter().flatten().chain(r.stamps.iter().copied()))
        .collect();
    let id = |s: &Stamp| {
        (s.at, s.thread, s.req.id(), s.site.map_or(0, |site| std::ptr::from_ref(site) as usize), s.fields)
    };
    all.sort_by_key(id);
    all.dedup_by_key(|s| id(s));
    all
}

impl RecordedRequest {
    /// Returns the marks of the request's begin and end.
    fn marks(&self) -> [Option<Stamp>; 2] {
        let mut head = [0; 16];
        head[..self.key_head.len()].copy_from_slice(&self.key_head);
        let key = u128::from_be_bytes(head);
        let kind_and_len = (self.kind as u64) << 32 | u64::from(self.key_len);
        let begin = [kind_and_len, self.region, (key >> 64) as u64, key as u64];
        let mark = |at, site: &'static crate::StampSite, fields| Stamp {
            at,
            req: Req::from_id(self.id),
            site: Some(site),
            thread: self.stamps.first().map_or(0, |s| s.thread),
            store: self.store as u16,
            field_count: site.fields.len() as u32,
            fields,
        };
        [
            (self.begin_ns != 0).then(|| mark(self.begin_ns, &recorder::BEGIN, begin)),
            self.end_ns.map(|at| mark(at, &recorder::END, self.ending.to_fields())),
        ]
    }
}
