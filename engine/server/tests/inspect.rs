//! The status server and the debug service of a running store.
mod harness;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use harness::Harness;
use kvproto::debugpb::{debug_client::DebugClient, *};

/// Sends one HTTP request over a plain socket; returns status line and body.
fn http(h: &Harness, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(h.store(0).status_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(harness::BOUND)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let head = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let line = String::from_utf8_lossy(&reply[..head]).into_owned();
    (line, reply[head + 4..].to_vec())
}

#[test]
fn the_status_server_answers_where_tikvs_does() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (region, _) = h.region(1);
    let (head, body) = http(&h, "/metrics", "");
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        text.contains("tikv_grpc_msg_duration_seconds_count{type=\"raw_put\",priority=\"unknown\"}"),
        "{text}"
    );
    let (head, body) = http(&h, &format!("/region/{}", region.id), "");
    assert!(head.starts_with("HTTP/1.1 200") && !body.is_empty(), "{head}");
    let (head, body) = http(&h, "/region/4711", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(String::from_utf8_lossy(&body), "region(4711) not found");
    let (_, body) = http(&h, "/config", "");
    let config: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(config["server"]["grpc-concurrency"], 2);
    assert!(http(&h, "/nothing", "").0.starts_with("HTTP/1.1 404"));
    assert!(http(&h, "/status", "").0.starts_with("HTTP/1.1 200"));
}

#[test]
fn requests_are_counted_by_their_source() {
    use kvproto::kvrpcpb::{Context, RawGetRequest};
    let h = Harness::start(1);
    let (context, mut client) = h.leader();
    let context = Context { request_source: "external_Select".into(), ..context };
    let get = RawGetRequest { context: Some(context), key: b"k".to_vec(), ..Default::default() };
    h.block_on(client.raw_get(get)).unwrap();
    let text = String::from_utf8_lossy(&http(&h, "/metrics", "").1).into_owned();
    let row = "tikv_grpc_request_source_counter_vec{source=\"external_Select\"} 1\n";
    assert!(text.contains(row), "{text}");
}

#[test]
fn the_debug_service_returns_regions_logs_and_rows() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (region, _) = h.region(1);
    let address = format!("http://{}", h.store(0).addr());
    h.block_on(async {
        let mut debug = DebugClient::connect(address).await.unwrap();
        let all = debug.get_all_regions_in_store(GetAllRegionsInStoreRequest {}).await.unwrap().into_inner();
        assert_eq!(all.regions, [region.id]);
        for all in [false, true] {
            let reply = debug.get_metrics(GetMetricsRequest { all }).await.unwrap().into_inner();
            assert!(!reply.prometheus.is_empty() && reply.rocksdb_kv.is_empty() != all, "all: {all}");
        }
        let info = debug.region_info(RegionInfoRequest { region_id: region.id }).await.unwrap().into_inner();
        let applied = info.raft_apply_state.unwrap().applied_index;
        assert!(applied > 5 && info.region_local_state.unwrap().region.unwrap().id == region.id);
        let log = RaftLogRequest { region_id: region.id, log_index: applied };
        assert_eq!(debug.raft_log(log).await.unwrap().into_inner().entry.unwrap().index, applied);
        let absent = debug.region_info(RegionInfoRequest { region_id: 4711 }).await.unwrap_err();
        assert_eq!(absent.code(), tonic::Code::NotFound);
        let value = GetRequest { db: Db::Kv as i32, cf: "default".into(), key: b"zk".to_vec() };
        assert_eq!(debug.get(value).await.unwrap().into_inner().value, b"v");
        let bad = GetRequest { db: Db::Kv as i32, cf: "nothing".into(), key: b"zk".to_vec() };
        assert_eq!(debug.get(bad).await.unwrap_err().code(), tonic::Code::InvalidArgument);
        let size = RegionSizeRequest { region_id: region.id, cfs: vec!["default".into()] };
        assert_eq!(debug.region_size(size).await.unwrap().into_inner().entries[0].size, 3);
        let properties = GetRegionPropertiesRequest { region_id: region.id };
        let properties = debug.get_region_properties(properties).await.unwrap().into_inner().props;
        let value = |name: &str| properties.iter().find(|p| p.name == name).map(|p| p.value.as_str());
        assert_eq!((value("defaultcf.num_entries"), value("mvcc.num_rows")), (Some("1"), Some("0")));
        let store = debug.get_store_info(GetStoreInfoRequest {}).await.unwrap().into_inner();
        assert_eq!(store.store_id, h.store(0).store_id());
        let endless =
            debug.scan_mvcc(ScanMvccRequest { from_key: b"z".to_vec(), ..Default::default() }).await;
        assert_eq!(endless.unwrap_err().message(), "no limit and to_key");
        let check = |region_id| RegionConsistencyCheckRequest { region_id };
        debug.check_region_consistency(check(region.id)).await.unwrap();
        let missing = debug.check_region_consistency(check(4711)).await.unwrap_err();
        assert_eq!(missing.code(), tonic::Code::NotFound);
    });
}
