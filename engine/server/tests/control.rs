//! The control service steps a running server's requests from outside. Sessions belong to the process, so one
//! test at a time.
mod harness;

use std::time::Duration;

use harness::Harness;
use kvproto::{
    kvrpcpb::{Context, RawGetRequest},
    tikvpb::tikv_client::TikvClient,
    tracecontrol::{
        ContinueRequest, FreezeRequest, GatesRequest, RecordChunk, RecordRequest, StatusReply, StatusRequest,
        StepEvent, SubscribeRequest, continue_request::Mode, trace_control_client::TraceControlClient,
    },
};
use parking_lot::{Mutex, MutexGuard};
use tonic::{Streaming, transport::Channel};
use tracepoints::{EngineClock, RequestKind, trace::Step, trace_file::TraceFile};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Stepper {
    h: Harness,
    ctx: Context,
    kv: TikvClient<Channel>,
    control: TraceControlClient<Channel>,
    _turn: MutexGuard<'static, ()>,
}

fn stepper() -> Stepper {
    let turn = ONE_AT_A_TIME.lock();
    let h = Harness::start(1);
    // The server notices with a delay that the client of the previous test has gone.
    h.until("the session of the previous test has ended", async || {
        (!tracepoints::session::active()).then_some(())
    });
    h.raw_put(b"k", b"v");
    let (ctx, kv) = h.leader();
    let address = format!("http://{}", h.store(0).addr());
    let control = h.block_on(TraceControlClient::connect(address)).unwrap();
    Stepper { h, ctx, kv, control, _turn: turn }
}

impl Stepper {
    /// Sends a raw get of `k` in the background.
    fn get(&self) -> tokio::task::JoinHandle<Vec<u8>> {
        let (mut kv, context) = (self.kv.clone(), Some(self.ctx.clone()));
        self.h.runtime.spawn(async move {
            let request = RawGetRequest { context, key: b"k".to_vec(), ..Default::default() };
            kv.raw_get(request).await.unwrap().into_inner().value
        })
    }

    fn subscribe(&mut self, request: SubscribeRequest) -> Streaming<StepEvent> {
        self.h.block_on(self.control.subscribe(request)).unwrap().into_inner()
    }

    fn next(&self, stream: &mut Streaming<StepEvent>) -> StepEvent {
        self.h.block_on(stream.message()).unwrap().expect("the stream is open")
    }

    fn until_held(&self, stream: &mut Streaming<StepEvent>) -> StepEvent {
        loop {
            let event = self.next(stream);
            if event.held {
                return event;
            }
        }
    }

    fn status(&mut self) -> StatusReply {
        self.h.block_on(self.control.status(StatusRequest {})).unwrap().into_inner()
    }

