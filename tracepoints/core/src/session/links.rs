//! Links work to stepped requests: entries by region, term and index, read rounds by id, regions by number.
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{active, current_inner};
use crate::{recorder::Stamp, request::Req};

/// Maximum number of links; the oldest are removed first.
const MAX_LINKS: usize = 256;

/// An entry or a read round that belongs to a stepped request.
#[derive(Clone, Copy)]
enum Link {
    Entry { region: u64, term: u64, index: u64, req: Req },
    Read { id: u64, req: Req },
}

#[derive(Default)]
pub(super) struct Links(VecDeque<Link>);

impl Links {
    /// Records the entry (`region`, `term`, `index`) or the read round (`read_id`) that a request's stamp
    /// names.
    pub(super) fn note(&mut self, stamp: &Stamp) {
        let req = stamp.req;
        let link = match (stamp.entry(), stamp.read_id()) {
            (Some((region, term, index)), _) => Link::Entry { region, term, index, req },
            (None, Some(id)) => Link::Read { id, req },
            (None, None) => return,
        };
        if self.0.len() == MAX_LINKS {
            self.0.pop_front();
        }
        self.0.push_back(link);
    }

    fn entry(&self, at: (u64, u64), first: u64, last: u64) -> Option<Req> {
        self.0.iter().rev().find_map(|link| match *link {
            Link::Entry { region, term, index, req } => {
                ((region, term) == at && (first..=last).contains(&index)).then_some(req)
            }
            Link::Read { .. } => None,
        })
    }

    fn read(&self, wanted: u64) -> Option<Req> {
        self.0.iter().find_map(|link| match *link {
            Link::Read { id, req } if id == wanted => Some(req),
            _ => None,
        })
    }
}

/// Regions of the stepped requests; the owners of their Raft state publish while a region is in this list.
static REGIONS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Whether a stepped request is in this region; one load when nothing is stepped.
#[inline(always)]
pub fn watches_region(region: u64) -> bool {
    active() && is_watched(region)
}

#[inline(never)]
fn is_watched(region: u64) -> bool {
    region != 0 && REGIONS.iter().any(|r| r.load(Ordering::Relaxed) == region)
}

/// Adds a region whose Raft state its owners must publish (0: removes all). A ninth region replaces the last
/// one.
pub fn watch_region(region: u64) {
    if region == 0 {
        REGIONS.iter().for_each(|r| r.store(0, Ordering::Relaxed));
    } else if !is_watched(region) {
        let free =
            |r: &&AtomicU64| r.compare_exchange(0, region, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if REGIONS.iter().find(free).is_none() {
            REGIONS[REGIONS.len() - 1].store(region, Ordering::Relaxed);
        }
    }
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
