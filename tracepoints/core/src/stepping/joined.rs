//! Finds the stepped request that a batch, a replica or a region belongs to.
use super::{
    current::{active, current_inner},
    regions::is_watched,
};
use crate::req::Req;

/// Whether a stepped request is in this region; one load when nothing is stepped.
#[inline(always)]
pub fn watches_region(region: u64) -> bool {
    active() && is_watched(region)
}

/// Returns the stepped request that wrote an entry of this term in `first..=last`, or [`Req::NONE`]: for
/// batches and replicas.
#[inline(always)]
pub fn joined(region: u64, term: u64, first: u64, last: u64) -> Req {
    if watches_region(region) { joined_slow(region, term, first, last) } else { Req::NONE }
}

#[cold]
fn joined_slow(region: u64, term: u64, first: u64, last: u64) -> Req {
    let found = current_inner().and_then(|inner| inner.with_links(|l| l.entry((region, term), first, last)));
    found.unwrap_or_default()
}

/// The stepped request whose read index round has this id, or [`Req::NONE`].
#[inline(always)]
pub fn joined_read(id: u64) -> Req {
    if active() { joined_read_slow(id) } else { Req::NONE }
}

#[cold]
fn joined_read_slow(id: u64) -> Req {
    current_inner().and_then(|inner| inner.with_links(|l| l.read(id))).unwrap_or_default()
}
