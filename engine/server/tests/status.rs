//! The status server's contract: paths, codes, headers and shapes of a real TiKV (9.0.0-beta.2, `curl -i`).
mod harness;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use harness::Harness;
use serde_json::Value;

struct Reply {
    code: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    /// Empty if the header is missing.
    fn header(&self, name: &str) -> &str {
        let matches = |line: &'_ str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(|l| matches(l)).and_then(|l| l.split_once(':')).map_or("", |(_, v)| v.trim())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one HTTP request over a plain socket.
fn http(h: &Harness, request: &str, headers: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(h.store(0).status_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(harness::BOUND)).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: {length}\r\n");
    write!(stream, "{head}{headers}\r\n{body}").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&reply[..end]).into_owned();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { code, head, body: reply[end + 4..].to_vec() }
}

fn get(h: &Harness, path: &str) -> Reply {
    http(h, &format!("GET {path}"), "", "")
}

/// Request, body; code, content type and body of the answer.
const ANSWERS: &[(&str, &str, u16, &str, &str)] = &[
    ("GET /status", "", 200, "", ""),
    ("GET /ready", "", 200, "", ""),
    (
        "GET /ready?verbose",
        "",
        200,
        "",
        "{\n  \"connected_to_pd\": true,\n  \"raft_peers_caught_up\": true\n}",
    ),
    ("GET /engine_type", "", 200, "text/plain", "raft-kv"),
    ("GET /debug/fail_point", "", 200, "", ""),
    ("GET /force_partition_ranges", "", 200, "application/json", "[]"),
    ("GET /debug/ime/cached_regions", "", 400, "", "In memory engine is not enabled"),
    ("GET /nope", "", 404, "", "path not found"),
    ("POST /status", "", 404, "", "path not found"),
    ("GET /region/99999", "", 404, "", "region(99999) not found"),
    ("GET /region/x", "", 404, "", "path /region/x not found"),
    ("PUT /log-level", "{\"log-level\":\"warn\"}", 200, "", ""),
    ("GET /config?full=perhaps", "", 400, "", "provided string was not `true` or `false`"),
    ("GET /debug/pprof/symbol", "", 200, "text/plain", "num_symbols: 1\n"),
    ("POST /debug/pprof/symbol", "0x0000000000000008", 200, "text/plain", "0x8 ??\n"),
    (
        "GET /debug/pprof/heap_activate?interval=60",
        "",
        410,
        "",
        "Deprecated, use config `memory.enable_heap_profiling` to toggle",
    ),
    (
        "GET /debug/pprof/heap_deactivate",
        "",
        410,
        "",
        "Deprecated, use config `memory.enable_heap_profiling` to toggle",
    ),
    (
        "GET /debug/pprof/heap_list",
        "",
        410,
        "",
        "Deprecated, heap profiling is always enabled by default, just use /debug/pprof/heap to get the heap profile when \
         needed",
    ),
];

#[test]
fn answers_are_tikvs() {
    let h = Harness::start(1);
    h.region(1);
    for (request, body, code, content_type, answer) in ANSWERS {
        let reply = http(&h, request, "", body);
        let found = (reply.code, reply.header("content-type"), reply.text());
        assert_eq!(found, (*code, *content_type, (*answer).to_owned()), "{request}");
    }
    let cmdline = get(&h, "/debug/pprof/cmdline");
    assert_eq!(
        (cmdline.header("content-type"), cmdline.header("x-content-type-options")),
        ("text/plain", "nosniff")
    );
    let args: Vec<String> = std::env::args().collect();
    assert_eq!(cmdline.text(), args.join("\0") + "\0");
    // This program's allocator does not sample.
    let heap = get(&h, "/debug/pprof/heap");
    assert!(heap.code == 500 && heap.text().contains("jemalloc"), "{}", heap.text());
}

#[test]
fn log_level_and_online_settings_can_change() {
    let h = Harness::start(1);
    let level = |h: &Harness| {
        let reply = get(h, "/config?full=true");
        assert_eq!(reply.header("content-type"), "application/json");
        serde_json::from_slice::<Value>(&reply.body).unwrap()["log"]["level"].as_str().unwrap().to_owned()
    };
    let post = |body: &str| http(&h, "POST /config", "", body);
    assert_eq!(post("{\"log.level\":\"error\"}").code, 200);
    assert_eq!(level(&h), "error");
    let refused = post("{\"log.level\":\"info\",\"server.addr\":\"x\"}");
    assert_eq!(refused.code, 500);
    assert!(
        refused.text().starts_with("failed to update, error: ") && refused.text().contains("server.addr")
    );
    assert!(post("level").text().starts_with("failed to decode, error: "));
    assert_eq!(level(&h), "error", "all or none");
    let put = |body: &str| http(&h, "PUT /log-level", "", body);
    assert_eq!((put("{\"log-level\":\"warn\"}").code, level(&h).as_str()), (200, "warn"));
    for wrong in ["", "{}", "{\"log-level\":\"loud\"}", "\u{0}"] {
        let reply = put(wrong);
        assert!(reply.code == 400 && !reply.body.is_empty(), "{wrong:?}");
    }
}

#[test]
fn the_slow_log_threshold_changes_online() {
    let h = Harness::start(1);
    let post = |body: &str| http(&h, "POST /config", "", body);
    let config = || serde_json::from_slice::<Value>(&get(&h, "/config").body).unwrap();
    let changes =
        r#"{"slow_log_threshold":"20ms","trace.sample-one-in":"7","trace.slow-thresholds":{"kv_get":"5ms"}}"#;
    let reply = post(changes);
    assert_eq!((reply.code, reply.text().as_str()), (200, ""));
    let changed = config();
    assert_eq!(changed["slow-log-threshold"], "20ms");
    assert_eq!(changed["trace"]["sample-one-in"], 7);
    assert_eq!(changed["trace"]["slow-thresholds"]["kv_get"], "5ms");
    let refused = post(r#"{"trace.sample-one-in":3,"slow-log-threshold":"soon"}"#);
    assert!(refused.code == 500 && refused.text().contains("slow-log-threshold"), "{}", refused.text());
    assert_eq!(config(), changed, "all or none");
    let reload = http(&h, "PUT /config/reload", "", "");
    assert!(
        reload.code == 500 && reload.text().starts_with("failed to update, error: "),
        "{}",
        reload.text()
    );
    assert_eq!(http(&h, "GET /config/reload", "", "").code, 404);
}

#[test]
fn pools_can_be_resized_under_load() {
    let h = Harness::start(1);
    let (context, mut client) = h.leader();
    let mut write_and_read = |round: u8| {
        let key = vec![b'k', round];
        let put = kvproto::kvrpcpb::RawPutRequest {
            context: Some(context.clone()),
            key: key.clone(),
            value: vec![round],
            ..Default::default()
        };
        let get =
            kvproto::kvrpcpb::RawGetRequest { context: Some(context.clone()), key, ..Default::default() };
        let (put, get) = h.runtime.block_on(async {
            (client.raw_put(put).await.unwrap().into_inner(), client.raw_get(get).await.unwrap().into_inner())
        });
        assert!(put.region_error.is_none() && put.error.is_empty(), "{put:?}");
        assert_eq!(get.value, [round], "{get:?}");
    };
    write_and_read(0);
    let post = |body: &str| http(&h, "POST /config", "", body);
    for round in 1..5u8 {
        let changes = format!(
            r#"{{"storage.scheduler-worker-pool-size":{round},"readpool.unified.max-thread-count":{round},
               "server.concurrent-send-snap-limit":{round},"server.concurrent-recv-snap-limit":{round},
               "server.raft-msg-max-batch-size":{round}}}"#
        );
        let reply = post(&changes);
        assert_eq!((reply.code, reply.text().as_str()), (200, ""));
        write_and_read(round);
    }
    for wrong in ["storage.scheduler-worker-pool-size", "readpool.unified.max-thread-count"] {
        for size in ["0", "1000000"] {
            let reply = post(&format!(r#"{{"{wrong}":{size}}}"#));
            assert!(reply.code == 500 && reply.text().contains(wrong), "{}", reply.text());
        }
    }
    let most = format!(r#"{{"server.concurrent-send-snap-limit":{}}}"#, u64::MAX);
    assert_eq!(post(&most).code, 200, "more threads than any machine has");
    write_and_read(5);
}

#[test]
fn settings_change_online_over_http_and_grpc() {
    use kvproto::debugpb::{ModifyTikvConfigRequest, debug_client::DebugClient};
    let h = Harness::start(1);
    let config = || serde_json::from_slice::<Value>(&get(&h, "/config").body).unwrap();
    let changes = r#"{"storage.block-cache.capacity":"16MiB","rocksdb.max-background-jobs":3,
        "rocksdb.defaultcf.disable-auto-compactions":true,"raftstore.raft-entry-max-size":"1KiB",
        "raftstore.pd-heartbeat-tick-interval":"1s","readpool.unified.max-tasks-per-worker":"5"}"#;
    let reply = http(&h, "POST /config", "", changes);
    assert_eq!((reply.code, reply.text().as_str()), (200, ""));
    let changed = config();
    assert_eq!(changed["storage"]["block-cache"]["capacity"], "16MiB");
    assert_eq!(changed["readpool"]["unified"]["max-tasks-per-worker"], 5);
    let kv = &h.store(0).engines().unwrap().kv;
    let cache = kv.property_value_cf("default", "rocksdb.block-cache-capacity").unwrap();
    assert_eq!(cache.as_deref(), Some((16 << 20).to_string().as_str()));

    // A write that is too large now is refused, until the limit is raised over gRPC.
    let (context, mut client) = h.leader();
    let put = || kvproto::kvrpcpb::RawPutRequest {
        context: Some(context.clone()),
        key: b"k".to_vec(),
        value: vec![b'v'; 4096],
        ..Default::default()
    };
    h.until("a large write is refused", async || {
        client.raw_put(put()).await.ok()?.into_inner().region_error?.raft_entry_too_large.map(drop)
    });
    let modify = |name: &str, value: &str| {
        let request = ModifyTikvConfigRequest {
            config_name: name.into(),
            config_value: value.into(),
            ..Default::default()
        };
        let address = format!("http://{}", h.store(0).addr());
        h.block_on(async { DebugClient::connect(address).await.unwrap().modify_tikv_config(request).await })
    };
    modify("raftstore.raft-entry-max-size", "8MiB").unwrap();
    assert_eq!(config()["raftstore"]["raft-entry-max-size"], "8MiB");
    let (_, mut client) = h.leader();
    h.until("the large write is accepted again", async || {
        client.raw_put(put()).await.ok()?.into_inner().region_error.is_none().then_some(())
    });
    let refused = |name: &str| modify(name, "1").unwrap_err().message().to_owned();
    assert!(refused("gc.ratio-threshold").contains("no such setting"));
    assert!(refused("raftstore.store-pool-size").contains("can not be changed online"));
    assert!(refused("nope.nope").contains("unexpect fields: nope"));
    assert!(refused("rocksdb.nope").contains("unexpect fields: nope"));
}

#[test]
fn a_paused_store_is_unreachable_until_resumed() {
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let put = |path: &str| {
        let reply = http(&h, &format!("PUT {path}"), "", "");
        (reply.code, reply.text())
    };
    let connects = || TcpStream::connect(h.store(0).addr()).is_ok();
    assert!(connects());
    for _ in 0..2 {
        assert_eq!(put("/pause_grpc"), (200, "Successfully pause grpc service".into()));
        assert!(!connects(), "no server listens");
    }
    assert_eq!(get(&h, "/status").code, 200, "the status server still answers");
    for _ in 0..2 {
        assert_eq!(put("/resume_grpc"), (200, "Successfully resume grpc service".into()));
        assert!(connects());
    }
    h.raw_put(b"k", b"w");
    assert_eq!(get(&h, "/pause_grpc").code, 404);
    // The error says that another program has taken the port.
    assert_eq!(put("/pause_grpc").0, 200);
    let other = std::net::TcpListener::bind(h.store(0).addr()).unwrap();
    let (code, text) = put("/resume_grpc");
    assert!(
        code == 500 && text.starts_with("fails to resume grpc: ") && text.contains("is in use"),
        "{text}"
    );
    drop(other);
    assert_eq!(put("/resume_grpc").0, 200);
}

#[test]
fn a_region_has_the_shape_of_tikvs() {
    // `/region/2` of a real TiKV.
    let real = r#"{"group_state":"Ordered","raft_status":{"id":3,"hard_state":{"term":8,"vote":3,"commit":127},
        "soft_state":{"leader_id":3,"raft_state":"Leader"},"applied":127,"voters":{"3":{"matched":127,"next_idx":128,
        "state":"Replicate","paused":false,"pending_snapshot":0,"pending_request_snapshot":0,"recent_active":true}},
        "learners":{},"last_index":127,"persisted_index":127},"raft_apply":{"applied_index":127,"commit_index":127,
        "commit_term":8,"truncated_state":{"index":123,"term":6}},"region_state":{"id":2,"start_key":[114],"end_key":[],
        "epoch":{"conf_ver":1,"version":4},"peers":[{"id":3,"store_id":1,"role":"Voter","is_witness":false}],
        "merge_state":null,"tablet_index":0},"bucket_keys":[]}"#;
    let h = Harness::start(1);
    h.raw_put(b"k", b"v");
    let (region, leader) = h.region(1);
    let reply = get(&h, &format!("/region/{}", region.id));
    assert_eq!(reply.header("content-type"), "application/json");
    let ours: Value = serde_json::from_slice(&reply.body).unwrap();
    let own_peer = |key: &str| if key == leader.id.to_string() { "3".to_owned() } else { key.to_owned() };
    let mut found = shape(&ours, "", &own_peer);
    let mut wanted = shape(&serde_json::from_str(real).unwrap(), "", &str::to_owned);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(ours["raft_status"]["soft_state"]["raft_state"], "Leader");
}

