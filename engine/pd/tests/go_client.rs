//! The calls with which client-go starts: etcd's members and pairs, the GC state, regions over a stream.
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use kvproto::{
    etcdserverpb::{
        MemberListRequest, PutRequest, RangeRequest, cluster_client::ClusterClient, kv_client::KvClient,
    },
    meta_storagepb::{GetRequest, meta_storage_client::MetaStorageClient},
    metapb::{Peer, Region, RegionEpoch, Store},
    pdpb::{self, pd_client::PdClient},
};
use pd::server::{EngineWallClock, PdConfig, PdHandle, PdServer};
use tonic::{Code, transport::Channel};

/// The pair in which TiDB keeps its safe point.
const SAFE_POINT: &str = "/tidb/store/gcworker/saved_safe_point";

fn start(dir: &Path) -> PdHandle {
    PdServer::start(PdConfig {
        data_dir: dir.to_owned(),
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: Arc::new(EngineWallClock),
    })
    .expect("PD starts")
}

async fn dial(handle: &PdHandle) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", handle.addr())).expect("an address");
    endpoint.connect().await.expect("PD listens")
}

fn header(handle: &PdHandle) -> Option<pdpb::RequestHeader> {
    Some(pdpb::RequestHeader { cluster_id: handle.cluster_id(), ..Default::default() })
}

/// Bootstraps the cluster with one region.
async fn bootstrap(handle: &PdHandle, channel: Channel) {
    let epoch = Some(RegionEpoch { conf_ver: 1, version: 1 });
    let region = Region { id: 2, region_epoch: epoch, peers: vec![Peer::voter(1, 3)], ..Default::default() };
    let store = Store { id: 1, address: "127.0.0.1:20160".to_owned(), ..Default::default() };
    let request = pdpb::BootstrapRequest { header: header(handle), store: Some(store), region: Some(region) };
    let answer = PdClient::new(channel).bootstrap(request).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_has_one_member_at_the_address_of_pd() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path());
    let mut client = ClusterClient::new(dial(&handle).await);
    let answer = client.member_list(MemberListRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().cluster_id, handle.cluster_id());
    assert_eq!(answer.members.len(), 1);
    assert_eq!(answer.members[0].client_urls, [format!("http://{}", handle.addr())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_a_client_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path());
    let mut client = KvClient::new(dial(&handle).await);
    let range = || RangeRequest { key: SAFE_POINT.into(), ..Default::default() };
    let absent = client.range(range()).await.unwrap().into_inner();
    assert_eq!((absent.count, absent.kvs.len()), (0, 0));
    let put = PutRequest { key: SAFE_POINT.into(), value: "7".into(), ..Default::default() };
    client.put(put.clone()).await.unwrap();
    let refused = client.put(PutRequest { lease: 1, ..put.clone() }).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::NotFound, "etcdserver: requested lease not found")
    );
    let refused = client.range(RangeRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "etcdserver: key is not provided")
    );
    drop(client);
    handle.shutdown();

    let handle = start(dir.path());
    let channel = dial(&handle).await;
    let found = KvClient::new(channel.clone()).range(range()).await.unwrap().into_inner();
    assert_eq!((found.kvs[0].value.as_slice(), found.kvs[0].version), (&b"7"[..], 1));
    let get = GetRequest { key: SAFE_POINT.into(), ..Default::default() };
    let found = MetaStorageClient::new(channel).get(get).await.unwrap().into_inner();
    assert_eq!((found.count, found.kvs[0].value.as_slice()), (1, &b"7"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gc_state_has_the_safe_point_of_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path());
    let channel = dial(&handle).await;
    bootstrap(&handle, channel.clone()).await;
    let mut client = PdClient::new(channel);
    let request = pdpb::UpdateServiceGcSafePointRequest {
        header: header(&handle),
        service_id: b"gc_worker".to_vec(),
        ttl: i64::MAX,
        safe_point: 40,
    };
    client.update_service_gc_safe_point(request).await.unwrap();
    let request = pdpb::GetGcStateRequest { header: header(&handle), ..Default::default() };
    let state = client.get_gc_state(request).await.unwrap().into_inner().gc_state.unwrap();
    assert_eq!((state.txn_safe_point, state.gc_safe_point), (40, 0));

    // Known keyspaces have no GC of their own: the answer is that of the keys without a keyspace.
    let mut scoped = async |id| {
        let keyspace = Some(pdpb::keyspace_scope::Keyspace::KeyspaceId(id));
        let keyspace_scope = Some(pdpb::KeyspaceScope { keyspace });
        let request =
            pdpb::GetGcStateRequest { header: header(&handle), keyspace_scope, ..Default::default() };
        let reply = client.get_gc_state(request).await.unwrap().into_inner();
        (reply.gc_state.map(|state| state.txn_safe_point), reply.header.unwrap().error)
    };
    assert_eq!(scoped(0).await, (Some(40), None), "the keyspace DEFAULT");
    assert_eq!(scoped(u32::MAX).await, (Some(40), None));
    assert_eq!(scoped(1 << 24).await, (Some(40), None), "an id that no keyspace can have");
    let (state, error) = scoped(7).await;
    assert_eq!((state, error.map(|e| e.r#type())), (None, Some(pdpb::ErrorType::Unknown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_found_over_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path());
    let channel = dial(&handle).await;
    bootstrap(&handle, channel.clone()).await;
    let request = pdpb::QueryRegionRequest {
        header: header(&handle),
        ids: vec![2, 9],
        keys: vec![b"a".to_vec(), b"z".to_vec()],
        prev_keys: vec![b"a".to_vec()],
        ..Default::default()
    };
    let mut client = PdClient::new(channel);
    let requests = futures::stream::iter([request.clone(), request]);
    let mut answers = client.query_region(requests).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().expect("an answer for each request");
        assert_eq!((answer.key_id_map, answer.prev_key_id_map), (vec![2, 2], vec![0]));
        let ids: BTreeMap<_, _> = answer.regions_by_id.into_iter().collect();
        assert_eq!(ids.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(ids[&2].region.as_ref().unwrap().peers[0].store_id, 1);
    }
}
