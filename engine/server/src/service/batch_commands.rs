//! `BatchCommands`: many commands over one stream. Each runs by itself and is answered when it is done.
use futures::Stream;
use kvproto::{
    kvrpcpb::{Context, ExecDetailsV2},
    tikvpb::{
        BatchCommandsEmptyRequest, BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse,
        batch_commands_request::request::Cmd as RequestCmd,
        batch_commands_response::{Response, response::Cmd as ResponseCmd},
    },
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};
use tracepoints::{EngineClock, clock::EngineInstant, label::labelled};

use super::{kv_service::KvService, table::for_each_rpc, unserved};
use crate::{
    grpc::{Arrival, RequestGuard},
    runtime,
};

/// A reply to one command. Its request ends once the reply is packed.
pub struct Reply {
    id: u64,
    /// None: the request was empty.
    cmd: Option<ResponseCmd>,
    times: ReplyTimes,
    _guard: Option<RequestGuard>,
}

/// Times of a reply on its way to the client.
#[derive(Clone, Copy)]
struct ReplyTimes {
    arrival: Arrival,
    ready: EngineInstant,
}

impl ReplyTimes {
    /// Adds the wait for a place in a message to the details of the reply. TiKV: `MeasuredBatchResponse::consume`.
    fn record(self, cmd: &mut ResponseCmd) {
        let Some(details) = details_of(cmd) else { return };
        let now = EngineClock::now();
        let total = now.saturating_since(self.arrival.at).as_nanos() as u64;
        if let Some(time) = &mut details.time_detail {
            time.total_rpc_wall_time_ns = total;
        }
        if let Some(time) = &mut details.time_detail_v2 {
            time.total_rpc_wall_time_ns = total;
            time.kv_grpc_wait_time_ns = now.saturating_since(self.ready).as_nanos() as u64;
        }
    }
}

