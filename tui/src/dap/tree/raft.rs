//! The peers of each region.
use tracepoints::probe::RaftProbe;

use super::node::Node;

pub(super) fn groups(peers: &[RaftProbe]) -> Vec<Node> {
    let mut regions: Vec<u64> = peers.iter().map(|peer| peer.region).collect();
    regions.dedup();
    let group = |region| {
        let members: Vec<&RaftProbe> = peers.iter().filter(|peer| peer.region == region).collect();
        let leader = members.iter().find(|peer| peer.role == "Leader");
        let summary = leader
            .map_or("no leader known".into(), |l| format!("leader on store {}, term {}", l.store, l.term));
        Node::parent(format!("region {region}"), summary, members.into_iter().map(peer).collect())
    };
    regions.into_iter().map(group).collect()
}

fn peer(peer: &RaftProbe) -> Node {
    let name = format!("store {}", peer.store);
    if peer.is_stopped() {
        return Node::leaf(name, "Stopped");
    }
    let data = |field: &str| format!("raft/{}/{}/{field}", peer.region, peer.store);
    let number = |field: &'static str, value: u64| Node::leaf(field, value).watched(data(field));
    let mut parts = vec![Node::leaf("role", &peer.role).watched(data("role")), Node::leaf("peer", peer.peer)];
    parts.extend([
        number("term", peer.term),
        number("vote", peer.vote),
        number("leader", peer.leader),
        Node::leaf("first_index", peer.first_index),
        number("last_index", peer.last_index),
        number("persisted", peer.persisted),
        number("commit", peer.commit),
        number("applied", peer.applied),
    ]);
    parts.extend(peer.lease.as_ref().map(|lease| Node::leaf("lease", &lease.state).watched(data("lease"))));
    if !peer.progress.is_empty() {
        let each = peer.progress.iter().map(|p| {
            let parts = vec![
                Node::leaf("matched", p.matched),
                Node::leaf("next", p.next),
                Node::leaf("state", &p.state),
            ];
            Node::parent(format!("store {}", p.store), format!("matched {}, {}", p.matched, p.state), parts)
        });
        parts.push(Node::parent("progress", format!("{} peers", peer.progress.len()), each.collect()));
    }
    let summary = format!("{} commit {} applied {}", peer.role, peer.commit, peer.applied);
    Node::parent(name, summary, parts)
}

pub(super) fn leases(peers: &[RaftProbe]) -> Vec<Node> {
    let lease = |peer: &RaftProbe| {
        let lease = peer.lease.as_ref()?;
        let parts = vec![
            Node::leaf("state", &lease.state).watched(format!("raft/{}/{}/lease", peer.region, peer.store)),
            Node::leaf("remaining_ms", lease.remaining_ms),
        ];
        let name = format!("region {} store {}", peer.region, peer.store);
        Some(Node::parent(name, format!("{}, {} ms left", lease.state, lease.remaining_ms), parts))
    };
    peers.iter().filter_map(lease).collect()
}
