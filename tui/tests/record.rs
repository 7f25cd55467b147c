//! Tests of `record`: every end keeps the recorded part, and an empty file does not block its name.
#![cfg(unix)]
use std::{
    io::Read as _,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use kvproto::tracecontrol::{
    RecordChunk, RecordRequest,
    trace_control_server::{TraceControl, TraceControlServer},
};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, codegen::BoxStream, transport::server::TcpIncoming};
use tracepoints::{Collector, CollectorConfig, RequestKind, request};

const BOUND: Duration = Duration::from_secs(60);

/// A recording, and the length in bytes of the chunks before its end.
struct Recording {
    bytes: Vec<u8>,
    before: usize,
}

/// A process runs one collector, so the recording is made once.
static RECORDING: LazyLock<Recording> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let collector = Collector::start(CollectorConfig::default()).unwrap();
    collector.record_to(&path).unwrap();
    let empty = collector.recorded_len().unwrap();
    let stamped = || {
        let req = request::begin(RequestKind::KvGet, b"k1", 2);
        tracepoints::stamp!(GRPC_RECEIVE, req);
        tracepoints::stamp!(GRPC_REPLY, req);
        request::end(req);
    };
    (0..3).for_each(|_| stamped());
    let deadline = Instant::now() + BOUND;
    while collector.recorded_len().unwrap() == empty {
        assert!(Instant::now() < deadline, "no chunk was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = collector.recorded_len().unwrap() as usize;
    (0..3).for_each(|_| stamped());
    collector.stop_recording().unwrap();
    Recording { bytes: std::fs::read(&path).unwrap(), before }
});

/// The server's behaviour after the first chunks.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Sends the rest.
    Ends,
    /// Keeps recording.
    Waits,
    /// Ends with an error.
    Breaks,
    /// Has not begun to send.
    IsSlow,
}

struct Server(Then);

#[tonic::async_trait]
impl TraceControl for Server {
    async fn record(&self, _: Request<RecordRequest>) -> Result<Response<BoxStream<RecordChunk>>, Status> {
        let (first, rest) = RECORDING.bytes.split_at(RECORDING.before);
        let chunk = |data: &[u8]| Ok(RecordChunk { data: data.to_vec() });
        let mut chunks = if self.0 == Then::IsSlow { Vec::new() } else { vec![chunk(first)] };
        match self.0 {
            Then::Ends => chunks.push(chunk(rest)),
            Then::Breaks => chunks.push(Err(Status::unavailable("the store stops"))),
            Then::Waits | Then::IsSlow => {
                let forever = tokio_stream::iter(chunks).chain(tokio_stream::pending());
                return Ok(Response::new(Box::pin(forever)));
            }
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}

fn serve(then: Then) -> (Runtime, SocketAddr) {
    LazyLock::force(&RECORDING);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let incoming = runtime.block_on(async { TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap() });
    let address = incoming.local_addr().unwrap();
    let service = TraceControlServer::new(Server(then));
    let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
    runtime.spawn(server);
    (runtime, address)
}

fn command(address: SocketAddr, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikv-tui"));
    command.args(["record", &address.to_string(), "--seconds", "30", "-o"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The tests themselves may run under nohup.
    on_hangup(&mut command, libc::SIG_DFL);
    command
}

/// Starts the program with this action of SIGHUP.
fn on_hangup(command: &mut Command, action: libc::sighandler_t) {
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGHUP, action);
            Ok(())
        });
    }
}

