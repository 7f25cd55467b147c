//! The RPCs of `tikvpb.Tikv`, for clients and other stores (TiKV `src/server/service/kv.rs`).
use std::{future::Future, pin::Pin};

use futures::{StreamExt, stream};
use kvproto::{coprocessor, kvrpcpb::*, raft_serverpb, tikvpb, tikvpb::tikv_server::Tikv};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{
    batch_commands,
    health_feedback::HealthFeedbackAttacher,
    kv_service::KvService,
    table::{for_each_rpc, for_each_unserved_rpc},
    unserved,
};

/// Maximum number of replies in one BatchCommandsResponse.
const BATCH_RESPONSES: usize = 128;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

/// The methods of the service that execute a [`Command`].
macro_rules! unary {
    ($(
        $method:ident: $request:ident => $reply:ident, $kind:ident, batch($($variant:ident)?),
        |$r:ident| $key:expr, |$a:ident| $outcome:expr, $run:path;
    )*) => {$(
        fn $method<'a, 's>(&'a self, request: Request<$request>) -> Answer<'s, $reply>
        where
            'a: 's,
            Self: 's,
        {
            Box::pin(self.unary(request))
        }
    )*};
}

/// The methods of the service that answer with [`unserved::status`].
macro_rules! unserved {
    ($(
        $method:ident: $request:ty => $reply:ty, $rpc:literal, batch($variant:ident, |$r:ident| $context:expr),
        |$text:ident| $error:expr;
    )*) => {$(
        fn $method<'a, 's>(&'a self, _: Request<$request>) -> Answer<'s, $reply>
        where
            'a: 's,
            Self: 's,
        {
            Box::pin(async { Err(unserved::status($rpc)) })
        }
    )*};
}

impl Tikv for KvService {
    for_each_rpc!(unary);
    for_each_unserved_rpc!(unserved);

    fn batch_commands<'a, 's>(
        &'a self,
        request: Request<Streaming<tikvpb::BatchCommandsRequest>>,
    ) -> Answer<'s, BoxStream<tikvpb::BatchCommandsResponse>>
    where
        'a: 's,
        Self: 's,
    {
        Box::pin(async move {
            let replies = batch_commands::serve(self.clone(), request.into_inner());
            let mut attacher = HealthFeedbackAttacher::new(self.parts.feedback.clone());
            let batches = replies.ready_chunks(BATCH_RESPONSES).map(move |answers| {
                let mut packed = batch_commands::pack(answers);
                packed.iter_mut().flatten().for_each(|message| attacher.attach_if_needed(message));
                packed
            });
            Ok(Response::new(batches.flat_map(stream::iter).boxed()))
        })
    }

    fn raft<'a, 's>(
        &'a self,
        request: Request<Streaming<raft_serverpb::RaftMessage>>,
    ) -> Answer<'s, raft_serverpb::Done>
    where
        'a: 's,
        Self: 's,
    {
        Box::pin(async move {
            let mut messages = request.into_inner();
            while let Some(message) = messages.message().await? {
                self.on_raft_message(message)?;
            }
            Ok(Response::new(raft_serverpb::Done {}))
        })
    }

    fn batch_raft<'a, 's>(
        &'a self,
        request: Request<Streaming<tikvpb::BatchRaftMessage>>,
    ) -> Answer<'s, raft_serverpb::Done>
    where
        'a: 's,
        Self: 's,
    {
        Box::pin(async move {
            let mut batches = request.into_inner();
            while let Some(batch) = batches.message().await? {
                self.metrics.raft_batch(batch.msgs.len() as u64);
                batch.msgs.into_iter().try_for_each(|message| self.on_raft_message(message))?;
            }
            Ok(Response::new(raft_serverpb::Done {}))
        })
    }

    fn snapshot<'a, 's>(
        &'a self,
        request: Request<Streaming<raft_serverpb::SnapshotChunk>>,
    ) -> Answer<'s, raft_serverpb::Done>
    where
        'a: 's,
        Self: 's,
    {
        Box::pin(async move {
            let message = self.snapshots.receive(request.into_inner()).await?;
            self.on_raft_message(message)?;
            Ok(Response::new(raft_serverpb::Done {}))
        })
    }
}
