//! Stamps and labels: plain data that threads write and readers copy.
use crate::{
    field::{Vote, split_from, split_from_count, split_voters},
    req::Req,
    site::{FROM_COUNT, StampSite},
};

/// One record that a request reached a stage. 64 bytes, plain data.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Stamp {
    /// Raw counter, see [`crate::clock::raw_to_ns`].
    pub at: u64,
    /// The request; [`Req::NONE`] for a batch or a replica.
    pub req: Req,
    /// Site of the stamp; `None` only in a slot that was never written.
    pub site: Option<&'static StampSite>,
    /// Id of the thread, see [`crate::thread::info`].
    pub thread: u16,
    /// The thread's store; 0: none.
    pub store: u16,
    /// Number of fields that the site names.
    pub field_count: u32,
    /// Values of the fields, in the order of the site's names.
    pub fields: [u64; 4],
}

const _: () = assert!(size_of::<Stamp>() == 64);

impl Stamp {
    /// A stamp of no site and no time.
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
    pub(crate) fn at_place(&self, place: u8) -> Option<u64> {
        self.fields.get(usize::from(place)).copied()
    }
}

/// The last stamp of a thread.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// The request of the stamp.
    pub req: Req,
    /// The site; `None`: the thread is at no stage.
    pub site: Option<&'static StampSite>,
    /// The region in the stamp's own field; 0 if it has none.
    pub region: u64,
}

impl Label {
    /// The label of a thread that works for no request.
    pub const NONE: Label = Label { req: Req::NONE, site: None, region: 0 };
}
