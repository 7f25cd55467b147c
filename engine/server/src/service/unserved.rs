//! Commands that TiKV serves and this store does not: the same error for a call of its own and for one in a batch.
use kvproto::{
    coprocessor,
    kvrpcpb::{
        BufferBatchGetResponse, FlushResponse, GcResponse, ImportResponse, KeyError, RawCoprocessorResponse,
    },
    tikvpb::{batch_commands_request::request::Cmd as RequestCmd, batch_commands_response::response::Cmd},
};
use tonic::Status;

fn text(rpc: &str) -> String {
    format!("this store does not serve {rpc}")
}

/// The answer to a call of its own.
pub fn status(rpc: &str) -> Status {
    Status::unimplemented(text(rpc))
}

fn key_error(rpc: &str) -> KeyError {
    KeyError { abort: text(rpc), ..KeyError::default() }
}

/// The answer in a batch: in the reply's own error field.
///
/// # Errors
/// The status of the whole stream for a command whose reply has no such field, and for one that the store serves.
pub fn reply(cmd: &RequestCmd) -> Result<Cmd, Status> {
    Ok(match cmd {
        RequestCmd::Coprocessor(_) => {
            let other_error = text("Coprocessor");
            Cmd::Coprocessor(coprocessor::Response { other_error, ..Default::default() })
        }
        RequestCmd::RawCoprocessor(_) => {
            let error = text("RawCoprocessor");
            Cmd::RawCoprocessor(RawCoprocessorResponse { error, ..Default::default() })
        }
        RequestCmd::Gc(_) => Cmd::Gc(GcResponse { error: Some(key_error("KvGC")), ..Default::default() }),
        RequestCmd::Import(_) => {
            Cmd::Import(ImportResponse { error: text("KvImport"), ..Default::default() })
        }
        RequestCmd::Flush(_) => {
            Cmd::Flush(FlushResponse { errors: vec![key_error("KvFlush")], ..Default::default() })
        }
        RequestCmd::BufferBatchGet(_) => {
            let error = Some(key_error("KvBufferBatchGet"));
            Cmd::BufferBatchGet(BufferBatchGetResponse { error, ..Default::default() })
        }
        RequestCmd::GetHealthFeedback(_) => return Err(status("GetHealthFeedback")),
        RequestCmd::BroadcastTxnStatus(_) => return Err(status("BroadcastTxnStatus")),
        _ => return Err(Status::internal("expected a command that the store does not serve")),
    })
}
