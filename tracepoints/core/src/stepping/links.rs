//! Links work to stepped requests: entries by region, term and index, read rounds by id.
use std::collections::VecDeque;

use crate::{req::Req, stamp::Stamp};

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

    pub(super) fn entry(&self, at: (u64, u64), first: u64, last: u64) -> Option<Req> {
        self.0.iter().rev().find_map(|link| match *link {
            Link::Entry { region, term, index, req } => {
                ((region, term) == at && (first..=last).contains(&index)).then_some(req)
            }
            Link::Read { .. } => None,
        })
    }

    pub(super) fn read(&self, wanted: u64) -> Option<Req> {
        self.0.iter().find_map(|link| match *link {
            Link::Read { id, req } if id == wanted => Some(req),
            _ => None,
        })
    }
}
