//! Tests of `attach`: the steps of a server's stream, and the screen after the server closes it.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kvproto::tracecontrol::{
    ContinueReply, ContinueRequest, GatesReply, GatesRequest, StatusReply, StatusRequest, StepEvent,
    SubscribeRequest,
    continue_request::Mode,
    trace_control_server::{TraceControl, TraceControlServer},
};
use security::{SecurityConfig, SecurityManager};
use tikv_tui::{
    input::Action,
    print::{self, Format},
    source::attached::{Attached, Client, Operation, OwnOperation, RequestFilter, Running},
    state::{Phase, Screen, Start, StepSource, overlay::Overlay, screen::Options},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, codegen::BoxStream, transport::server::TcpIncoming};
use tracepoints::trace::Step;

mod common;

type Stream = mpsc::UnboundedSender<Result<StepEvent, Status>>;

/// Serves recorded steps one at a time, as the server does: step, hold, release.
#[derive(Clone, Default)]
struct Server {
    steps: Vec<Step>,
    asked: Arc<Mutex<Vec<SubscribeRequest>>>,
    stream: Arc<Mutex<Option<Stream>>>,
    next: Arc<Mutex<usize>>,
    gates: Arc<Mutex<Vec<String>>>,
    /// The outcome that the server sends at the end; null: an older server, which sends none.
    outcome: serde_json::Value,
}

impl Server {
    fn send(&self, event: StepEvent) {
        if let Some(stream) = &*self.stream.lock().unwrap() {
            // The receiver is gone if the client is gone.
            let _ = stream.send(Ok(event));
        }
    }

    /// Sends a step, which a gate holds, or every stage: the text is the gate's, or empty.
    fn send_step(&self, step: &Step, held: Option<String>) {
        let hold_stage = if held.is_some() { step.stage.clone() } else { String::new() };
        self.send(StepEvent {
            json: serde_json::to_vec(step).unwrap(),
            held: held.is_some(),
            hold_stage,
            hold_reason: held.unwrap_or_default(),
            ..StepEvent::default()
        });
    }

    /// The gate that holds a step; empty if every stage holds.
    fn gate_of(&self, step: &Step, mode: Mode) -> Option<String> {
        match mode {
            Mode::Step | Mode::Into => Some(String::new()),
            Mode::Continue => self.gates.lock().unwrap().iter().find(|gate| **gate == step.stage).cloned(),
            Mode::Run => None,
        }
    }

    /// Answers the client's next try, after the time that a client waits.
    fn retry(&self) {
        let retried = Self { outcome: "ok".into(), next: Arc::default(), ..self.clone() };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            retried.go(Mode::Run);
        });
    }

    /// Sends the steps up to the next one that is held; or the end.
    fn go(&self, mode: Mode) {
        loop {
            let mut next = self.next.lock().unwrap();
            let Some(step) = self.steps.get(*next) else { break };
            *next += 1;
            self.send_step(step, None);
            if let Some(gate) = self.gate_of(step, mode) {
                return self.send_step(step, Some(gate));
            }
        }
        let summary = common::summary(&self.steps);
        let summary = serde_json::json!({ "summary": summary, "outcome": self.outcome });
        self.send(StepEvent { json: summary.to_string().into_bytes(), end: true, ..StepEvent::default() });
        *self.stream.lock().unwrap() = None;
    }
}

#[tonic::async_trait]
impl TraceControl for Server {
    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<BoxStream<StepEvent>>, Status> {
        let request = request.into_inner();
        let mode = match (request.single_step, request.gates.is_empty()) {
            (true, _) => Mode::Step,
            (false, false) => Mode::Continue,
            (false, true) => Mode::Run,
        };
        self.gates.lock().unwrap().clone_from(&request.gates);
        let subscriptions = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request);
            asked.len()
        };
        let (events, stream) = mpsc::unbounded_channel();
        *self.stream.lock().unwrap() = Some(events);
        if subscriptions > 1 && self.outcome == "region_error" {
            self.retry();
        } else {
            *self.next.lock().unwrap() = 0;
            self.go(mode);
        }
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }

    async fn r#continue(&self, request: Request<ContinueRequest>) -> Result<Response<ContinueReply>, Status> {
        let held = self.next.lock().unwrap().checked_sub(1).map(|i| self.steps[i].stage.clone());
        self.send(StepEvent { hold_stage: held.unwrap_or_default(), ..StepEvent::default() });
        self.go(request.into_inner().mode());
        Ok(Response::new(ContinueReply { released: true }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(StatusReply { store_id: 4, ..StatusReply::default() }))
    }

    async fn set_gates(&self, request: Request<GatesRequest>) -> Result<Response<GatesReply>, Status> {
        let request = request.into_inner();
        let mut gates = self.gates.lock().unwrap();
        gates.retain(|g| !request.remove.contains(g));
        gates.extend(request.add);
        Ok(Response::new(GatesReply { gates: gates.clone() }))
    }
}

