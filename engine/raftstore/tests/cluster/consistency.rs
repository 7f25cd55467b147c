//! A consistency check finds the peer whose data differs from the leader's.
use engine_rocks::CF_WRITE;
use kvproto::raft_cmdpb::{AdminCmdType, AdminRequest};

use crate::harness::{Cluster, REGION, quick_config, until};

/// Runs a check; returns, by store, whether its data matches the leader's.
fn check(cluster: &Cluster) -> Vec<(u64, bool)> {
    let last = |store| cluster.meta(store, REGION).and_then(|meta| meta.consistency).map_or(0, |v| v.index);
    let before: Vec<u64> = (1..=3).map(last).collect();
    let cmd_type = AdminCmdType::ComputeHash as i32;
    cluster.must_admin(
        REGION,
        AdminRequest { cmd_type, compute_hash: Some(Default::default()), ..Default::default() },
    );
    let verdict = |store: u64| {
        until("a result", || {
            let verdict = cluster.meta(store, REGION)?.consistency?;
            (verdict.index > before[store as usize - 1]).then_some(verdict)
        })
    };
    let all: Vec<_> = (1..=3).map(|store| (store, verdict(store))).collect();
    assert!(all.iter().all(|(_, verdict)| verdict.index == all[0].1.index), "hashed at one entry: {all:?}");
    all.into_iter().map(|(store, verdict)| (store, verdict.matches)).collect()
}

#[test]
fn a_check_finds_the_differing_peer_which_keeps_serving() {
    let cluster = Cluster::new(&[1, 2, 3], quick_config());
    for n in 0..20u8 {
        cluster.must_put(&[b'k', n], b"value");
    }
    assert_eq!(check(&cluster), [(1, true), (2, true), (3, true)]);
    let other = if cluster.wait_leader(REGION) == 2 { 3 } else { 2 };
    cluster.nodes[&other].engines.kv.put_cf(CF_WRITE, b"zk\x05", b"not a replicated write").unwrap();
    let found = check(&cluster);
    assert_eq!(found, (1..=3).map(|store| (store, store != other)).collect::<Vec<_>>());
    cluster.must_put(b"after", b"1");
    cluster.wait_applied(other, b"after", b"1");
}