    fn go(&mut self, mode: Mode) -> bool {
        self.h
            .block_on(self.control.r#continue(ContinueRequest { mode: mode as i32, ..Default::default() }))
            .unwrap()
            .into_inner()
            .released
    }
}

fn raw_gets() -> SubscribeRequest {
    SubscribeRequest {
        key: b"k".to_vec(),
        request_type: "raw_get".into(),
        max_requests: 1,
        ..Default::default()
    }
}

#[test]
fn a_subscriber_gets_all_steps_and_their_sum() {
    let mut s = stepper();
    let mut stream = s.subscribe(SubscribeRequest { capture_stacks: true, ..raw_gets() });
    let get = s.get();
    let (mut steps, mut summary) = (std::collections::BTreeMap::new(), None);
    while let Some(event) = s.h.block_on(stream.message()).unwrap() {
        if event.end {
            summary =
                serde_json::from_slice::<serde_json::Value>(&event.json).unwrap().get("summary").cloned();
        } else if !event.json.is_empty() {
            let step: Step = serde_json::from_slice(&event.json).unwrap();
            steps.insert(step.step, step);
        }
    }
    assert_eq!(s.h.block_on(get).unwrap(), b"v");
    let stages: Vec<_> = steps.values().map(|s| s.stage.as_str()).collect();
    for stage in ["grpc_receive", "grpc_decode", "read_pool_run", "snapshot_request", "raw_get", "grpc_reply"]
    {
        assert!(stages.contains(&stage), "{stage} is not in {stages:?}");
    }
    assert_eq!(steps[&0].kind, "raw_get");
    assert!(steps[&0].thread.starts_with("grpc-server-"), "{}", steps[&0].thread);
    assert!(steps[&0].stack.iter().any(|f| f.function.contains("KvService")), "{:?}", steps[&0].stack);
    let accounted = summary.unwrap()["accounted"].as_f64().unwrap();
    assert!(accounted > 0.99, "{accounted}");
}

#[test]
fn a_gate_holds_the_request_and_engine_time() {
    let mut s = stepper();
    let mut stream = s.subscribe(SubscribeRequest { gates: vec!["grpc_decode".into()], ..raw_gets() });
    let get = s.get();
    let held = s.until_held(&mut stream);
    assert_eq!(held.hold_stage, "grpc_decode");
    let step: Step = serde_json::from_slice(&held.json).unwrap();
    assert_eq!(step.stage, "grpc_decode");
    let stood = EngineClock::now();
    let status = s.status();
    assert!(status.held && status.hold_stage == "grpc_decode" && status.store_id == s.h.store(0).store_id());
    // Longer than leases and election timeouts of this cluster.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(EngineClock::now(), stood, "engine time stops while the request is held");
    assert!(!get.is_finished());

    let gates = GatesRequest { add: vec!["raw_get".into()], remove: vec!["grpc_decode".into()] };
    let gates = s.h.block_on(s.control.set_gates(gates)).unwrap().into_inner().gates;
    assert_eq!(gates, ["raw_get"]);
    let gates = GatesRequest { add: vec!["grpc_reply".into()], remove: vec!["grpc_decode".into()] };
    let refused = s.h.block_on(s.control.set_gates(gates)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("these gates are set: raw_get"), "nothing was added: {refused}");
    assert!(s.go(Mode::Continue));
    assert_eq!(s.until_held(&mut stream).hold_stage, "raw_get");
    assert!(s.go(Mode::Step));
    s.until_held(&mut stream);
    assert!(s.go(Mode::Run));
    assert_eq!(s.h.block_on(get).unwrap(), b"v");
    assert!(!s.status().held);
}

#[test]
fn an_unknown_region_is_refused() {
    let mut s = stepper();
    let absent = SubscribeRequest { region_id: 4711, ..raw_gets() };
    let refused = s.h.block_on(s.control.subscribe(absent)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound, "{refused}");
    assert!(refused.message().contains("found 4711"), "{refused}");
    assert!(!tracepoints::session::active(), "no session waits for it");
}

#[test]
fn a_client_that_goes_away_releases_its_request() {
    let mut s = stepper();
    let mut stream = s.subscribe(SubscribeRequest { single_step: true, ..raw_gets() });
    let get = s.get();
    s.until_held(&mut stream);
    let busy = s.h.block_on(s.control.subscribe(raw_gets())).unwrap_err();
    assert_eq!(busy.code(), tonic::Code::ResourceExhausted, "{busy}");
    drop(stream);
    assert_eq!(s.h.block_on(get).unwrap(), b"v");
    // The next client can start a session.
    let mut control = s.control.clone();
    s.h.until("another client may step", async || control.subscribe(raw_gets()).await.ok());
}

#[test]
fn invalid_requests_are_refused_with_a_reason() {
    let mut s = stepper();
    let mut refused = |request| s.h.block_on(s.control.subscribe(request)).unwrap_err();
    let kind = refused(SubscribeRequest { request_type: "kv_nothing".into(), ..Default::default() });
    assert!(kind.code() == tonic::Code::InvalidArgument && kind.message().contains("kv_get"), "{kind}");
    let gate = refused(SubscribeRequest { gates: vec!["nowhere".into()], ..Default::default() });
    assert!(gate.message().contains("nowhere"), "{gate}");
    let without_session = s.h.block_on(s.control.r#continue(ContinueRequest::default())).unwrap_err();
    assert!(without_session.message().contains("Subscribe"), "{without_session}");
    let owner =
        s.h.block_on(s.control.freeze(FreezeRequest { frozen: true, owner: String::new() })).unwrap_err();
    assert_eq!(owner.code(), tonic::Code::InvalidArgument);
}

#[test]
fn a_recording_contains_the_requests_of_its_time() {
    let mut s = stepper();
    let mut chunks = s.h.block_on(s.control.record(RecordRequest { seconds: 1 })).unwrap().into_inner();
    let got = s.h.block_on(async {
        let mut file = Vec::new();
        while let Some(chunk) = {
            // Requests arrive all the time, so that some fall into the recording.
            let request =
                RawGetRequest { context: Some(s.ctx.clone()), key: b"k".to_vec(), ..Default::default() };
            s.kv.raw_get(request).await.unwrap();
            match tokio::time::timeout(Duration::from_millis(20), chunks.message()).await {
                Ok(chunk) => chunk.unwrap(),
                Err(_) => Some(RecordChunk::default()),
            }
        } {
            file.extend(chunk.data);
        }
        file
    });
    let path = s.h.dir.path().join("record.trace");
    std::fs::write(&path, got).unwrap();
    let file = TraceFile::open(&path).unwrap();
    assert!(file.truncated_at().is_none() && file.verify().is_empty());
    let recorded: Vec<_> = file.requests().collect();
    assert!(recorded.iter().any(|r| r.kind == RequestKind::RawGet), "{} requests", recorded.len());
    let endless = s.h.block_on(s.control.record(RecordRequest { seconds: 0 })).unwrap_err();
    assert!(endless.message().contains("1 to 600"), "{endless}");
}

#[test]
fn a_recording_is_streamed_and_ends_with_its_client() {
    let mut s = stepper();
    let mut chunks = s.h.block_on(s.control.record(RecordRequest { seconds: 600 })).unwrap().into_inner();
    let path = s.h.dir.path().join("begun.trace");
    let mut begun = Vec::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        assert!(std::time::Instant::now() < deadline, "no request of {} bytes", begun.len());
        let request =
            RawGetRequest { context: Some(s.ctx.clone()), key: b"k".to_vec(), ..Default::default() };
        let heard = s.h.block_on(async {
            s.kv.raw_get(request).await.unwrap();
            tokio::time::timeout(Duration::from_millis(20), chunks.message()).await
        });
        let Ok(chunk) = heard else { continue };
        begun.extend(chunk.unwrap().expect("the recording lasts ten minutes").data);
        std::fs::write(&path, &begun).unwrap();
        let file = TraceFile::open(&path).unwrap();
        assert!(file.truncated_at().is_none(), "only whole chunks are sent");
        if file.requests().any(|r| r.kind == RequestKind::RawGet) {
            break;
        }
    }
    drop(chunks);
    let collector = tracepoints::collector::current().unwrap();
    while collector.records() {
        assert!(std::time::Instant::now() < deadline, "the recording continues without a client");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn another_process_can_freeze_engine_time() {
    let mut s = stepper();
    let freeze = |frozen| FreezeRequest { frozen, owner: "a test".into() };
    let frozen = s.h.block_on(s.control.freeze(freeze(true))).unwrap().into_inner();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(EngineClock::now().0, frozen.engine_ns);
    s.h.block_on(s.control.freeze(freeze(false))).unwrap();
    s.h.until("engine time continues", async || (EngineClock::now().0 > frozen.engine_ns).then_some(()));
}
