//! Whether the replicas of a request have nothing more to stamp.
use std::collections::BTreeSet;

use super::Step;
use crate::probe::RaftProbe;

/// Whether every write of the steps has ended, and every store of this process that `raft` names has applied its
/// entries. A read index round never is: a late acknowledgement may always follow.
pub(super) fn is_settled(steps: &[Step], raft: &[RaftProbe], here: &BTreeSet<u64>) -> bool {
    let count = |stage: &str| steps.iter().filter(|s| s.stage == stage).count();
    if count("read_index_propose") > 0 || count("sched_write") > count("sched_finish") {
        return false;
    }
    let routed = count("raft_route");
    let mut proposed = steps.iter().filter(|s| s.stage == "raft_propose").peekable();
    (routed == 0 || proposed.peek().is_some())
        && proposed.all(|s| replicas(s, raft).intersection(here).all(|store| has_applied(steps, s, *store)))
}

/// The stores of the entry's region: those that published, and those that the leader knows.
fn replicas(proposal: &Step, raft: &[RaftProbe]) -> BTreeSet<u64> {
    let region = proposal.fields.get("region").copied().unwrap_or(0);
    let peers = raft.iter().filter(|peer| peer.region == region);
    let (stopped, live): (Vec<_>, Vec<_>) = peers.partition(|peer| peer.is_stopped());
    let known = live.iter().flat_map(|peer| peer.progress.iter().map(|progress| progress.store));
    let mut stores: BTreeSet<u64> = known.chain(live.iter().map(|peer| peer.store)).collect();
    stores.insert(proposal.store);
    stopped.iter().for_each(|peer| _ = stores.remove(&peer.store));
    stores
}

/// Whether a store has applied the proposed entry.
fn has_applied(steps: &[Step], proposal: &Step, store: u64) -> bool {
    let field = |step: &Step, name: &str| step.fields.get(name).copied();
    let index = field(proposal, "index");
    steps.iter().any(|s| {
        s.stage == "apply_done"
            && s.store == store
            && field(s, "region") == field(proposal, "region")
            && field(s, "last") >= index
    })
}