/// The steps that a server sends: those of the request, without the client's.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = common::point_get().into_iter().filter(|s| s.kind != "client").collect();
    steps.iter_mut().enumerate().for_each(|(i, s)| s.step = i);
    steps
}

fn serve() -> (Runtime, SocketAddr, Server) {
    serve_ending(serde_json::Value::Null, &SecurityManager::default())
}

/// Starts a server on its own runtime. Dropping the runtime stops the server.
fn serve_ending(outcome: serde_json::Value, security: &SecurityManager) -> (Runtime, SocketAddr, Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = Server { steps: steps(), outcome, ..Server::default() };
    let service = TraceControlServer::new(server.clone());
    let incoming = runtime.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap() });
    let address = incoming.local_addr().unwrap();
    let mut builder = tonic::transport::Server::builder();
    if let Some(tls) = security.tonic_server().unwrap() {
        builder = builder.tls_config(tls).unwrap();
    }
    runtime.spawn(builder.add_service(service).serve_with_incoming(incoming));
    (runtime, address, server)
}

fn until(screen: &mut Screen, what: &str, done: impl Fn(&Screen) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(screen) {
        assert!(Instant::now() < deadline, "{what} did not come; log: {:#?}", screen.log());
        screen.poll();
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn attach(address: SocketAddr, wanted: RequestFilter, start: Start) -> Screen {
    let source = Attached::start(&address.to_string(), &SecurityManager::default(), wanted, start).unwrap();
    Screen::new(Box::new(source), Options::default())
}

#[test]
fn a_request_on_a_server_is_stepped_to_its_end() {
    let (_runtime, address, server) = serve();
    let wanted = RequestFilter { key: b"k1".to_vec(), region: 2, kind: "kv_get".into() };
    let mut screen = attach(address, wanted, Start { stacks: true, ..Start::default() });
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    let asked = server.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.key.as_slice(), asked.region_id, asked.request_type.as_str()),
        (&b"k1"[..], 2, "kv_get")
    );
    assert!(asked.single_step && asked.capture_stacks && asked.max_requests == 1);
    assert_eq!(screen.step().unwrap().stage, "grpc_receive");
    screen.act(Action::Next);
    until(&mut screen, "the second hold", |s| s.phase() == Phase::Held);
    assert_eq!((screen.step().unwrap().stage.as_str(), screen.timeline().holds().len()), ("grpc_decode", 1));
    screen.act(Action::Gate);
    assert!(screen.is_gated("grpc_decode"));
    screen.act(Action::Run);
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    assert_eq!(screen.timeline().steps(), steps());
    assert_eq!(*server.gates.lock().unwrap(), ["grpc_decode"]);
    assert_eq!(screen.timeline().ending().unwrap().summary, common::summary(&steps()));
}

#[test]
fn a_cancelled_request_is_reported() {
    let (_runtime, address, _server) = serve_ending("cancelled".into(), &SecurityManager::default());
    let mut screen = attach(address, RequestFilter::default(), Start::default());
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    screen.act(Action::Run);
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    let outcome = &screen.timeline().ending().unwrap().outcome;
    assert!(outcome.contains("cancelled by its client"), "{outcome}");
}

#[test]
fn the_end_of_a_failed_stream_does_not_end_the_next_stream() {
    let (_runtime, address, server) = serve_ending("region_error".into(), &SecurityManager::default());
    // Nothing is held: the end of the request and that of the stream arrive together.
    let mut screen = attach(address, RequestFilter::default(), Start { run: true, ..Start::default() });
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    assert_eq!(server.asked.lock().unwrap().len(), 2);
    assert_eq!(screen.timeline().ending().unwrap().outcome, "answered");
}

