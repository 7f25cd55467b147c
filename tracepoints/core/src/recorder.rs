//! Records stamps: one atomic load when off; one counter read and one 64-byte write when on.
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    clock,
    ending::{Ending, Wait},
    field::{Vote, split_from, split_from_count, split_voters},
    label::Label,
    local,
    request::{Req, RequestKind},
    session,
    site::{FROM_COUNT, StampSite},
};

/// One record that a request reached a stage. 64 bytes, plain data.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Stamp {
    /// Raw counter, see [`clock::raw_to_ns`].
    pub at: u64,
    pub req: Req,
    /// Site of the stamp; `None` only in a slot that was never written.
    pub site: Option<&'static StampSite>,
    pub thread: u16,
    pub store: u16,
    /// Number of fields that the site names.
    pub field_count: u32,
    pub fields: [u64; 4],
}

const _: () = assert!(size_of::<Stamp>() == 64);

impl Stamp {
    pub const EMPTY: Stamp =
        Stamp { at: 0, req: Req::NONE, site: None, thread: 0, store: 0, field_count: 0, fields: [0; 4] };

    /// Copies the stamp with another time. Built in one expression: patching a copy causes a store-forwarding
    /// stall.
    #[inline(always)]
    pub fn with_at(&self, at: u64) -> Self {
        Self { at, ..*self }
    }

    /// Whether it is the same stamp, not merely an equal one.
    pub(crate) fn is(&self, other: &Stamp) -> bool {
        (self.at, self.thread, self.req, self.fields) == (other.at, other.thread, other.req, other.fields)
            && self.site.map(std::ptr::from_ref) == other.site.map(std::ptr::from_ref)
    }

    /// Returns the value of a named field.
    pub fn field(&self, name: &str) -> Option<u64> {
        let i = self.site?.fields.iter().position(|f| *f == name)?;
        self.fields.get(i).copied()
    }

    /// The fields by their names; a packed field is split into its parts.
    pub fn named_fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = self.site.map_or(&[][..], |s| s.fields);
        let last = self.field("last").unwrap_or_default();
        let parts = names.iter().zip(self.fields).flat_map(move |(name, value)| {
            let flag = |vote: Vote| vote.name().map(|name| (name, 1));
            match *name {
                FROM_COUNT => {
                    let (from, vote, count) = split_from_count(value);
                    let first = last.saturating_add(1).saturating_sub(count);
                    [Some(("from", from)), Some(("first", first)), flag(vote)]
                }
                "voters" => {
                    let (voters, outgoing, vote) = split_voters(value);
                    [Some(("voters", voters)), (outgoing != 0).then_some(("outgoing", outgoing)), flag(vote)]
                }
                "from" => {
                    let (from, vote) = split_from(value);
                    [Some(("from", from)), flag(vote), None]
                }
                name => [Some((name, value)), None, None],
            }
        });
        parts.flatten()
    }

    /// Returns region, term and index of the one entry that this stamp names.
    pub(crate) fn entry(&self) -> Option<(u64, u64, u64)> {
        let join = &self.site?.join;
        let index = self.at_place(join.index).filter(|i| *i != 0)?;
        Some((self.at_place(join.region)?, self.at_place(join.term)?, index))
    }

    /// Returns region, term, first and last index of the entries of this batch's or replica's stamp.
    pub(crate) fn entries(&self) -> Option<(u64, u64, u64, u64)> {
        let join = &self.site?.join;
        let last = self.at_place(join.last)?;
        let first = match self.at_place(join.from_count) {
            Some(packed) => last.saturating_add(1).saturating_sub(split_from_count(packed).2),
            None => self.at_place(join.first)?,
        };
        Some((self.at_place(join.region)?, self.at_place(join.term)?, first, last))
    }

    /// Returns the read index round that this stamp names.
    pub(crate) fn read_id(&self) -> Option<u64> {
        self.at_place(self.site?.join.read_id).filter(|id| *id != 0)
    }

    #[inline]
    fn at_place(&self, place: u8) -> Option<u64> {
        self.fields.get(usize::from(place)).copied()
    }
}

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
        session::observe(stamp);
    }
}

/// Marks are stamps for the collector only: they belong to no stage.
pub(crate) static BEGIN: StampSite =
    StampSite::mark("begin", &["kind_and_key_len", "region", "key_0", "key_8"]);
pub(crate) static END: StampSite = StampSite::mark("end", &["outcome", "limit_ms", "trace_0", "trace_8"]);
pub(crate) static WAITS: StampSite = StampSite::mark("waits", &["what", "id_0", "id_1"]);

/// Marks the begin of a request: its kind, its region and the first 16 bytes of its key.
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
