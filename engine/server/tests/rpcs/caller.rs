//! Calls the store's RPCs in one of two ways: alone, or in a BatchCommands stream.
use kvproto::{
    kvrpcpb::{Context, Mutation, Op},
    tikvpb::{
        BatchCommandsRequest,
        batch_commands_request::{Request, request::Cmd},
        batch_commands_response::response::Cmd as Reply,
        tikv_client::TikvClient,
    },
};
use tonic::transport::Channel;

use crate::harness::Harness;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Unary,
    Batch,
}

/// Keys of the two ways differ, so that the cases can run twice on one store.
pub struct Caller<'a> {
    pub h: &'a Harness,
    pub way: Way,
    pub ctx: Context,
    pub client: TikvClient<Channel>,
}

impl<'a> Caller<'a> {
    pub fn new(h: &'a Harness, way: Way) -> Self {
        let (ctx, client) = h.leader();
        Self { h, way, ctx, client }
    }

    pub fn context(&self) -> Option<Context> {
        Some(self.ctx.clone())
    }

    /// A context that the store refuses with `EpochNotMatch`.
    pub fn stale_context(&self) -> Option<Context> {
        let mut ctx = self.ctx.clone();
        ctx.region_epoch.as_mut().unwrap().version += 7;
        Some(ctx)
    }

    pub fn key(&self, name: &str) -> Vec<u8> {
        format!("{:?}-{name}", self.way).into_bytes()
    }

    pub fn keys(&self, names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| self.key(name)).collect()
    }

    pub fn mutation(&self, op: Op, name: &str) -> Mutation {
        Mutation { op: op as i32, key: self.key(name), value: b"v".to_vec(), ..Default::default() }
    }

    /// Sends one command in a batch of its own.
    pub async fn batched(&self, cmd: Cmd) -> Reply {
        let batch = BatchCommandsRequest {
            requests: vec![Request { cmd: Some(cmd) }],
            request_ids: vec![7],
            ..Default::default()
        };
        // The stream must stay open for the answer.
        let stream = futures::StreamExt::chain(tokio_stream::once(batch), tokio_stream::pending());
        let mut replies = self.client.clone().batch_commands(stream).await.unwrap().into_inner();
        let mut reply = replies.message().await.unwrap().expect("an answer");
        assert_eq!(reply.request_ids, [7]);
        reply.responses.remove(0).cmd.expect("an answer")
    }
}

/// Returns whether an error field is empty.
pub fn is_blank<T: Default + PartialEq>(error: &T) -> bool {
    *error == T::default()
}

/// Returns the reply of one RPC, called in the caller's way.
#[macro_export]
macro_rules! call {
    ($caller:expr, $method:ident, $variant:ident, $request:expr) => {{
        let (caller, request) = ($caller, $request);
        caller.h.block_on(async {
            match caller.way {
                $crate::caller::Way::Unary => {
                    caller.client.clone().$method(request).await.unwrap().into_inner()
                }
                $crate::caller::Way::Batch => {
                    let cmd = kvproto::tikvpb::batch_commands_request::request::Cmd::$variant(request);
                    match caller.batched(cmd).await {
                        kvproto::tikvpb::batch_commands_response::response::Cmd::$variant(reply) => reply,
                        other => panic!("another command is answered: {other:?}"),
                    }
                }
            }
        })
    }};
    // This RPC cannot be in a batch.
    ($caller:expr, $method:ident, $request:expr) => {{
        let (caller, request) = ($caller, $request);
        caller.h.block_on(caller.client.clone().$method(request)).unwrap().into_inner()
    }};
}

/// Checks that a reply has no error.
#[macro_export]
macro_rules! fine {
    ($reply:expr) => {{
        let reply = $reply;
        assert!(reply.region_error.is_none(), "{reply:?}");
        assert!($crate::caller::is_blank(&reply.error), "{reply:?}");
        reply
    }};
}

/// Checks that a reply refuses the client's region epoch.
#[macro_export]
macro_rules! stale {
    ($reply:expr) => {{
        let error = $reply.region_error.expect("a region error");
        assert!(error.epoch_not_match.is_some(), "{error:?}");
    }};
}
