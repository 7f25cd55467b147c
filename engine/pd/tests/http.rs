//! PD's HTTP API and its gRPC on one port, over real connections.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use kvproto::metapb::{Peer, Region, Store};
use pd::{
    client::PdClient,
    server::{EngineWallClock, PdConfig, PdServer},
};

const WAIT: Duration = Duration::from_secs(30);

fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: pd\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_answers_grpc_and_http() {
    let dir = tempfile::tempdir().unwrap();
    let handle = PdServer::start(PdConfig {
        data_dir: dir.path().to_owned(),
        addr: ([127, 0, 0, 1], 0).into(),
        advertise_addr: None,
        cluster_id: None,
        max_replicas: None,
        clock: Arc::new(EngineWallClock),
    })
    .unwrap();
    let client = PdClient::connect(&[handle.addr().to_string()]).await.unwrap();
    let store = Store { id: 1, address: "127.0.0.1:20160".to_owned(), ..Default::default() };
    let region = Region { id: 2, peers: vec![Peer::voter(1, 3)], ..Default::default() };
    client.bootstrap_cluster(store, region).await.unwrap();

    let stores = ask(handle.addr(), "GET /pd/api/v1/stores");
    assert!(stores.starts_with("HTTP/1.1 200 OK") && stores.contains("\"127.0.0.1:20160\""), "{stores}");
    assert!(stores.contains("content-type: application/json"), "{stores}");
    let members = ask(handle.addr(), "GET /pd/api/v1/members");
    assert!(members.contains(&format!("\"cluster_id\": {}", handle.cluster_id())), "{members}");
    assert!(members.contains(&format!("http://{}", handle.addr())), "{members}");
    let refused = ask(handle.addr(), "DELETE /pd/api/v1/store/1");
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("ErrStoresNotEnough"), "{refused}");
    let unknown = ask(handle.addr(), "GET /metrics");
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("/pd/api/v1/"), "{unknown}");
    assert!(client.get_tso(1).await.is_ok(), "gRPC still works");
}
