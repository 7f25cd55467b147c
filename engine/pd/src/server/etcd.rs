//! etcd's and kvproto's interfaces of the pairs that clients keep in PD. client-go asks for etcd's members and for the
//! safe point at its start (tikv/client-go `NewEtcdSafePointKV`), and PD's client for the addresses of other services.
use std::{cmp::Ordering, sync::Arc};

use kvproto::{
    etcdserverpb::{
        Member, MemberListRequest, MemberListResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
        ResponseHeader, cluster_server,
        kv_server::Kv,
        range_request::{SortOrder, SortTarget},
    },
    meta_storagepb::{self, meta_storage_server::MetaStorage},
    mvccpb::KeyValue,
    pdpb,
};
use tonic::{Request, Response, Status};

use super::{cluster::Cluster, pairs::PairError};

#[derive(Clone)]
pub struct EtcdService {
    cluster: Arc<Cluster>,
    member: pdpb::Member,
}

/// Returns etcd's status for an error (etcd `api/v3rpc/rpctypes`).
fn refuse(error: PairError) -> Status {
    match error {
        PairError::EmptyKey | PairError::TooLarge => Status::invalid_argument(error.to_string()),
        PairError::NoSpace => Status::resource_exhausted(error.to_string()),
        PairError::Compacted | PairError::FutureRevision => Status::out_of_range(error.to_string()),
    }
}

impl EtcdService {
    pub fn new(cluster: Arc<Cluster>, member: pdpb::Member) -> EtcdService {
        EtcdService { cluster, member }
    }

    fn header(&self, revision: i64) -> Option<ResponseHeader> {
        let (cluster_id, member_id) = (self.cluster.cluster_id, self.member.member_id);
        Some(ResponseHeader { cluster_id, member_id, revision, raft_term: 1 })
    }

    /// Returns the pairs of a range and the newest revision.
    fn read(&self, key: &[u8], end: &[u8], revision: i64) -> Result<(Vec<KeyValue>, i64), Status> {
        let found = self.cluster.read_pairs(|pairs| (pairs.range(key, end, revision), pairs.revision()));
        Ok((found.0.map_err(refuse)?, found.1))
    }
}

/// Cuts the pairs to a limit; 0 means no limit. Returns whether it cut any.
fn cut(pairs: &mut Vec<KeyValue>, limit: i64) -> bool {
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let more = pairs.len() > limit;
    pairs.truncate(limit);
    more
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

/// Filters, sorts and cuts as etcd does (etcd `server/etcdserver/txn/txn.go`). Returns whether there are more.
fn select(request: &RangeRequest, pairs: &mut Vec<KeyValue>) -> bool {
    let within = |revision: i64, min: i64, max: i64| revision >= min && (max == 0 || revision <= max);
    pairs.retain(|pair| {
        within(pair.mod_revision, request.min_mod_revision, request.max_mod_revision)
            && within(pair.create_revision, request.min_create_revision, request.max_create_revision)
    });
    let (order, target) = (request.sort_order(), request.sort_target());
    // A target without an order means ascending, but for the key, whose order the pairs have.
    if order != SortOrder::None || target != SortTarget::Key {
        pairs.sort_by(|a, b| compare(target, a, b));
    }
    if order == SortOrder::Descend {
        pairs.reverse();
    }
    cut(pairs, request.limit)
}

#[tonic::async_trait]
impl Kv for EtcdService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        let (mut kvs, revision) = self.read(&request.key, &request.range_end, request.revision)?;
        let count = kvs.len() as i64;
        let more = !request.count_only && select(&request, &mut kvs);
        if request.count_only {
            kvs.clear();
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|pair| pair.value.clear());
        }
        Ok(Response::new(RangeResponse { header: self.header(revision), kvs, more, count }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        // No lease is ever granted.
        if request.lease != 0 {
            return Err(Status::not_found("etcdserver: requested lease not found"));
        }
        if request.ignore_value || request.ignore_lease {
            return Err(Status::unimplemented(
                "expected a new value without a lease, found ignore_value or ignore_lease",
            ));
        }
        let changed = self.cluster.change_pairs(|pairs| {
            let old = pairs.put(request.key, request.value)?;
            Ok((old, pairs.revision()))
        });
        let changed = changed.map_err(|error| Status::internal(error.to_string()))?;
        let (old, revision) = changed.map_err(refuse)?;
        let prev_kv = old.filter(|_| request.prev_kv);
        Ok(Response::new(PutResponse { header: self.header(revision), prev_kv }))
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for EtcdService {
    async fn member_list(
        &self,
        _: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let pdpb::Member { name, member_id, peer_urls, client_urls, .. } = self.member.clone();
        let members = vec![Member { id: member_id, name, peer_urls, client_urls, is_learner: false }];
        // etcd leaves the revision out of the headers of this service.
        Ok(Response::new(MemberListResponse { header: self.header(0), members }))
    }
}

#[tonic::async_trait]
impl MetaStorage for EtcdService {
    async fn get(
        &self,
        request: Request<meta_storagepb::GetRequest>,
    ) -> Result<Response<meta_storagepb::GetResponse>, Status> {
        let request = request.into_inner();
        let (mut kvs, revision) = self.read(&request.key, &request.range_end, request.revision)?;
        let count = kvs.len() as i64;
        let more = cut(&mut kvs, request.limit);
        let cluster_id = self.cluster.cluster_id;
        let header = Some(meta_storagepb::ResponseHeader { cluster_id, error: None, revision });
        Ok(Response::new(meta_storagepb::GetResponse { header, kvs, more, count }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, version: i64, mod_revision: i64) -> KeyValue {
        KeyValue { key: key.into(), version, mod_revision, ..Default::default() }
    }

    fn selected(request: RangeRequest) -> (String, bool) {
        let mut pairs = vec![pair("a", 3, 7), pair("b", 1, 9), pair("c", 2, 8)];
        let more = select(&request, &mut pairs);
        (pairs.iter().map(|pair| String::from_utf8_lossy(&pair.key).into_owned()).collect(), more)
    }

    #[test]
    fn pairs_are_filtered_sorted_and_cut() {
        let all = || RangeRequest::default();
        assert_eq!(selected(all()), ("abc".to_owned(), false));
        assert_eq!(selected(RangeRequest { limit: 2, ..all() }), ("ab".to_owned(), true));
        let (descend, version) = (SortOrder::Descend as i32, SortTarget::Version as i32);
        assert_eq!(selected(RangeRequest { sort_order: descend, limit: 1, ..all() }), ("c".to_owned(), true));
        assert_eq!(selected(RangeRequest { sort_target: version, ..all() }), ("bca".to_owned(), false));
        assert_eq!(selected(RangeRequest { min_mod_revision: 8, ..all() }), ("bc".to_owned(), false));
        assert_eq!(selected(RangeRequest { max_mod_revision: 8, ..all() }), ("ac".to_owned(), false));
    }
}