/// Waits until the first chunks are in the file.
fn until_recorded(path: &Path) {
    let deadline = Instant::now() + BOUND;
    while !path.metadata().is_ok_and(|m| m.len() >= RECORDING.before as u64) {
        assert!(Instant::now() < deadline, "nothing arrived in {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill(child: &Child, signal: i32) {
    // SAFETY: the child is ours and has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Waits for the end; returns the exit code and standard error.
fn end(mut child: Child) -> (Option<i32>, String) {
    let deadline = Instant::now() + BOUND;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "record did not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

fn list(path: &Path) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_tikv-tui")).arg("trace").arg(path).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn output(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_signal_keeps_the_recorded_part() {
    let (_runtime, address) = serve(Then::Waits);
    let dir = tempfile::tempdir().unwrap();
    for (signal, code) in [
        (libc::SIGINT, Some(130)),
        (libc::SIGTERM, Some(143)),
        (libc::SIGHUP, Some(129)),
        (libc::SIGQUIT, Some(131)),
        (libc::SIGKILL, None),
    ] {
        let path = dir.path().join(format!("{signal}.trace"));
        let child = command(address, &path).spawn().unwrap();
        until_recorded(&path);
        kill(&child, signal);
        let (ended, text) = end(child);
        assert_eq!(ended, code, "{text}");
        if signal != libc::SIGKILL {
            assert!(text.contains(": 3 requests, ") && text.contains("stopped by SIG"), "{text}");
        }
        assert_eq!(list(&path).matches("kv_get").count(), 3);
        let before = std::fs::read(&path).unwrap();
        let (code, _, text) = output(command(address, &path));
        assert!(code == Some(1) && text.contains("contains 3 requests, so it is kept"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn an_ignored_hangup_does_not_end_a_recording() {
    let (_runtime, address) = serve(Then::Waits);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let mut record = command(address, &path);
    on_hangup(&mut record, libc::SIG_IGN);
    let child = record.spawn().unwrap();
    until_recorded(&path);
    kill(&child, libc::SIGHUP);
    // The first signal that counts gives the exit code.
    kill(&child, libc::SIGTERM);
    let (code, text) = end(child);
    assert!(code == Some(143) && text.contains("stopped by SIGTERM"), "{code:?} {text}");
    assert_eq!(list(&path).matches("kv_get").count(), 3);
}

#[test]
fn a_lost_server_keeps_the_recorded_part() {
    let (_runtime, address) = serve(Then::Breaks);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let (code, _, text) = output(command(address, &path));
    assert!(code == Some(1) && text.contains("closed the connection: the store stops"), "{text}");
    assert!(text.contains(": 3 requests, "), "{text}");
    assert_eq!(list(&path).matches("kv_get").count(), 3);
}

#[test]
fn a_full_disk_keeps_the_recorded_part() {
    let (_runtime, address) = serve(Then::Ends);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let mut record = command(address, &path);
    // Like a full disk: only part of the next chunk is written.
    let limit = RECORDING.before as libc::rlim_t + 40;
    // SAFETY: both calls may be made between fork and exec.
    unsafe {
        record.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    let (code, _, text) = output(record);
    assert!(code == Some(1) && text.contains("cannot write") && text.contains(": 3 requests, "), "{text}");
    assert_eq!(path.metadata().unwrap().len() as usize, RECORDING.before + 40);
    assert_eq!(list(&path).matches("kv_get").count(), 3);
}

#[test]
fn an_empty_file_does_not_block_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let (_slow, address) = serve(Then::IsSlow);
    let child = command(address, &path).spawn().unwrap();
    let deadline = Instant::now() + BOUND;
    while !path.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    let (code, _, text) = output(command(address, &path));
    assert!(code == Some(1) && text.contains("another recording is writing to"), "{text}");
    kill(&child, libc::SIGKILL);
    end(child);
    assert_eq!(path.metadata().unwrap().len(), 0);
    let (_runtime, address) = serve(Then::Ends);
    let (code, stdout, text) = output(command(address, &path));
    assert!(code == Some(0) && stdout.contains(": 6 requests, "), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), RECORDING.bytes);
}

/// Stores number their requests independently; the recording has those of both, and the parts are removed.
#[test]
fn several_stores_become_one_recording() {
    let (_one, first) = serve(Then::Ends);
    let (_two, second) = serve(Then::Ends);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trace");
    let mut record = command(first, &path);
    record.arg(second.to_string());
    let (code, stdout, text) = output(record);
    assert!(code == Some(0) && stdout.contains(": 12 requests, "), "{stdout}{text}");
    assert_eq!(list(&path).matches("kv_get").count(), 12);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left");
}

#[test]
fn a_failed_store_or_a_signal_keeps_all_recorded_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (_one, first) = serve(Then::Ends);
    for (n, then, code, says) in [
        (1, Then::Breaks, Some(1), "1 of 2 stores were not recorded to the end"),
        (2, Then::Waits, Some(143), "stopped by SIGTERM"),
    ] {
        let (_two, second) = serve(then);
        let path = dir.path().join(format!("{n}.trace"));
        let mut record = command(first, &path);
        record.arg(second.to_string());
        let child = record.spawn().unwrap();
        if then == Then::Waits {
            until_recorded(&dir.path().join("2.trace.2.part"));
            until_recorded(&dir.path().join("2.trace.1.part"));
            kill(&child, libc::SIGTERM);
        }
        let (ended, text) = end(child);
        assert!(ended == code && text.contains(says), "{ended:?} {text}");
        let listed = list(&path).matches("kv_get").count();
        assert!(listed >= 6, "{listed} {text}");
    }
}