/// Returns the details of the replies for which TiKV records the wait.
fn details_of(cmd: &mut ResponseCmd) -> Option<&mut ExecDetailsV2> {
    match cmd {
        ResponseCmd::Get(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::BatchGet(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::Prewrite(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::Commit(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::ResolveLock(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::PessimisticLock(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::CheckTxnStatus(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::CheckSecondaryLocks(reply) => reply.exec_details_v2.as_mut(),
        ResponseCmd::TxnHeartBeat(reply) => reply.exec_details_v2.as_mut(),
        _ => None,
    }
}

/// A reply, or the status that ends the stream.
pub type Answer = Result<Reply, Status>;

/// Serves until the client ends the stream or goes away. Commands that run at that time still finish; only the wait
/// for a pessimistic lock ends when the client goes away.
pub fn serve(service: KvService, mut batches: Streaming<BatchCommandsRequest>) -> impl Stream<Item = Answer> {
    let (replies, received) = unbounded_channel();
    runtime::spawn(&Handle::current(), "batch-commands", async move {
        loop {
            let batch = tokio::select! {
                batch = batches.message() => batch,
                () = replies.closed() => return,
            };
            let started = match batch {
                Ok(Some(batch)) => start(&service, batch, &replies),
                Ok(None) => return,
                Err(e) => return log::debug!("a BatchCommands stream ended: {}", e.message()),
            };
            if let Err(e) = started {
                log::warn!("ending a BatchCommands stream: {}", e.message());
                // The client may have gone.
                let _ = replies.send(Err(e));
                return;
            }
        }
    });
    UnboundedReceiverStream::new(received)
}

/// Starts the commands of a batch, each with the id at its place. A command
/// without an id is skipped, as in TiKV.
///
/// # Errors
/// A command of another cluster ends the stream; earlier commands still run.
fn start(
    service: &KvService,
    batch: BatchCommandsRequest,
    replies: &UnboundedSender<Answer>,
) -> Result<(), Status> {
    let arrival = Arrival::now();
    for (id, request) in batch.request_ids.into_iter().zip(batch.requests) {
        check_cluster(service.cluster_id, request.cmd.as_ref())?;
        let (service, replies) = (service.clone(), replies.clone());
        runtime::spawn(
            &Handle::current(),
            "batch-command",
            labelled(async move {
                // Only a pessimistic lock may wait for another client; nothing waits for a client that has gone.
                let may_wait = matches!(request.cmd, Some(RequestCmd::PessimisticLock(_)));
                let answer = tokio::select! {
                    answer = run(&service, request.cmd, arrival) => answer,
                    () = replies.closed(), if may_wait => return,
                };
                let times = ReplyTimes { arrival, ready: EngineClock::now() };
                let reply = answer.map(|(cmd, guard)| Reply { id, cmd, times, _guard: guard });
                // No receiver: the client has gone.
                let _ = replies.send(reply);
            }),
        );
    }
    Ok(())
}

/// TiKV: `Error::ClusterIDMisMatch`.
fn check_cluster(own: u64, cmd: Option<&RequestCmd>) -> Result<(), Status> {
    let cluster_id = cmd.and_then(context).map_or(0, |context| context.cluster_id);
    if cluster_id == 0 || cluster_id == own {
        return Ok(());
    }
    let text = format!("cluster of request={cluster_id} does not match TiKV cluster id={own}");
    Err(Status::invalid_argument(text))
}

/// Packs replies that are ready at the same time into one message. After an error the stream ends.
pub fn pack(answers: Vec<Answer>) -> Vec<Result<BatchCommandsResponse, Status>> {
    let mut out = BatchCommandsResponse::default();
    let mut ends = None;
    for answer in answers {
        match answer {
            Ok(mut reply) => {
                if let Some(cmd) = &mut reply.cmd {
                    reply.times.record(cmd);
                }
                out.request_ids.push(reply.id);
                out.responses.push(Response { cmd: reply.cmd });
            }
            Err(e) => {
                ends = Some(e);
                break;
            }
        }
    }
    let packed = (!out.request_ids.is_empty()).then_some(Ok(out));
    packed.into_iter().chain(ends.map(Err)).collect()
}

macro_rules! run_command {
    ($(
        $method:ident: $request:ident => $reply:ident, $kind:ident, batch($($variant:ident)?),
        |$r:ident| $key:expr, |$a:ident| $outcome:expr, $run:path;
    )*) => {
        /// Runs a command that the store serves; returns any other.
        async fn run_served(
            service: &KvService,
            cmd: RequestCmd,
            arrival: Arrival,
        ) -> Result<(ResponseCmd, RequestGuard), RequestCmd> {
            match cmd {
                $($(RequestCmd::$variant(command) => {
                    let (reply, guard) = service.serve(command, arrival).await;
                    Ok((ResponseCmd::$variant(reply), guard))
                })?)*
                other => Err(other),
            }
        }

        /// The context of a command that the store serves.
        fn served_context(cmd: &RequestCmd) -> Option<&Context> {
            match cmd {
                $($(RequestCmd::$variant(command) => command.context.as_ref(),)?)*
                _ => None,
            }
        }
    };
}

for_each_rpc!(run_command);

fn context(cmd: &RequestCmd) -> Option<&Context> {
    served_context(cmd).or_else(|| unserved::context(cmd))
}

async fn run(
    service: &KvService,
    cmd: Option<RequestCmd>,
    arrival: Arrival,
) -> Result<(Option<ResponseCmd>, Option<RequestGuard>), Status> {
    let Some(cmd) = cmd else { return Ok((None, None)) };
    if let RequestCmd::Empty(command) = cmd {
        return Ok((Some(ResponseCmd::Empty(empty(command).await)), None));
    }
    match run_served(service, cmd, arrival).await {
        Ok((reply, guard)) => Ok((Some(reply), Some(guard))),
        Err(cmd) => Ok((Some(unserved::reply(&cmd)?), None)),
    }
}

async fn empty(command: BatchCommandsEmptyRequest) -> BatchCommandsEmptyResponse {
    tokio::time::sleep(std::time::Duration::from_millis(command.delay_time.min(10_000))).await;
    BatchCommandsEmptyResponse { test_id: command.test_id }
}
