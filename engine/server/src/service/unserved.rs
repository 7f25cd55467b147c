//! RPCs that this store does not serve: the same error for a unary call and for a command in a batch.
use kvproto::{
    coprocessor,
    kvrpcpb::{Context, GcResponse, ImportResponse, KeyError},
    tikvpb::{batch_commands_request::request::Cmd as RequestCmd, batch_commands_response::response::Cmd},
};
use tonic::Status;

use super::table::for_each_unserved_rpc;

fn error_text(rpc: &str) -> String {
    format!("this store does not serve {rpc}")
}

/// Returns the answer to a unary call of `rpc`.
pub fn status(rpc: &str) -> Status {
    Status::unimplemented(error_text(rpc))
}

fn key_error(text: String) -> KeyError {
    KeyError { abort: text, ..KeyError::default() }
}

macro_rules! unserved {
    ($(
        $method:ident: $request:ty => $reply:ty, $rpc:literal, batch($variant:ident, |$r:ident| $context:expr),
        |$text:ident| $error:expr;
    )*) => {
        /// Returns the answer in a batch: in the reply's own error field.
        ///
        /// # Errors
        /// A command that the store serves.
        pub fn reply(cmd: &RequestCmd) -> Result<Cmd, Status> {
            match cmd {
                $(RequestCmd::$variant(_) => {
                    let $text = error_text($rpc);
                    Ok(Cmd::$variant($error))
                })*
                _ => Err(Status::internal("expected a command that the store does not serve")),
            }
        }

        /// Returns the context of a command that the store does not serve.
        pub fn context(cmd: &RequestCmd) -> Option<&Context> {
            match cmd {
                $(RequestCmd::$variant($r) => $context,)*
                _ => None,
            }
        }
    };
}

for_each_unserved_rpc!(unserved);
