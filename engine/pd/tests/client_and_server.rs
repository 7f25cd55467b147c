//! The client against the server, over gRPC, as in a store.
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use kvproto::{
    keyspacepb::{self, keyspace_client::KeyspaceClient},
    metapb::{Peer, Region, RegionEpoch, Store},
    pdpb::{self, pd_client::PdClient as PdGrpc},
};
use pd::{
    client::{Error, HeartbeatHandler, PdClient, RegionHeartbeats},
    server::{EngineWallClock, PdConfig, PdHandle, PdServer},
};

const WAIT: Duration = Duration::from_secs(10);

fn start(dir: &Path, addr: SocketAddr) -> PdHandle {
    let config = PdConfig {
        data_dir: dir.to_owned(),
        addr,
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: Arc::new(EngineWallClock),
    };
    PdServer::start(config).expect("PD starts")
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn connect(handle: &PdHandle) -> PdClient {
    PdClient::connect(&[handle.addr().to_string()]).await.expect("PD answers")
}

fn store(id: u64) -> Store {
    Store { id, address: format!("127.0.0.1:2016{id}"), ..Default::default() }
}

fn region(stores: &[u64]) -> Region {
    Region {
        id: 2,
        region_epoch: Some(RegionEpoch { conf_ver: stores.len() as u64, version: 1 }),
        peers: stores.iter().map(|store| Peer::voter(*store, store + 100)).collect(),
        ..Default::default()
    }
}

fn report(region: &Region) -> pdpb::RegionHeartbeatRequest {
    let leader = region.peers.first().copied();
    pdpb::RegionHeartbeatRequest { region: Some(region.clone()), leader, term: 6, ..Default::default() }
}

/// Forwards PD's messages, and reconnections (`None`), to the test.
struct Forward(mpsc::Sender<Option<pdpb::RegionHeartbeatResponse>>);

impl HeartbeatHandler for Forward {
    fn on_response(&self, response: pdpb::RegionHeartbeatResponse) {
        let _ = self.0.send(Some(response));
    }

    fn on_reconnect(&self) {
        let _ = self.0.send(None);
    }
}

type Responses = mpsc::Receiver<Option<pdpb::RegionHeartbeatResponse>>;

fn heartbeats(client: &PdClient) -> (RegionHeartbeats, Responses) {
    let (sender, receiver) = mpsc::channel();
    (client.region_heartbeats(Arc::new(Forward(sender))), receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_bootstraps_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    let client = connect(&handle).await;
    assert_eq!(client.cluster_id(), handle.cluster_id());
    assert_eq!(client.leader_addr(), handle.addr().to_string());
    assert!(!client.is_cluster_bootstrapped().await.unwrap());
    assert!(matches!(client.put_store(store(1)).await, Err(Error::NotBootstrapped(_))));
    let (a, b) = (client.alloc_id().await.unwrap(), client.alloc_id().await.unwrap());
    assert!(a < b);

    client.bootstrap_cluster(store(1), region(&[1])).await.unwrap();
    assert!(client.is_cluster_bootstrapped().await.unwrap());
    let again = client.bootstrap_cluster(store(1), region(&[1])).await;
    assert!(matches!(again, Err(Error::AlreadyBootstrapped(_))));
    assert_eq!(client.get_store(1).await.unwrap().address, "127.0.0.1:20161");
    assert!(matches!(client.get_store(9).await, Err(Error::Refused(_))));

    let (reports, _responses) = heartbeats(&client);
    assert!(reports.send(report(&region(&[1]))));
    wait_for_leader(&client, 1).await;
    assert_eq!(handle.region_leader(2), Some(Peer::voter(1, 101)));
    assert_eq!(client.get_region_by_id(2).await.unwrap().region, region(&[1]));
    assert!(matches!(client.get_region_by_id(3).await, Err(Error::RegionNotFound(3))));
    assert_eq!(client.scan_regions(b"", b"", 0).await.unwrap().len(), 1);
    assert_eq!(client.ask_batch_split(region(&[1]), 2).await.unwrap().len(), 2);
    assert_eq!(client.update_gc_safe_point(7).await.unwrap(), 7);
    assert_eq!(client.get_gc_safe_point().await.unwrap(), 7);
    let stats = pdpb::StoreStats { store_id: 1, ..Default::default() };
    client.store_heartbeat(stats).await.unwrap();
}

async fn wait_for_leader(client: &PdClient, store: u64) {
    let led = async {
        while client.get_region(b"k").await.unwrap().leader.map(|leader| leader.store_id) != Some(store) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, led).await.expect("PD knows the leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_arrive_after_a_restart_of_pd() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    let addr = handle.addr();
    let client = connect(&handle).await;
    client.bootstrap_cluster(store(1), region(&[1])).await.unwrap();
    client.put_store(store(2)).await.unwrap();
    let (reports, responses) = heartbeats(&client);
    let next = || responses.recv_timeout(WAIT).expect("PD answers a heartbeat");

    assert!(reports.send(report(&region(&[1]))));
    let change = next().expect("an operator").change_peer.expect("a conf change");
    assert_eq!(change.peer.map(|peer| peer.store_id), Some(2));

    handle.shutdown();
    assert_eq!(next(), None, "the handler gets the reconnection");
    let handle = start(dir.path(), addr);
    client.put_store(store(2)).await.expect("the client finds PD again");
    assert!(reports.send(report(&region(&[1, 2]))));
    wait_for_leader(&client, 1).await;
    wait_for_peers(&handle, 2).await;
    handle.transfer_leader(2, 2).unwrap();
    let transfer = loop {
        if let Some(transfer) = next().and_then(|response| response.transfer_leader) {
            break transfer;
        }
    };
    assert_eq!(transfer.peer, Some(Peer::voter(2, 102)));
}

async fn wait_for_peers(handle: &PdHandle, count: usize) {
    let known = async {
        while handle.region_peers(2).unwrap().len() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, known).await.expect("PD knows the peers");
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_grow_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    let (addr, cluster_id) = (handle.addr(), handle.cluster_id());
    let client = connect(&handle).await;
    let mut last = client.get_tso(1).await.unwrap().to_ts();
    for count in [1, 64, 1000] {
        let ts = client.get_tso(count).await.unwrap().to_ts();
        assert!(ts >= last + u64::from(count));
        last = ts;
    }
    handle.shutdown();
    let handle = start(dir.path(), addr);
    assert_eq!(handle.cluster_id(), cluster_id);
    assert!(client.get_tso(1).await.unwrap().to_ts() > last);
    assert!(matches!(client.get_tso(0).await, Err(Error::Rpc(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    let mut grpc = PdGrpc::connect(format!("http://{}", handle.addr())).await.unwrap();
    let header = Some(pdpb::RequestHeader { cluster_id: handle.cluster_id() + 1, ..Default::default() });
    let status = grpc.alloc_id(pdpb::AllocIdRequest { header, count: 1 }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("mismatch cluster id"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_pd_gives_an_error_in_bounded_time() {
    let free = std::net::TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let wait = Duration::from_millis(200);
    let error = PdClient::connect_within(&[free.to_string()], wait).await.err().expect("no server listens");
    assert!(matches!(error, Error::Unreachable { .. }));
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    let error = PdClient::connect_within(&["no port".to_owned()], wait).await.err().expect("no endpoint");
    assert!(matches!(error, Error::BadEndpoint { .. }), "{error}");
}

#[test]
fn a_port_and_a_directory_in_use_give_clear_errors() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let handle = start(dir.path(), any_port());
    let config = |data_dir: &Path, addr| PdConfig {
        data_dir: data_dir.to_owned(),
        addr,
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: Arc::new(EngineWallClock),
    };
    let error = PdServer::start(config(dir.path(), any_port())).err().expect("locked").to_string();
    assert!(error.contains("in use by another PD"), "{error}");
    let error = PdServer::start(config(other.path(), handle.addr())).err().expect("listening").to_string();
    assert!(error.contains("cannot listen on"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_gets_timestamps() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    let client = tikv_client::TransactionClient::new(vec![handle.addr().to_string()]).await.unwrap();
    let first = client.current_timestamp().await.unwrap();
    let second = client.current_timestamp().await.unwrap();
    assert!((first.physical, first.logical) < (second.physical, second.logical));
}

/// Reads the next message of a watch: `NAME STATE` of each keyspace.
async fn next_keyspaces(stream: &mut tonic::Streaming<keyspacepb::WatchKeyspacesResponse>) -> Vec<String> {
    let next = tokio::time::timeout(WAIT, stream.message()).await.expect("PD sends in time");
    let reply = next.expect("the stream is open").expect("the stream has not ended");
    let show = |meta: keyspacepb::KeyspaceMeta| format!("{} {}", meta.name, meta.state().as_str_name());
    reply.keyspaces.into_iter().map(show).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sends_all_keyspaces_and_then_each_change() {
    use keyspacepb::{KeyspaceState, update_keyspace_state_request::Keyspace::Id};
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path(), any_port());
    connect(&handle).await.bootstrap_cluster(store(1), region(&[1])).await.unwrap();
    let mut client = KeyspaceClient::connect(format!("http://{}", handle.addr())).await.unwrap();
    let header = Some(pdpb::RequestHeader { cluster_id: handle.cluster_id(), ..Default::default() });
    let foreign = client.watch_keyspaces(keyspacepb::WatchKeyspacesRequest { header: None }).await;
    assert_eq!(foreign.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let request = keyspacepb::WatchKeyspacesRequest { header: header.clone() };
    let mut watch = client.watch_keyspaces(request).await.unwrap().into_inner();
    assert_eq!(next_keyspaces(&mut watch).await, ["DEFAULT ENABLED"]);
    create_keyspace(handle.addr(), "one").await;
    assert_eq!(next_keyspaces(&mut watch).await, ["one ENABLED"]);
    let mut to = async |id, state: KeyspaceState| {
        let header = header.clone();
        let keyspace = Some(Id(id));
        let request = keyspacepb::UpdateKeyspaceStateRequest { header, keyspace, state: state as i32 };
        let reply = client.update_keyspace_state(request).await.unwrap().into_inner();
        reply.header.and_then(|header| header.error).map(|error| (error.r#type(), error.message))
    };
    assert_eq!(to(1, KeyspaceState::Disabled).await, None);
    assert_eq!(next_keyspaces(&mut watch).await, ["one DISABLED"]);
    let (kind, _) = to(2, KeyspaceState::Disabled).await.expect("there is no keyspace 2");
    assert_eq!(kind, pdpb::ErrorType::EntryNotFound);
    let (_, text) = to(0, KeyspaceState::Disabled).await.expect("the default keyspace stays enabled");
    assert!(text.contains("cannot modify default keyspace"), "{text}");
    assert_eq!(to(1, KeyspaceState::Archived).await, None);
    assert_eq!(next_keyspaces(&mut watch).await, ["one ARCHIVED"], "nothing of refused changes");
}

/// Creates a keyspace over PD's HTTP API.
async fn create_keyspace(addr: SocketAddr, name: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = format!(r#"{{"name":"{name}"}}"#);
    let request = format!(
        "POST /pd/api/v2/keyspaces HTTP/1.1\r\nHost: pd\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(WAIT, stream.read_to_string(&mut reply)).await.expect("PD replies").unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}
