//! The local reader's verdict for a person who steps: each value beside the one it was compared with.
use kvproto::raft_cmdpb::RaftRequestHeader;
use tracepoints::{Facts, clock::EngineInstant};

use crate::store::{
    lease::LeaseState,
    read_delegate::{ReadDelegate, RejectReason},
};

/// Describes a read that is local, or was `refused` for a reason.
pub fn verdict(
    header: &RaftRequestHeader,
    delegate: Option<&ReadDelegate>,
    now: EngineInstant,
    refused: Option<RejectReason>,
) -> Facts {
    let facts = Facts::new("Lease check");
    let facts = match refused {
        None => facts.outcome("the leader's lease is valid: read here"),
        Some(reason) => facts.failed(format!("not local: {}", reason.name().replace('_', " "))),
    };
    let Some(delegate) = delegate else {
        return facts.number("region", header.region_id).note("not on this store");
    };
    let epoch = header.region_epoch.unwrap_or_default();
    let own = delegate.region.epoch();
    let same = |same: bool| if same { "equal" } else { "differs" };
    let facts = facts
        .text("request's epoch", format!("conf_ver {}, version {}", epoch.conf_ver, epoch.version))
        .note(format!("region's: conf_ver {}, version {}: {}", own.conf_ver, own.version, same(epoch == own)))
        .number("request's peer", header.peer.map_or(0, |peer| peer.id))
        .note(format!("own: {}", delegate.peer_id));
    let facts = match header.term {
        0 => facts.number("term", delegate.term).note("the request names none"),
        term => facts.number("request's term", term).note(format!("own: {}", delegate.term)),
    };
    let facts = facts
        .number("applied term", delegate.applied_term)
        .note(if delegate.applied_term == delegate.term {
            "an entry of this term is applied"
        } else {
            "no entry of this term is applied"
        })
        .flag("asks for a quorum", header.read_quorum);
    match &delegate.leader_lease {
        None => facts.text("lease", "none").note("this peer does not lead"),
        Some(lease) => {
            let left = lease.remaining(now);
            let note = match delegate.lease_state(now) {
                Some(LeaseState::Valid) => format!("ends in {} ms", left.as_millis()),
                Some(_) => "has ended".to_owned(),
                None => "of an older term".to_owned(),
            };
            facts.number("lease of term", lease.term()).note(note)
        }
    }
}
