//! Regions of the embedded cluster: splits them, and compares the logs of their replicas.
use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kvproto::metapb::Region;
use pd::client::PdClient;
use raftstore::debug::RegionMeta;

use super::{Cluster, newest_leader};
use crate::directive::Lease;

impl Cluster {
    /// Splits the region of the key at the key. Returns the number of its parts, once every part has a leader, all
    /// running stores have applied the split, and PD has the parts.
    ///
    /// # Errors
    /// If the leader refuses the split, or one of these waits takes too long.
    pub fn split(&self, key: &[u8]) -> Result<String> {
        let leader = self.leader_replica(key)?;
        let parts = self.runtime.block_on(leader.split(key))?;
        for part in &parts {
            self.wait("a part of the split region is not ready", |c| c.is_ready(part).then_some(()))?;
        }
        self.settle()?;
        Ok(format!("{} regions", parts.len()))
    }

    /// Whether all running peers of the region have its version, one of them leads and reads by its lease if leases are
    /// on, and PD has the leader's report.
    fn is_ready(&self, part: &Region) -> bool {
        let version = |region: &Region| region.region_epoch.unwrap_or_default().version;
        let metas = self.metas(part.id);
        let running = part.peers.iter().filter(|peer| self.addr(peer.store_id).is_ok()).count();
        let applied = metas.len() == running && metas.iter().all(|m| version(&m.region) >= version(part));
        let Some(leader) = newest_leader(&metas) else { return false };
        let reads = self.lease != Lease::On || leader.raft.lease.as_ref().is_some_and(|l| l.state == "valid");
        if !applied || !reads {
            return false;
        }
        let pd = self.pd_endpoint();
        let reported =
            self.runtime.block_on(async { PdClient::connect(&[pd]).await?.get_region_by_id(part.id).await });
        reported.is_ok_and(|found| {
            version(&found.region) >= version(part)
                && found.leader.is_some_and(|peer| peer.store_id == leader.raft.store)
        })
    }

    /// Compares the first entries of the replicas' logs with that of the leader's log, one line for each case. A log
    /// is truncated by an entry that all replicas apply, so a log that begins later began with a snapshot.
    ///
    /// # Errors
    /// If no store leads the region of the empty key.
    pub fn logs(&self) -> Result<String> {
        let region = self.region_of(b"")?;
        let leader = self.leader_meta_of(b"")?;
        let mut lines: BTreeMap<(u8, &str), usize> = BTreeMap::new();
        for meta in self.metas(region) {
            *lines.entry(beginning(&meta, &leader)?).or_default() += 1;
        }
        let line = |((rank, text), count): ((u8, &str), usize)| {
            let role = if rank == 0 { "leader" } else { "follower" };
            format!("{role} x{count}: {text}")
        };
        Ok(lines.into_iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Describes where a replica's log begins: the rank by which the lines are sorted (0: the leader), and the text.
fn beginning(meta: &RegionMeta, leader: &RegionMeta) -> Result<(u8, &'static str)> {
    let (first, kept) = (meta.raft.first_index, leader.raft.first_index);
    Ok(match (meta.raft.store == leader.raft.store, first.cmp(&kept)) {
        (true, _) => (0, "the log begins at its first entry that is kept"),
        (false, std::cmp::Ordering::Equal) => (1, "the log begins at the same entry"),
        (false, std::cmp::Ordering::Greater) => (2, "the log begins later, after a snapshot"),
        (false, std::cmp::Ordering::Less) => bail!(
            "expected the log of store {} to begin at entry {kept} or later, found {first}: write `caught-up` first",
            meta.raft.store
        ),
    })
}
