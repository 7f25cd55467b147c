//! The key-value service of one store: runs a command from its arrival to its reply.
use kvproto::{kvrpcpb::Context, raft_serverpb};
use tonic::{Request, Response, Status};
use tracepoints::{Ending, Outcome, ending::Wait, request, step, step_facts};

use super::{
    call::Call,
    command::{Command, Parts},
    describe,
    outcome::HasOutcome,
};
use crate::{
    grpc::{Arrival, RequestGuard, within},
    metrics::Metrics,
    snap::SnapReceiver,
};

/// The key-value service of one store.
#[derive(Clone)]
pub struct KvService {
    pub(super) cluster_id: u64,
    pub(super) store_id: u64,
    pub(super) router: raftstore::RaftRouter,
    pub(super) snapshots: SnapReceiver,
    pub(super) metrics: Metrics,
    pub(super) parts: Parts,
}

impl KvService {
    /// Creates the service of a store.
    pub fn new(
        cluster_id: u64,
        store_id: u64,
        router: raftstore::RaftRouter,
        snapshots: SnapReceiver,
        metrics: Metrics,
        parts: Parts,
    ) -> Self {
        Self { cluster_id, store_id, router, snapshots, metrics, parts }
    }

    /// Runs one command from its arrival to its reply. The request ends when the
    /// returned [`RequestGuard`] is dropped.
    pub(super) async fn serve<C: Command>(&self, command: C, arrival: Arrival) -> (C::Reply, RequestGuard) {
        let region = command.context().map_or(0, |c| c.region_id);
        let req = request::begin(C::KIND, command.first_key(), region);
        let source = command.context().map_or_else(String::new, |c| c.request_source.clone());
        let guard = RequestGuard::new(req, ending_of(command.context()), arrival.deadline);
        // Before the first gate: the time that a person holds the request is not its own.
        let wait_ns = arrival.elapsed_ns();
        step_facts!(GRPC_RECEIVE, req, describe::request(C::RPC, C::NAME, &command), region = region);
        step!(GRPC_DECODE, req, region = region, wait_ns = wait_ns);
        let reply = command.execute(&self.parts, Call::new(req, arrival)).await;
        let ended = reply.reply_outcome();
        guard.answered(ended.outcome);
        self.metrics.sources().record(&source, arrival.at.elapsed());
        if ended.lock_ts != 0 {
            request::waits(req, Wait::Lock { lock_ts: ended.lock_ts });
        }
        let outcome = ended.outcome as u64;
        step_facts!(
            GRPC_REPLY,
            req,
            describe::answer(C::Reply::NAME, &reply),
            region = region,
            outcome = outcome
        );
        (reply, guard)
    }

    /// Answers a unary call: [`KvService::serve`] within its deadline.
    pub(super) async fn unary<C: Command>(&self, request: Request<C>) -> Result<Response<C::Reply>, Status> {
        let arrival = Arrival::from_request(&request);
        self.check_cluster(request.get_ref().context())?;
        let (reply, guard) = within(arrival.deadline, self.serve(request.into_inner(), arrival)).await?;
        let mut response = Response::new(reply);
        response.extensions_mut().insert(guard);
        Ok(response)
    }

    /// Refuses a client of another cluster, which would read and write foreign data. TiKV:
    /// `reject_if_cluster_id_mismatch`.
    fn check_cluster(&self, context: Option<&Context>) -> Result<(), Status> {
        let cluster_id = context.map_or(0, |context| context.cluster_id);
        if cluster_id == 0 || cluster_id == self.cluster_id {
            return Ok(());
        }
        log::warn!("refused a request of cluster {cluster_id}; this is cluster {}", self.cluster_id);
        Err(Status::invalid_argument("the cluster id of the request does not match the TiKV cluster"))
    }

    /// Routes a message from another store to its peer.
    ///
    /// # Errors
    /// The message is for another store.
    pub(super) fn on_raft_message(&self, message: raft_serverpb::RaftMessage) -> Result<(), Status> {
        let to = message.to_peer.as_ref().map_or(0, |p| p.store_id);
        if to != self.store_id {
            let text = format!(
                "this is store {}, the message is for store {to}; ask PD for its address",
                self.store_id
            );
            return Err(Status::invalid_argument(text));
        }
        // A message to an unknown region or a full mailbox is lost; Raft sends again.
        if let Err(e) = self.router.send_raft_message(message) {
            log::debug!("dropped a Raft message: {e}");
        }
        Ok(())
    }
}

/// Returns the part of the request's end that the client's context determines.
fn ending_of(context: Option<&Context>) -> Ending {
    let Some(context) = context else { return Ending::default() };
    let mut trace_id = [0; 16];
    let n = context.trace_id.len().min(16);
    trace_id[..n].copy_from_slice(&context.trace_id[..n]);
    let asked = n > 0 || context.trace_context.is_some();
    Ending { outcome: Outcome::Unknown, asked, limit_ms: context.max_execution_duration_ms, trace_id }
}