#[test]
fn an_own_operation_that_still_runs_ends_before_it_runs_again() {
    let (_runtime, address, _server) = serve();
    let answers = Arc::<Mutex<Vec<oneshot::Sender<String>>>>::default();
    let asked = answers.clone();
    let operation: Operation = Box::new(move || {
        let (answer, receiver) = oneshot::channel();
        asked.lock().unwrap().push(answer);
        receiver.into()
    });
    let (security, wanted) = (SecurityManager::default(), RequestFilter::default());
    let (address, title) = (address.to_string(), String::from("get k1"));
    let source =
        Attached::start_with(title, &address, &security, wanted, Start::default(), Some(operation)).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    screen.act(Action::Restart);
    until(&mut screen, "the steps to the end", |s| s.timeline().steps().len() == steps().len());
    let first = answers.lock().unwrap().remove(0);
    first.send("v1".into()).unwrap();
    until(&mut screen, "the second run", |_| answers.lock().unwrap().len() == 1);
}

#[test]
fn an_own_operation_runs_again_up_to_a_step() {
    let (_runtime, address, server) = serve();
    let answers = Arc::<Mutex<Vec<oneshot::Sender<String>>>>::default();
    let asked = answers.clone();
    let operation: Operation = Box::new(move || {
        let (answer, receiver) = oneshot::channel();
        asked.lock().unwrap().push(answer);
        receiver.into()
    });
    let (security, wanted) = (SecurityManager::default(), RequestFilter::default());
    let (address, title) = (address.to_string(), String::from("get k1"));
    let source =
        Attached::start_with(title, &address, &security, wanted, Start::default(), Some(operation)).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    screen.act(Action::Run);
    until(&mut screen, "the steps to the end", |s| s.timeline().steps().len() == steps().len());
    let first = answers.lock().unwrap().remove(0);
    first.send("v1".into()).unwrap();
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    let wanted = steps().iter().position(|step| step.stage == "lock_cf_get").unwrap();
    while screen.timeline().cursor() > wanted {
        screen.act(Action::Back);
    }
    screen.act(Action::RunToStep);
    until(&mut screen, "the hold in the second run", |s| s.phase() == Phase::Held);
    assert_eq!((screen.step().unwrap().stage.as_str(), screen.timeline().cursor()), ("lock_cf_get", wanted));
    let asked = server.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((asked.gates.as_slice(), asked.single_step), (&["lock_cf_get".to_owned()][..], false));
    until(&mut screen, "the removal of the gate", |_| server.gates.lock().unwrap().is_empty());
    assert!(screen.gates().is_empty(), "it is not a gate of the user");
}

#[test]
fn another_operation_of_this_program_follows_the_first() {
    let (_runtime, address, server) = serve();
    let answers = Arc::<Mutex<Vec<oneshot::Sender<String>>>>::default();
    let asked = answers.clone();
    let client: Client = Box::new(move |text| {
        let Some(key) = text.strip_prefix("get ") else { anyhow::bail!("expected get KEY, found `{text}`") };
        let asked = asked.clone();
        let operation: Operation = Box::new(move || {
            let (answer, receiver) = oneshot::channel();
            asked.lock().unwrap().push(answer);
            receiver.into()
        });
        let wanted = RequestFilter { key: key.as_bytes().to_vec(), ..RequestFilter::default() };
        Ok(OwnOperation { title: text.into(), wanted, operation })
    });
    let OwnOperation { title, wanted, operation } = client("get k1").unwrap();
    let (security, address) = (SecurityManager::default(), address.to_string());
    let source =
        Attached::start_with(title, &address, &security, wanted, Start::default(), Some(operation)).unwrap();
    let mut screen = Screen::new(Box::new(source.with_client(client)), Options::default());
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    assert!(typed_operation(&mut screen, "get k2").contains("r runs it to its end first"));
    screen.act(Action::Run);
    until(&mut screen, "the steps to the end", |s| s.timeline().steps().len() == steps().len());
    let first = answers.lock().unwrap().remove(0);
    first.send("v1".into()).unwrap();
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    assert!(typed_operation(&mut screen, "fetch k2").contains("found `fetch k2`"));
    assert_eq!(typed_operation(&mut screen, "get k2"), "");
    until(&mut screen, "the second operation", |s| s.timeline().operation() == "get k2");
    until(&mut screen, "its begin", |_| answers.lock().unwrap().len() == 1);
    assert_eq!(server.asked.lock().unwrap().last().unwrap().key, b"k2");
}

