//! `tracecontrol.TraceControl`: steps the requests of a running server from another process.
//!
//! A subscription is a [`tracepoints::Session`] that the thread `trace-control` runs: a held
//! engine thread can never hold the stepper. The end of the stream, for any reason, ends the
//! session and releases all held requests.
mod freeze;
mod keep;
mod pump;
mod record;
mod updates;

use std::sync::Arc;

use futures::StreamExt;
use kvproto::tracecontrol::{
    ContinueReply, ContinueRequest, FreezeReply, FreezeRequest, GatesReply, GatesRequest, InFlightReply,
    InFlightRequest, KeepReply, KeepRequest, KeptRequest, RecordChunk, RecordRequest, StatusReply,
    StatusRequest, StepEvent, SubscribeRequest, continue_request::Mode as ContinueMode,
    trace_control_server::TraceControl,
};
use raftstore::{RaftRouter, store::LocalReader};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, codegen::BoxStream};
use tracepoints::{
    EngineClock, Gate, RequestKind, Session, SessionConfig, clock,
    gates::Names,
    probe::LockTables,
    session::{Matcher, Mode},
};

pub use freeze::{PeerFreezer, Peers};

use self::pump::LIVE;
use crate::lock_manager::LockManager;

/// The control service of one store.
#[derive(Clone)]
pub struct ControlService {
    store_id: u64,
    router: RaftRouter,
    freezer: Arc<PeerFreezer>,
    reader: LocalReader,
    lock_mgr: Arc<LockManager>,
}

impl ControlService {
    /// `router` has the store's regions; `freezer` stops engine time in the cluster's other processes while a
    /// request is held here. `reader` and `lock_mgr` have the lock tables that a client may look at.
    pub fn new(
        store_id: u64,
        router: RaftRouter,
        freezer: PeerFreezer,
        reader: LocalReader,
        lock_mgr: Arc<LockManager>,
    ) -> Self {
        Self { store_id, router, freezer: Arc::new(freezer), reader, lock_mgr }
    }

    fn lock_tables(&self) -> LockTables {
        LockTables {
            memory_locks: self.reader.memory_locks(),
            wait_graph: self.lock_mgr.wait_graph(self.store_id),
        }
    }

    /// Refuses a region without a peer on this store: no request would ever match.
    #[allow(clippy::result_large_err)] // it is the RPC's answer
    fn check_region(&self, region: u64) -> Result<(), Status> {
        let ids = self.router.region_ids();
        if region == 0 || ids.contains(&region) {
            return Ok(());
        }
        let some: Vec<String> = ids.iter().take(SHOWN_REGIONS).map(u64::to_string).collect();
        let more = if ids.len() > SHOWN_REGIONS { ", ..." } else { "" };
        Err(Status::not_found(format!(
            "expected a region with a peer on store {}, found {region}; its regions are {}{more}",
            self.store_id,
            some.join(", "),
        )))
    }
}

/// Maximum number of regions that an error names.
const SHOWN_REGIONS: usize = 8;

fn live() -> Result<Arc<Session>, Status> {
    let none = || Status::failed_precondition("no client steps requests here; call Subscribe first");
    LIVE.lock().clone().ok_or_else(none)
}

fn session_config(request: &SubscribeRequest) -> Result<SessionConfig, Status> {
    let kinds = request.request_type.split(',').map(str::trim).filter(|k| !k.is_empty()).map(|name| {
        RequestKind::parse(name).ok_or_else(|| {
            Status::invalid_argument(format!(
                "expected a request type such as kv_get or raw_put, found {name:?}"
            ))
        })
    });
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    let key = (!request.key.is_empty()).then(|| request.key.clone());
    let region = (request.region_id != 0).then_some(request.region_id);
    let any = key.is_none() && region.is_none() && kinds.is_empty();
    let gates = gates(&request.gates)?;
    let mode = match (request.single_step, gates.is_empty()) {
        (true, _) => Mode::Step,
        (false, false) => Mode::ToGate,
        (false, true) => Mode::Run,
    };
    Ok(SessionConfig {
        matcher: Matcher { key, region, kinds, any },
        mode,
        gates,
        stacks: request.capture_stacks,
        max_requests: request.max_requests,
        ..SessionConfig::default()
    })
}

fn session_mode(mode: ContinueMode) -> Mode {
    match mode {
        ContinueMode::Step => Mode::Step,
        ContinueMode::Into => Mode::Into,
        ContinueMode::Continue => Mode::ToGate,
        ContinueMode::Run => Mode::Run,
    }
}

/// Parses gates: this program has the stamps, so it knows their fields and lines.
fn gates(texts: &[String]) -> Result<Vec<Gate>, Status> {
    let parse = |text: &String| Gate::parse(text, &Names::default());
    texts.iter().map(parse).collect::<Result<_, _>>().map_err(|e| Status::invalid_argument(e.to_string()))
}

/// Parses the gate that holds once, if the request names one.
fn run_to(request: &ContinueRequest) -> Result<Option<Gate>, Status> {
    let (text, mode) = (&request.run_to, request.mode());
    match (text.is_empty(), mode) {
        (true, _) => Ok(None),
        (false, ContinueMode::Continue) => Ok(gates(std::slice::from_ref(text))?.pop()),
        (false, _) => Err(Status::invalid_argument(format!(
            "expected mode CONTINUE with run_to, found {}: change the mode, or leave run_to out",
            mode.as_str_name()
        ))),
    }
}

