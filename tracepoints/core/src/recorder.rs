//! Records stamps: an atomic load when off; when on, one counter read and one 64-byte write.
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{clock, request::Req, ring, session, site::StampSite, thread};

/// One record that a request reached a stage. 64 bytes, plain data.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Stamp {
    /// Raw counter, see [`clock::raw_to_ns`].
    pub at: u64,
    pub req: Req,
    /// None only in a slot never written.
    pub site: Option<&'static StampSite>,
    pub thread: u16,
    pub store: u16,
    /// How many fields the site names.
    pub field_count: u32,
    pub fields: [u64; 4],
}

const _: () = assert!(size_of::<Stamp>() == 64);

impl Stamp {
    pub const EMPTY: Stamp =
        Stamp { at: 0, req: Req::NONE, site: None, thread: 0, store: 0, field_count: 0, fields: [0; 4] };

    /// The value of a named field.
    pub fn field(&self, name: &str) -> Option<u64> {
        let i = self.site?.fields.iter().position(|f| *f == name)?;
        self.fields.get(i).copied()
    }
}

static ON: AtomicBool = AtomicBool::new(true);

/// Whether stamps are recorded.
#[inline(always)]
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Turns recording on or off for the whole process; returns what it was.
pub fn set_on(on: bool) -> bool {
    ON.swap(on, Ordering::Relaxed)
}

/// Writes one stamp. Use [`stamp!`](crate::stamp), which checks [`on`] first.
#[inline(always)]
pub fn record(site: &'static StampSite, req: Req, fields: [u64; 4]) {
    let stamp = Stamp {
        at: clock::raw(),
        req,
        site: Some(site),
        thread: thread::id(),
        store: thread::store(),
        field_count: site.fields.len() as u32,
        fields,
    };
    ring::push(stamp);
    if req.stepped() {
        session::observe(stamp);
    }
}
