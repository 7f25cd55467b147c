//! Commands over gRPC: a debug service replies from a directory, so both modes must print the same.
mod common;

use common::{Store, copy_dir, ctl, fill, shorten};
use kvproto::debugpb::{self, debug_server::DebugServer};
use tikv_ctl::{DebugError, Offline, StoreConfig, source::Source};
use tonic::{Request, Response, Status, codegen::BoxStream, transport::server::TcpIncoming};

struct Service(Offline);

fn status(e: DebugError) -> Status {
    match e {
        DebugError::NotFound(what) => Status::not_found(what),
        DebugError::InvalidArgument(what) => Status::invalid_argument(what),
        other => Status::unknown(other.to_string()),
    }
}

fn reply<T>(answer: Result<T, DebugError>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(status)
}

#[tonic::async_trait]
impl debugpb::debug_server::Debug for Service {
    async fn get(&self, r: Request<debugpb::GetRequest>) -> Result<Response<debugpb::GetResponse>, Status> {
        let r = r.into_inner();
        reply(self.0.get(&r.cf, &r.key).map(|value| debugpb::GetResponse { value }))
    }

    async fn raft_log(
        &self,
        r: Request<debugpb::RaftLogRequest>,
    ) -> Result<Response<debugpb::RaftLogResponse>, Status> {
        let r = r.into_inner();
        let entry = self.0.raft_log(r.region_id, r.log_index);
        reply(entry.map(|entry| debugpb::RaftLogResponse { entry: Some(entry) }))
    }

    async fn region_info(
        &self,
        r: Request<debugpb::RegionInfoRequest>,
    ) -> Result<Response<debugpb::RegionInfoResponse>, Status> {
        reply(self.0.region_info(r.into_inner().region_id).map(|info| debugpb::RegionInfoResponse {
            raft_local_state: info.raft_local_state,
            raft_apply_state: info.raft_apply_state,
            region_local_state: info.region_local_state,
        }))
    }

    async fn region_size(
        &self,
        r: Request<debugpb::RegionSizeRequest>,
    ) -> Result<Response<debugpb::RegionSizeResponse>, Status> {
        let r = r.into_inner();
        let entry = |(cf, size)| debugpb::region_size_response::Entry { cf, size };
        let sizes = self.0.region_size(r.region_id, &r.cfs);
        reply(
            sizes
                .map(|sizes| debugpb::RegionSizeResponse { entries: sizes.into_iter().map(entry).collect() }),
        )
    }

    async fn scan_mvcc(
        &self,
        r: Request<debugpb::ScanMvccRequest>,
    ) -> Result<Response<BoxStream<debugpb::ScanMvccResponse>>, Status> {
        let r = r.into_inner();
        let mut rows = Vec::new();
        let scanned = self.0.scan_mvcc(&r.from_key, &r.to_key, r.limit, &mut |key, info| {
            rows.push(Ok(debugpb::ScanMvccResponse { key: key.to_vec(), info: Some(std::mem::take(info)) }));
            Ok(())
        });
        reply(scanned.map(|()| Box::pin(tokio_stream::iter(rows)) as BoxStream<_>))
    }

    async fn get_region_properties(
        &self,
        r: Request<debugpb::GetRegionPropertiesRequest>,
    ) -> Result<Response<debugpb::GetRegionPropertiesResponse>, Status> {
        let list = self.0.region_properties(r.into_inner().region_id);
        let property = |(name, value)| debugpb::Property { name, value };
        reply(list.map(|list| debugpb::GetRegionPropertiesResponse {
            props: list.into_iter().map(property).collect(),
        }))
    }

    async fn get_store_info(
        &self,
        _: Request<debugpb::GetStoreInfoRequest>,
    ) -> Result<Response<debugpb::GetStoreInfoResponse>, Status> {
        let info = self.0.store_info();
        reply(info.map(|(store_id, v)| debugpb::GetStoreInfoResponse { store_id, api_version: v.into() }))
    }

    async fn get_cluster_info(
        &self,
        _: Request<debugpb::GetClusterInfoRequest>,
    ) -> Result<Response<debugpb::GetClusterInfoResponse>, Status> {
        reply(self.0.cluster_id().map(|cluster_id| debugpb::GetClusterInfoResponse { cluster_id }))
    }

    async fn get_all_regions_in_store(
        &self,
        _: Request<debugpb::GetAllRegionsInStoreRequest>,
    ) -> Result<Response<debugpb::GetAllRegionsInStoreResponse>, Status> {
        reply(self.0.all_regions().map(|regions| debugpb::GetAllRegionsInStoreResponse { regions }))
    }
}

