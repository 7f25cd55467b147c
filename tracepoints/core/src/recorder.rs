//! Records stamps: one atomic load when off; one counter read and one 64-byte write when on.
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    clock,
    ending::{Ending, Wait},
    kind::RequestKind,
    local,
    req::Req,
    site::StampSite,
    stamp::{Label, Stamp},
    stepping,
};

static ON: AtomicBool = AtomicBool::new(true);

/// Whether stamps are recorded.
#[inline(always)]
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Turns recording on or off for the whole process; returns the previous state.
pub fn set_on(on: bool) -> bool {
    ON.swap(on, Ordering::Relaxed)
}

/// Writes one stamp. Use [`stamp!`](crate::stamp), which checks [`on`] first.
///
/// Never inlined, so that it is compiled in this crate with this crate's optimisation level.
#[inline(never)]
pub fn record(site: &'static StampSite, req: Req, fields: [u64; 4]) {
    let mut stamp = Stamp {
        at: clock::raw(),
        req,
        site: Some(site),
        thread: 0,
        store: 0,
        field_count: site.fields.len() as u32,
        fields,
    };
    let region = stamp.at_place(site.join.region).unwrap_or(0);
    local::set_label(Label { req, site: stamp.site, region });
    local::push(&mut stamp);
    if req.stepped() {
        stepping::observe(stamp);
    }
}

/// Marks are stamps for the collector only: they belong to no stage.
pub(crate) static BEGIN: StampSite =
    StampSite::mark("begin", &["kind_and_key_len", "region", "key_0", "key_8"]);
pub(crate) static END: StampSite = StampSite::mark("end", &["outcome", "limit_ms", "trace_0", "trace_8"]);
pub(crate) static WAITS: StampSite = StampSite::mark("waits", &["what", "id_0", "id_1"]);

/// Marks the start of a request: its kind, its region and the first 16 bytes of its key.
pub(crate) fn mark_begin(req: Req, kind: RequestKind, key: &[u8], region: u64) {
    if on() {
        let mut head = [0u8; 16];
        let n = key.len().min(16);
        head[..n].copy_from_slice(&key[..n]);
        let (low, high) = head.split_at(8);
        let word = |b: &[u8]| b.try_into().map_or(0, u64::from_be_bytes);
        let kind_and_len = (kind as u64) << 32 | (key.len() as u64).min(u64::from(u32::MAX));
        mark(&BEGIN, req, [kind_and_len, region, word(low), word(high)]);
    }
}

pub(crate) fn mark_end(req: Req, ending: Ending) {
    if on() {
        mark(&END, req, ending.to_fields());
    }
}

pub(crate) fn mark_wait(req: Req, wait: Wait) {
    if on() {
        mark(&WAITS, req, wait.to_fields());
    }
}

#[inline(never)]
fn mark(site: &'static StampSite, req: Req, fields: [u64; 4]) {
    let field_count = site.fields.len() as u32;
    let mut stamp = Stamp { at: clock::raw(), req, site: Some(site), field_count, fields, ..Stamp::EMPTY };
    local::push(&mut stamp);
}
