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
    let facts = identity(facts, header, delegate);
    lease_row(applied_row(facts, delegate).flag("asks for a quorum", header.read_quorum), delegate, now)
}

/// Shows whether the store has a delegate of the region.
pub fn delegate_of(region: u64, delegate: Option<&ReadDelegate>) -> Facts {
    let facts = Facts::new("Delegate").number("region", region);
    match delegate {
        None => facts.note("no peer on this store has published its state").failed("no delegate"),
        Some(delegate) => facts.number("peer", delegate.peer_id).outcome("found"),
    }
}

/// Shows the checks of the header, and the one that failed.
pub fn checks(
    header: &RaftRequestHeader,
    store: u64,
    delegate: &ReadDelegate,
    refused: Option<RejectReason>,
) -> Facts {
    let to = header.peer.map_or(0, |peer| peer.store_id);
    let facts = Facts::new("Checks").number("request's store", to).note(format!("own: {store}"));
    let facts = identity(facts, header, delegate).flag("asks for a quorum", header.read_quorum);
    match refused {
        None => facts.outcome("all agree"),
        Some(reason) => facts.failed(reason.name().replace('_', " ")),
    }
}

/// Shows the term of the last applied entry beside the peer's term.
pub fn applied_term(delegate: &ReadDelegate) -> Facts {
    let facts = applied_row(Facts::new("Applied term"), delegate);
    let facts = facts.number("term", delegate.term).note("of the peer");
    match delegate.applied_term == delegate.term {
        true => facts.outcome("applied"),
        false => facts.failed("not applied yet"),
    }
}

/// Shows the lease at `now`.
pub fn lease(delegate: &ReadDelegate, now: EngineInstant) -> Facts {
    let facts = lease_row(Facts::new("Lease").number("term", delegate.term), delegate, now);
    match delegate.lease_state(now) {
        Some(LeaseState::Valid) => facts.outcome("valid"),
        Some(_) => facts.failed("has ended"),
        None => facts.failed("none"),
    }
}

/// Adds epoch, peer and term of the request, each beside that of the delegate.
fn identity(facts: Facts, header: &RaftRequestHeader, delegate: &ReadDelegate) -> Facts {
    let epoch = header.region_epoch.unwrap_or_default();
    let own = delegate.region.epoch();
    let same = |same: bool| if same { "equal" } else { "differs" };
    let facts = facts
        .text("request's epoch", format!("conf_ver {}, version {}", epoch.conf_ver, epoch.version))
        .note(format!("region's: conf_ver {}, version {}: {}", own.conf_ver, own.version, same(epoch == own)))
        .number("request's peer", header.peer.map_or(0, |peer| peer.id))
        .note(format!("own: {}", delegate.peer_id));
    match header.term {
        0 => facts.number("term", delegate.term).note("the request names none"),
        term => facts.number("request's term", term).note(format!("own: {}", delegate.term)),
    }
}

fn applied_row(facts: Facts, delegate: &ReadDelegate) -> Facts {
    facts.number("applied term", delegate.applied_term).note(if delegate.applied_term == delegate.term {
        "an entry of this term is applied"
    } else {
        "no entry of this term is applied"
    })
}

fn lease_row(facts: Facts, delegate: &ReadDelegate, now: EngineInstant) -> Facts {
    let Some(lease) = &delegate.leader_lease else {
        return facts.text("lease", "none").note("this peer does not lead");
    };
    let left = lease.remaining(now);
    let note = match delegate.lease_state(now) {
        Some(LeaseState::Valid) => format!("ends in {} ms", left.as_millis()),
        Some(_) => "has ended".to_owned(),
        None => "of an older term".to_owned(),
    };
    facts.number("lease of term", lease.term()).note(note)
}
