//! `BatchCommands`: many commands over one stream; each runs by itself and is answered when it is done.
use futures::Stream;
use kvproto::{
    kvrpcpb::Context,
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
use tracepoints::label::labelled;

use super::{KvService, unserved};
use crate::{
    grpc::{Arrival, Ongoing},
    runtime,
};

/// One answered command; its request ends once the answer is packed.
pub struct Reply {
    id: u64,
    /// None: the request was empty.
    cmd: Option<ResponseCmd>,
    _ongoing: Option<Ongoing>,
}

/// A reply, or why the stream ends.
pub type Answer = Result<Reply, Status>;

/// Serves until the client ends the stream or goes away; commands that run then still run to their end.
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
                log::warn!("a BatchCommands stream is ended: {}", e.message());
                // The client may have gone.
                let _ = replies.send(Err(e));
                return;
            }
        }
    });
    UnboundedReceiverStream::new(received)
}

/// Starts the commands of a batch, each with the id at its place; what has none is left out, as in TiKV.
///
/// # Errors
/// A command of another cluster ends the stream; those before it run.
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
                let answer = run(&service, request.cmd, arrival).await;
                let reply = answer.map(|(cmd, ongoing)| Reply { id, cmd, _ongoing: ongoing });
                // Nobody listens any more: the client has gone.
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

/// Answers that are ready at the same time in one message; after an error the stream ends.
pub fn pack(answers: Vec<Answer>) -> Vec<Result<BatchCommandsResponse, Status>> {
    let mut out = BatchCommandsResponse::default();
    let mut ends = None;
    for answer in answers {
        match answer {
            Ok(reply) => {
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

/// The commands of a batch: those that the store serves, and those that it does not.
macro_rules! dispatch {
    (serves $($variant:ident)*; refuses $($refused:ident)*) => {
        fn context(cmd: &RequestCmd) -> Option<&Context> {
            match cmd {
                $(RequestCmd::$variant(command) => command.context.as_ref(),)*
                $(RequestCmd::$refused(command) => command.context.as_ref(),)*
                RequestCmd::Import(_) | RequestCmd::Empty(_) => None,
            }
        }

        async fn run(
            service: &KvService,
            cmd: Option<RequestCmd>,
            arrival: Arrival,
        ) -> Result<(Option<ResponseCmd>, Option<Ongoing>), Status> {
            Ok(match cmd {
                $(Some(RequestCmd::$variant(command)) => {
                    let (reply, ongoing) = service.serve(command, arrival).await;
                    (Some(ResponseCmd::$variant(reply)), Some(ongoing))
                })*
                $(Some(cmd @ RequestCmd::$refused(_)) => (Some(unserved::reply(&cmd)?), None),)*
                Some(cmd @ RequestCmd::Import(_)) => (Some(unserved::reply(&cmd)?), None),
                Some(RequestCmd::Empty(command)) => (Some(ResponseCmd::Empty(empty(command).await)), None),
                None => (None, None),
            })
        }
    };
}

dispatch! {
    serves Get Scan Prewrite Commit Cleanup BatchGet BatchRollback ScanLock ResolveLock PessimisticLock
    PessimisticRollback CheckTxnStatus TxnHeartBeat CheckSecondaryLocks DeleteRange
    PrepareFlashbackToVersion FlashbackToVersion
    RawGet RawBatchGet RawPut RawBatchPut RawDelete RawBatchDelete RawScan RawDeleteRange RawBatchScan;
    refuses Coprocessor RawCoprocessor Gc Flush BufferBatchGet GetHealthFeedback BroadcastTxnStatus
}

async fn empty(command: BatchCommandsEmptyRequest) -> BatchCommandsEmptyResponse {
    tokio::time::sleep(std::time::Duration::from_millis(command.delay_time.min(10_000))).await;
    BatchCommandsEmptyResponse { test_id: command.test_id }
}