/// Refuses the removal of a gate that is not set, before any gate changes.
fn check_set(texts: &[String], session: &Session) -> Result<(), Status> {
    let set = session.gates();
    let Some(unknown) = texts.iter().find(|text| !set.iter().any(|state| state.gate.text() == *text)) else {
        return Ok(());
    };
    let set: Vec<&str> = set.iter().map(|state| state.gate.text()).collect();
    let known = if set.is_empty() {
        "no gate is set".into()
    } else {
        format!("these gates are set: {}", set.join(", "))
    };
    Err(Status::invalid_argument(format!(
        "expected the text of a gate that is set, found {unknown:?}; {known}"
    )))
}

#[tonic::async_trait]
impl TraceControl for ControlService {
    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<BoxStream<StepEvent>>, Status> {
        let request = request.into_inner();
        let config = session_config(&request)?;
        self.check_region(request.region_id)?;
        let mut slot = LIVE.lock();
        let session = Session::start(config).map_err(|e| Status::resource_exhausted(e.to_string()))?;
        let session = Arc::new(session);
        let (events, stream) = tokio::sync::mpsc::unbounded_channel();
        let ends = pump::Ends { max_requests: request.max_requests, stacks: request.capture_stacks };
        pump::spawn(session.clone(), events, ends, self.freezer.clone(), self.store_id).map_err(|e| {
            Status::internal(format!(
                "cannot start the thread trace-control: {e}; the process is out of threads"
            ))
        })?;
        *slot = Some(session);
        Ok(Response::new(UnboundedReceiverStream::new(stream).boxed()))
    }

    async fn set_gates(&self, request: Request<GatesRequest>) -> Result<Response<GatesReply>, Status> {
        let request = request.into_inner();
        let (session, add) = (live()?, gates(&request.add)?);
        check_set(&request.remove, &session)?;
        for text in &request.remove {
            session.remove_gate(text);
        }
        for gate in add {
            session.set_gate(gate);
        }
        let gates = session.gates().into_iter().map(|state| state.gate.text().to_owned()).collect();
        Ok(Response::new(GatesReply { gates }))
    }

    async fn r#continue(&self, request: Request<ContinueRequest>) -> Result<Response<ContinueReply>, Status> {
        let (session, request) = (live()?, request.into_inner());
        if let Some(gate) = run_to(&request)? {
            session.set_gate_once(gate);
        }
        let mode = session_mode(request.mode());
        let released = match request.hold_id {
            0 => session.resume(mode),
            id => session.release(id, mode),
        };
        Ok(Response::new(ContinueReply { released }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let session = LIVE.lock().clone();
        let held = session.as_ref().and_then(|s| s.held().into_iter().next());
        Ok(Response::new(StatusReply {
            frozen_ns: clock::now_ns().saturating_sub(EngineClock::now().0),
            held: held.is_some(),
            hold_stage: held.map_or_else(String::new, |h| h.stage.name().to_owned()),
            dropped: tracepoints::ring::dropped(),
            store_id: self.store_id,
            peers: self.freezer.addresses().await,
            // The time at which the process began, and its number: two processes differ in one of them.
            process: clock::unix_base_ns() ^ u64::from(std::process::id()),
            adopted: session.map_or(0, |s| s.adopted()),
        }))
    }

    async fn freeze(&self, request: Request<FreezeRequest>) -> Result<Response<FreezeReply>, Status> {
        let FreezeRequest { frozen, owner } = request.into_inner();
        if owner.is_empty() {
            return Err(Status::invalid_argument(
                "owner is empty; give the name of the freezing process, e.g. HOST:PID",
            ));
        }
        freeze::set(&owner, frozen);
        Ok(Response::new(FreezeReply { engine_ns: EngineClock::now().0 }))
    }

    async fn record(
        &self,
        request: Request<RecordRequest>,
    ) -> Result<Response<BoxStream<RecordChunk>>, Status> {
        let seconds = request.into_inner().seconds;
        if !(1..=record::MAX_SECONDS).contains(&seconds) {
            let expected = format!("expected 1 to {} seconds, found {seconds}", record::MAX_SECONDS);
            return Err(Status::invalid_argument(expected));
        }
        let (chunks, stream) = tokio::sync::mpsc::channel(4);
        record::spawn(seconds, chunks)
            .map_err(|e| Status::internal(format!("cannot start the thread trace-record: {e}")))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn in_flight(&self, request: Request<InFlightRequest>) -> Result<Response<InFlightReply>, Status> {
        keep::in_flight(self.store_id, request.into_inner(), &self.lock_tables()).map(Response::new)
    }

    async fn keep(&self, request: Request<KeepRequest>) -> Result<Response<KeepReply>, Status> {
        keep::keep(request.into_inner()).map(|()| Response::new(KeepReply {}))
    }

    async fn kept(&self, request: Request<KeptRequest>) -> Result<Response<BoxStream<RecordChunk>>, Status> {
        let (chunks, stream) = tokio::sync::mpsc::channel(4);
        keep::kept(&request.into_inner(), chunks)?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_continue_runs_to_a_gate() {
        let request = |mode: ContinueMode, run_to: &str| ContinueRequest {
            mode: mode.into(),
            run_to: run_to.into(),
            ..ContinueRequest::default()
        };
        let gate = run_to(&request(ContinueMode::Continue, "raw_get#2")).unwrap();
        assert_eq!(gate.unwrap().text(), "raw_get#2");
        assert_eq!(run_to(&request(ContinueMode::Step, "")).unwrap(), None);
        for mode in [ContinueMode::Step, ContinueMode::Into, ContinueMode::Run] {
            let refused = run_to(&request(mode, "raw_get")).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().contains(mode.as_str_name()), "{refused}");
        }
    }
}