/// Lists paths and types of all values in a JSON value; of a list, those of its first element.
fn shape(value: &Value, path: &str, rename: &impl Fn(&str) -> String) -> Vec<String> {
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(k, v)| shape(v, &format!("{path}.{}", rename(k)), rename)).collect()
        }
        Value::Array(list) if list.first().is_some_and(Value::is_object) => {
            shape(&list[0], &format!("{path}[]"), rename)
        }
        Value::Array(_) => vec![format!("{path}: list")],
        Value::Null => vec![format!("{path}: null")],
        Value::Bool(_) => vec![format!("{path}: bool")],
        Value::Number(_) => vec![format!("{path}: number")],
        Value::String(_) => vec![format!("{path}: string")],
    }
}

/// Burns the CPU until it is dropped.
struct Burner(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Burner {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let of_thread = stop.clone();
        let burn = move || {
            let mut x = 1u64;
            while !of_thread.load(Ordering::Relaxed) {
                x = std::hint::black_box(x.wrapping_mul(0x9e37_79b9).rotate_left(7));
            }
        };
        Self(stop, Some(std::thread::spawn(burn)))
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn cpu_profiles_run_one_at_a_time() {
    let h = Harness::start(1);
    let burner = Burner::start();
    let path = "/debug/pprof/profile?seconds=1&frequency=99";
    let svg = get(&h, path);
    assert_eq!((svg.code, svg.header("content-type")), (200, "image/svg+xml"), "{}", svg.text());
    assert_eq!(svg.header("content-disposition"), "attachment; filename=\"cpu_profile\"");
    assert!(svg.text().contains("<svg"));
    let protobuf = http(&h, &format!("GET {path}"), "Content-Type: application/protobuf\r\n", "");
    assert_eq!((protobuf.code, protobuf.header("content-type")), (200, "application/octet-stream"));
    assert_eq!(protobuf.header("content-disposition"), "attachment; filename=\"cpu_profile\"");
    assert!(protobuf.text().contains("nanoseconds") && protobuf.text().contains("pool"));

    let by_pprof = get(&h, &format!("{path}&sampler=pprof"));
    assert_eq!(
        (by_pprof.code, by_pprof.header("content-type")),
        (200, "image/svg+xml"),
        "{}",
        by_pprof.text()
    );
    assert!(by_pprof.text().contains("<svg"));

    check_one_at_a_time(&h, path);
    drop(burner);
    // One sample per second of a thread's CPU time; an idle server uses less than that in one second.
    let idle = "/debug/pprof/profile?seconds=1&frequency=1";
    let svg = get(&h, idle);
    assert_eq!((svg.code, svg.header("content-type")), (200, "image/svg+xml"), "{}", svg.text());
    assert!(svg.text().contains("<svg") && svg.text().trim_end().ends_with("</svg>"));
    let protobuf = http(&h, &format!("GET {idle}"), "Content-Type: application/protobuf\r\n", "");
    assert!(protobuf.code == 200 && !protobuf.body.is_empty(), "{}", protobuf.text());
    check_wrong_parameters(&h);
}

/// A second profile is refused while one runs. A client that goes away ends its profile.
fn check_one_at_a_time(h: &Harness, path: &str) {
    let deadline = Instant::now() + harness::BOUND;
    let (gone, busy) = loop {
        let mut long = TcpStream::connect(h.store(0).status_addr().unwrap()).unwrap();
        write!(long, "GET /debug/pprof/profile?seconds=600 HTTP/1.1\r\nHost: s\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let second = get(h, path);
        // Otherwise the second came first, and the long one was refused.
        if second.code != 200 || Instant::now() > deadline {
            break (long, second);
        }
    };
    assert_eq!((busy.code, busy.text().as_str()), (500, "Already in CPU Profiling"));
    drop(gone);
    while get(h, path).code != 200 {
        assert!(Instant::now() < deadline, "the sampler is free again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn check_wrong_parameters(h: &Harness) {
    let wrong = [
        "seconds=x",
        "seconds=0",
        "seconds=-1",
        "seconds=99999999999999999999",
        "frequency=100000",
        "frequency=0",
        "frequency=-5",
        "seconds=",
        "seconds=1&seconds=2",
        "seconds=1&sampler=perf",
    ];
    for wrong in wrong {
        let reply = get(h, &format!("/debug/pprof/profile?{wrong}"));
        assert!(reply.code == 400 && !reply.body.is_empty(), "{wrong}: {}", reply.head);
    }
}
