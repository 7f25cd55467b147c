//! Sends commands to the region of their keys, and repeats them on region errors as a client does.
use kvproto::{errorpb, kvrpcpb::*, metapb::Region, tikvpb::tikv_client::TikvClient};
use server::config::TikvConfig;
use tonic::{Response, Status, transport::Channel};
use txn_types::Key as EncodedKey;

use crate::{
    harness::{Harness, context},
    percolator::Key,
};

pub struct Caller {
    pub h: Harness,
}

/// A reply with a region error. Every command has its own type of reply, with the same field.
pub trait Reply {
    fn region_error(&self) -> Option<&errorpb::Error>;
}

macro_rules! replies {
    ($($name:ident),*) => {
        $(impl Reply for $name {
            fn region_error(&self) -> Option<&errorpb::Error> {
                self.region_error.as_ref()
            }
        })*
    };
}

replies!(
    GetResponse,
    BatchGetResponse,
    ScanResponse,
    PrewriteResponse,
    PessimisticLockResponse,
    PessimisticRollbackResponse,
    CommitResponse,
    BatchRollbackResponse,
    CheckTxnStatusResponse,
    CheckSecondaryLocksResponse,
    ResolveLockResponse,
    TxnHeartBeatResponse,
    ScanLockResponse,
    SplitRegionResponse
);

/// Copies keys for a request.
pub fn owned(keys: &[Key]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

impl Caller {
    /// Starts three stores; `tune` changes their configuration.
    pub fn start(tune: impl Fn(&mut TikvConfig) + 'static) -> Self {
        let h = Harness::start_with(3, tune);
        h.region(3);
        Self { h }
    }

    /// Returns a new timestamp of PD.
    pub fn ts(&self) -> u64 {
        self.h.ts()
    }

    pub fn region_of(&self, key: &[u8]) -> Region {
        let key = EncodedKey::from_raw(key).into_encoded();
        self.h.until("PD knows the region", async || Some(self.h.client.get_region(&key).await.ok()?.region))
    }

    /// Groups keys by their regions. A region before and after a split has the same id: PD answers with the old one
    /// for keys of a new region that has not sent a heartbeat yet, so its epoch counts too.
    pub fn groups(&self, keys: &[Key]) -> Vec<Vec<Key>> {
        let mut groups: Vec<(Region, Vec<Key>)> = Vec::new();
        for key in keys {
            let region = self.region_of(key);
            match groups.last_mut() {
                Some((last, group)) if *last == region => group.push(key),
                _ => groups.push((region, vec![key])),
            }
        }
        groups.into_iter().map(|(_, keys)| keys).collect()
    }

    /// Calls the leaders of the keys' regions, each with its keys; returns each region's keys and reply.
    pub fn call_groups<R: Reply>(
        &self,
        keys: &[Key],
        mut send: impl AsyncFnMut(TikvClient<Channel>, Context, Vec<Vec<u8>>) -> Result<Response<R>, Status>,
    ) -> Vec<(Vec<Key>, R)> {
        let mut replies = Vec::new();
        for group in self.groups(keys) {
            let reply = self
                .call(group[0], false, async |client, context| send(client, context, owned(&group)).await);
            replies.push((group, reply));
        }
        replies
    }

    /// Calls the leader of the key's region, or a follower, until the reply has no region error.
    pub fn call<R: Reply>(
        &self,
        key: &[u8],
        follower: bool,
        mut send: impl AsyncFnMut(TikvClient<Channel>, Context) -> Result<Response<R>, Status>,
    ) -> R {
        let encoded = EncodedKey::from_raw(key).into_encoded();
        let mut attempts = 0;
        let what = format!("a reply without a region error for the region of {}", key.escape_ascii());
        self.h.until(&what, async || {
            let found = self.h.client.get_region(&encoded).await.ok()?;
            let leader = found.leader?;
            let others = |p: &&_| *p != &leader;
            let peer = if follower { *found.region.peers.iter().find(others)? } else { leader };
            let store = self.h.find_store(peer.store_id)?;
            let client = TikvClient::connect(format!("http://{}", store.addr())).await.ok()?;
            attempts += 1;
            // A lost reply may have been a success.
            let is_retry_request = attempts > 1;
            let context =
                Context { replica_read: follower, is_retry_request, ..context(&found.region, peer) };
            let reply = send(client, context).await.ok()?.into_inner();
            reply.region_error().is_none().then_some(reply)
        })
    }
}