#[test]
fn the_clients_own_steps_surround_those_of_the_server() {
    let (_runtime, address, _server) = serve();
    let operation: Operation = Box::new(move || {
        let (answer, receiver) = oneshot::channel();
        let (stamped, steps) = mpsc::unbounded_channel();
        // All of them arrive before the first step of the server.
        for (step, stage) in ["client_send", "client_shard", "client_reply"].into_iter().enumerate() {
            let lane = "main".into();
            let own = Step { step, stage: stage.into(), kind: "client".into(), lane, ..Step::default() };
            stamped.send(own).unwrap();
        }
        answer.send("v1".into()).unwrap();
        Running { answer: receiver, steps }
    });
    let (security, wanted) = (SecurityManager::default(), RequestFilter::default());
    let (address, title) = (address.to_string(), String::from("get k1"));
    let start = Start { run: true, ..Start::default() };
    let source = Attached::start_with(title, &address, &security, wanted, start, Some(operation)).unwrap();
    let mut screen = Screen::new(Box::new(source), Options::default());
    until(&mut screen, "the end", |s| s.phase() == Phase::Finished);
    let stages: Vec<&str> = screen.timeline().steps().iter().map(|s| s.stage.as_str()).collect();
    let server = steps();
    let server = server.iter().map(|s| s.stage.as_str());
    let want: Vec<&str> =
        ["client_send", "client_shard"].into_iter().chain(server).chain(["client_reply"]).collect();
    assert_eq!(stages, want);
}

/// Types an operation; returns why it was refused.
fn typed_operation(screen: &mut Screen, text: &str) -> String {
    screen.act(Action::Operation);
    for code in text.chars().map(KeyCode::Char).chain([KeyCode::Enter]) {
        screen.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    match screen.overlay() {
        Overlay::Operation(typing) => typing.problem.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

#[test]
fn a_server_without_grpc_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Like a status server: HTTP/2 without gRPC.
    runtime.spawn(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = axum::Router::new().fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "none") });
        axum::serve(listener, router).await.unwrap();
    });
    let mut screen = attach(address, RequestFilter::default(), Start::default());
    until(&mut screen, "the failure", |s| s.phase() == Phase::Failed);
    let why = screen.failure().unwrap().to_owned();
    assert!(why.contains("no tikv-server answers") && why.contains("--status-addr"), "{why}");
    assert!(!screen.log().iter().any(|l| l.contains("waiting")), "{:?}", screen.log());
    assert!(
        screen.message().is_some_and(|m| why.starts_with(m)),
        "the message is the beginning of the failure"
    );
}

#[test]
fn a_lost_server_is_an_error_and_the_steps_stay() {
    let (runtime, address, _server) = serve();
    let mut screen = attach(address, RequestFilter::default(), Start::default());
    until(&mut screen, "the first hold", |s| s.phase() == Phase::Held);
    runtime.shutdown_background();
    until(&mut screen, "the failure", |s| s.phase() == Phase::Failed);
    let why = screen.failure().unwrap().to_owned();
    assert!(why.contains(&address.to_string()), "{why}");
    assert_eq!((screen.timeline().steps().len(), screen.timeline().holds().len()), (1, 0));
    screen.act(Action::Next);
    assert!(screen.message().is_some_and(|m| m.contains("see the log")));
}

#[test]
fn a_tls_server_is_stepped_only_with_certificates() {
    let path = |name: &str| std::path::absolute("../engine/security/tests/data").unwrap().join(name);
    let manager = |who: &str| {
        let (cert, key) = (path(&format!("{who}.pem")), path(&format!("{who}-key.pem")));
        SecurityManager::new(SecurityConfig::from_paths(Some(&path("ca.pem")), Some(&cert), Some(&key)))
            .unwrap()
    };
    let (_runtime, address, _server) = serve_ending(serde_json::Value::Null, &manager("server"));
    let steps = |security: &SecurityManager| {
        let start = Start { run: true, ..Start::default() };
        let mut source =
            Attached::start(&address.to_string(), security, RequestFilter::default(), start).unwrap();
        let mut out = Vec::new();
        print::run(&mut source, Format::Json, &mut out).map(|()| out.len())
    };
    assert!(steps(&manager("client")).unwrap() > 100);
    let refused = steps(&SecurityManager::default()).unwrap_err().to_string();
    assert!(refused.contains("give --ca-path"), "{refused}");
}

#[test]
fn attach_without_a_screen_prints_the_steps() {
    let (_runtime, address, _server) = serve();
    let start = Start { run: true, ..Start::default() };
    let mut source =
        Attached::start(&address.to_string(), &SecurityManager::default(), RequestFilter::default(), start)
            .unwrap();
    let mut out = Vec::new();
    print::run(&mut source, Format::Json, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        print::json_lines(&steps(), Some(&common::summary(&steps()))).unwrap()
    );
    assert!(source.next_operation().is_ok(), "it waits for the next request");
}