/// Starts a server for `dir`; it stops with the runtime.
fn serve(dir: &std::path::Path) -> (tokio::runtime::Runtime, String) {
    let service = Service(Offline::open(dir, &StoreConfig::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let incoming = {
        let _context = runtime.enter();
        TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    };
    let address = incoming.local_addr().unwrap().to_string();
    let server = tonic::transport::Server::builder().add_service(DebugServer::new(service));
    runtime.spawn(server.serve_with_incoming(incoming));
    (runtime, address)
}

#[test]
fn both_modes_print_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let path = dir.path().display().to_string();
    let (_runtime, address) = serve(dir.path());
    for args in [
        &["raft", "region"][..],
        &["raft", "region", "-r", "4"],
        &["raft", "log", "-r", "2", "-i", "7"],
        &["size"],
        &["size", "-r", "2", "-c", "write"],
        &["scan", "-f", "z", "-t", "{", "--show-cf", "default,write,lock", "--key-format", "escaped"],
        &["scan", "-f", "za", "--limit", "2"],
        &["mvcc", "-k", "a", "--key-format", "raw", "--show-cf", "lock"],
        &["print", "-k", "zraw\\001"],
        &["region-properties", "-r", "2"],
        &["store"],
        &["show-cluster-id"],
    ] {
        for format in ["text", "json"] {
            let run = |mode: [&str; 2]| ctl(&[&mode[..], args, &["--format", format]].concat());
            let (offline, online) = (run(["--data-dir", &path]), run(["--host", &address]));
            assert_eq!(offline, online, "{args:?}");
            assert_eq!(offline.0, 0, "{args:?} {offline:?}");
        }
    }
    assert_eq!(ctl(&["--host", &address, "cluster"]).1, "77\n");
}

/// The real server had added entries to its log when it printed them; `plain-online.txt` has the other commands.
#[test]
fn a_store_of_tikv_prints_as_by_the_real_tikv_ctl() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(std::path::Path::new("tests/golden/plain"), dir.path());
    let (_runtime, address) = serve(dir.path());
    let text = std::fs::read_to_string("tests/golden/plain-online.txt").unwrap();
    let cases: Vec<_> = text.split("\n$ ").skip(1).filter_map(|case| case.split_once("\n----\n")).collect();
    assert!(cases.len() > 70, "found {} commands", cases.len());
    let run = |command: &str| {
        let words = shlex::split(&command.replace("STORE", &address)).expect("quotes are closed");
        let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let (code, out, err) = ctl(&args);
        let mut lines: Vec<String> = out.trim_end_matches('\n').lines().map(shorten).collect();
        lines.extend((code != 0).then(|| "(failed)".to_owned()));
        (lines.join("\n").trim_end_matches('\n').to_owned(), err)
    };
    let mut differs = String::new();
    for (command, expected) in cases {
        let (found, err) = run(command);
        if found != expected.trim_end_matches('\n') {
            differs += &format!("$ {command}\nexpected:\n{expected}\nfound:\n{found}\n{err}\n");
        }
    }
    assert!(differs.is_empty(), "{differs}");
}

#[test]
fn failures_have_the_text_of_tikv() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let (runtime, address) = serve(dir.path());
    let (code, out, _) = ctl(&["--host", &address, "raft", "region", "-r", "9"]);
    assert_eq!(
        (code, out.as_str()),
        (255, "DebugClient::region_info: RpcFailure: 5-NOT_FOUND info for region 9\n")
    );
    // This server has no `tikvpb.Tikv`, which serves data.
    let (code, out, _) = ctl(&["--host", &address, "raw-scan", "-f", "z"]);
    assert!(code == 255 && out.contains("RpcFailure: 12-UNIMPLEMENTED"), "{out}");
    let (code, out, _) = ctl(&["--host", &address, "raw-scan", "--cf", "raft"]);
    assert_eq!((code, out.ends_with("Total scanned keys: 4\n")), (0, true), "{out}");
    // The tool requests the states and the ends of the log one by one.
    let (code, out, err) = ctl(&["--host", &address, "bad-regions"]);
    assert_eq!((code, out.as_str()), (0, "all regions are healthy\n"), "{err}");
    let (code, out, _) = ctl(&["--host", &address, "range-properties"]);
    assert!(code == 255 && out.contains("12-UNIMPLEMENTED"), "{out}");
    drop(runtime);
    let (code, _, err) = ctl(&["--host", &address, "store"]);
    assert!(code == 1 && err.contains("cannot connect"), "{err}");
}
