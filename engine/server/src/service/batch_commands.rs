//! `BatchCommands`: many commands over one stream; each runs by itself and is answered when it is done.
use futures::Stream;
use kvproto::tikvpb::{
    BatchCommandsEmptyRequest, BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse,
    batch_commands_request::request::Cmd as RequestCmd,
    batch_commands_response::{Response, response::Cmd as ResponseCmd},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tracepoints::label::labelled;

use super::{KvService, flashback};
use crate::{
    grpc::{Arrival, Ongoing},
    runtime,
};

/// One answered command; its request ends once the answer is packed.
pub struct Reply {
    id: u64,
    cmd: ResponseCmd,
    _ongoing: Option<Ongoing>,
}

/// Serves until the client ends the stream or goes away; commands that run then still run to their end.
pub fn serve(service: KvService, mut batches: Streaming<BatchCommandsRequest>) -> impl Stream<Item = Reply> {
    let (replies, received) = unbounded_channel();
    runtime::spawn(&Handle::current(), "batch-commands", async move {
        loop {
            let batch = tokio::select! {
                batch = batches.message() => batch,
                () = replies.closed() => return,
            };
            match batch {
                Ok(Some(batch)) => start(&service, batch, &replies),
                Ok(None) => return,
                Err(e) => return log::debug!("a BatchCommands stream ended: {}", e.message()),
            }
        }
    });
    UnboundedReceiverStream::new(received)
}

fn start(service: &KvService, batch: BatchCommandsRequest, replies: &UnboundedSender<Reply>) {
    let arrival = Arrival::now();
    for (id, request) in batch.request_ids.into_iter().zip(batch.requests) {
        let (service, replies) = (service.clone(), replies.clone());
        runtime::spawn(
            &Handle::current(),
            "batch-command",
            labelled(async move {
                let (cmd, ongoing) = run(&service, request.cmd, arrival).await;
                // Nobody listens any more: the client has gone.
                let _ = replies.send(Reply { id, cmd, _ongoing: ongoing });
            }),
        );
    }
}

/// Puts answers that are ready at the same time into one message.
pub fn pack(replies: Vec<Reply>) -> BatchCommandsResponse {
    let mut out = BatchCommandsResponse::default();
    for reply in replies {
        out.request_ids.push(reply.id);
        out.responses.push(Response { cmd: Some(reply.cmd) });
    }
    out
}

macro_rules! dispatch {
    ($service:expr, $cmd:expr, $arrival:expr, $($variant:ident)*) => {
        match $cmd {
            $(Some(RequestCmd::$variant(command)) => {
                let (reply, ongoing) = $service.serve(command, $arrival).await;
                (ResponseCmd::$variant(reply), Some(ongoing))
            })*
            Some(RequestCmd::PrepareFlashbackToVersion(command)) => {
                let reply = flashback::kv_prepare(&$service.storage, command).await;
                (ResponseCmd::PrepareFlashbackToVersion(reply), None)
            }
            Some(RequestCmd::FlashbackToVersion(command)) => {
                let reply = flashback::kv_finish(&$service.storage, command).await;
                (ResponseCmd::FlashbackToVersion(reply), None)
            }
            Some(RequestCmd::Empty(command)) => (ResponseCmd::Empty(empty(command).await), None),
            // TiKV answers an unknown command with an empty response, so that the client's wait ends.
            _ => (ResponseCmd::Empty(BatchCommandsEmptyResponse::default()), None),
        }
    };
}

async fn run(
    service: &KvService,
    cmd: Option<RequestCmd>,
    arrival: Arrival,
) -> (ResponseCmd, Option<Ongoing>) {
    dispatch!(
        service, cmd, arrival,
        Get Scan Prewrite Commit Cleanup BatchGet BatchRollback ScanLock ResolveLock PessimisticLock
        PessimisticRollback CheckTxnStatus TxnHeartBeat CheckSecondaryLocks
        RawGet RawBatchGet RawPut RawBatchPut RawDelete RawBatchDelete RawScan RawDeleteRange
    )
}

async fn empty(command: BatchCommandsEmptyRequest) -> BatchCommandsEmptyResponse {
    tokio::time::sleep(std::time::Duration::from_millis(command.delay_time.min(10_000))).await;
    BatchCommandsEmptyResponse { test_id: command.test_id }
}
