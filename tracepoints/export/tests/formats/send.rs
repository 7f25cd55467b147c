//! Senders with a collector in the same process, over both protocols, with configurable failures.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};
use tonic::{Response, Status};
use tracepoints_export::{
    Request,
    otlp::proto::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    send::{SendConfig, Sender},
};

use crate::sample;

#[derive(Clone, Default)]
struct Collector {
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// Number of attempts that fail before one succeeds.
    failures: Arc<AtomicU32>,
    /// Number of spans rejected from each message.
    refused: i64,
}

impl Collector {
    fn take(&self, message: ExportTraceServiceRequest) -> Option<ExportTraceServiceResponse> {
        let left = |n: u32| n.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            return None;
        }
        self.taken.lock().unwrap().push(message);
        let partial =
            ExportTracePartialSuccess { rejected_spans: self.refused, error_message: "too old".into() };
        Some(ExportTraceServiceResponse { partial_success: (self.refused > 0).then_some(partial) })
    }

    fn names(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|m| &m.resource_spans);
        let spans = resources.flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
        let mut names: Vec<String> = spans.map(|s| s.name.clone()).collect();
        names.sort();
        names
    }

    fn serve_grpc(&self, runtime: &Runtime) -> String {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let service = TraceServiceServer::new(self.clone());
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        format!("grpc://{address}")
    }

    /// Serves HTTP by hand: a request of a known length, then an answer.
    fn serve_http(&self, runtime: &Runtime) -> String {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let collector = self.clone();
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some((head, body)) = read_http(&mut stream).await {
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                    assert!(head.to_lowercase().contains("content-type: application/x-protobuf"), "{head}");
                    let message = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                    let answer = match collector.take(message) {
                        Some(reply) => answer("200 OK", &reply.encode_to_vec()),
                        None => answer("503 Busy\r\nretry-after: 0", b"later"),
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        format!("http://{address}")
    }
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn read_http(stream: &mut tokio::net::TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let reply = self.take(request.into_inner());
        reply.map(Response::new).ok_or_else(|| Status::unavailable("later"))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn config(address: &str) -> SendConfig {
    let backoff = Duration::from_millis(1);
    SendConfig { backoff, linger: Duration::from_millis(1), ..SendConfig::new(address.parse().unwrap()) }
}

fn wanted() -> Vec<String> {
    let requests = sample::requests();
    let mut names: Vec<String> = requests.iter().map(|r| r.name.clone()).collect();
    names.extend(requests.iter().flat_map(|r| &r.spans).map(|s| s.name.clone()));
    names.sort();
    names
}

type Serve = fn(&Collector, &Runtime) -> String;
const BOTH: [Serve; 2] = [Collector::serve_grpc, Collector::serve_http];

#[test]
fn a_collector_that_fails_twice_gets_everything_once() {
    for serve in BOTH {
        let (runtime, collector) = (runtime(), Collector::default());
        collector.failures.store(2, Ordering::SeqCst);
        let sender =
            Sender::start(SendConfig { batch_spans: 9, ..config(&serve(&collector, &runtime)) }).unwrap();
        sample::requests().iter().for_each(|r| assert!(sender.put(r.clone())));
        let report = sender.finish();
        assert_eq!(collector.names(), wanted());
        assert_eq!((report.sent, report.failed, report.retries), (wanted().len() as u64, 0, 2));
        assert!(report.messages >= 2, "batches: {report:?}");
        runtime.shutdown_background();
    }
}

#[test]
fn rejected_spans_are_reported() {
    for serve in BOTH {
        let (runtime, collector) = (runtime(), Collector { refused: 3, ..Collector::default() });
        let sender = Sender::start(config(&serve(&collector, &runtime))).unwrap();
        assert!(sender.put(sample::requests()[0].clone()));
        let report = sender.finish();
        assert_eq!((report.sent, report.rejected), (6, 3), "{report:?}");
        assert_eq!(report.last_error.as_deref(), Some("too old"));
        runtime.shutdown_background();
    }
}

#[test]
fn a_collector_that_is_down_is_given_up_with_exact_counts() {
    // Bound and closed again: no process listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["grpc", "http"] {
        let config = SendConfig {
            retries: 2,
            stop_at_failure: true,
            batch_spans: 1,
            ..config(&format!("{scheme}://{free}"))
        };
        let sender = Sender::start(config).unwrap();
        let requests: Vec<Request> = sample::requests().iter().cycle().take(9).cloned().collect();
        let put = requests.iter().filter(|r| sender.put((*r).clone())).count();
        assert!(put >= 1);
        let report = sender.finish();
        assert_eq!((report.sent, report.retries), (0, 2), "{report:?}");
        assert_eq!(report.failed, 9, "the first batch");
        assert_eq!(report.dropped_requests, 8, "the rest was never tried: {report:?}");
        let error = report.last_error.unwrap();
        assert!(error.contains("refused") && error.contains("after 3 attempts"), "{scheme}: {error}");
    }
}

#[test]
fn a_full_queue_drops_and_counts() {
    // A collector that accepts, but never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let config = SendConfig {
        queue: 2,
        batch_spans: 1,
        retries: 0,
        timeout: Duration::from_millis(300),
        ..config(&address)
    };
    let sender = Sender::start(config).unwrap();
    let offered = (0..50).filter(|_| sender.offer(sample::requests()[2].clone())).count() as u64;
    assert!((2..50).contains(&offered), "the queue holds two: {offered}");
    let report = sender.finish();
    // After the first message that fails at the end, the queued requests are dropped.
    assert!(report.failed >= 3 && report.dropped_requests >= 50 - offered, "{report:?}");
    assert_eq!(report.dropped_requests + report.failed / 3, 50, "each is counted once: {report:?}");
    assert!(report.last_error.unwrap().contains("no answer within"));
}

#[test]
fn a_collector_that_hangs_does_not_delay_the_end() {
    for scheme in ["grpc", "http"] {
        // Accepts, and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}", silent.local_addr().unwrap());
        let patient = SendConfig { timeout: Duration::from_secs(600), batch_spans: 1, ..config(&address) };
        let sender = Sender::start(patient).unwrap();
        (0..9).for_each(|_| assert!(sender.put(sample::requests()[2].clone())));
        // The timeout is ten minutes per attempt, so returning at all is the test.
        let report = sender.finish_within(Duration::from_millis(300));
        assert_eq!(
            (report.sent, report.failed + 3 * report.dropped_requests),
            (0, 27),
            "{scheme}: {report:?}"
        );
        assert!(report.last_error.unwrap().contains("after the last request"), "{scheme}");
    }
}
