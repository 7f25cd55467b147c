//! The unary commands of the key-value API: their kinds, first keys and contexts.
use std::future::Future;

use kvproto::kvrpcpb::*;
use prost::Message;
use tracepoints::{Outcome, RequestKind};

use super::{
    call::Call,
    destroy, flashback,
    health_feedback::{self, FeedbackSource},
    outcome::{HasOutcome, ReplyOutcome, from_error_text, from_key_errors, from_region_error, pair_errors},
    raw, split,
    table::for_each_rpc,
    txn,
};
use crate::{Storage, coprocessor_v2::Endpoint};

/// The parts of a store that answer commands.
#[derive(Clone)]
pub struct Parts {
    /// The transaction layer.
    pub storage: Storage,
    /// The health of the store.
    pub feedback: FeedbackSource,
    /// The plugins.
    pub copr_v2: Endpoint,
}

/// A request of `tikvpb.Tikv` that one store answers alone.
pub trait Command: Message + Sized + Send + 'static {
    type Reply: Message + Default + HasOutcome + Send + 'static;
    const KIND: RequestKind;
    /// Name of the request and of the RPC.
    const NAME: &'static str;
    const RPC: &'static str;

    fn context(&self) -> Option<&Context>;

    /// Returns the first key as the client wrote it; empty if there is none.
    fn first_key(&self) -> &[u8];

    /// Executes the command; region and key errors go into the reply.
    fn execute(self, parts: &Parts, call: Call) -> impl Future<Output = Self::Reply> + Send;
}

fn first(keys: &[Vec<u8>]) -> &[u8] {
    keys.first().map_or(&[], Vec::as_slice)
}

fn first_mutation(mutations: &[Mutation]) -> &[u8] {
    mutations.first().map_or(&[], |m| m.key.as_slice())
}

fn first_pair(pairs: &[KvPair]) -> &[u8] {
    pairs.first().map_or(&[], |p| p.key.as_slice())
}

fn first_range(ranges: &[KeyRange]) -> &[u8] {
    ranges.first().map_or(&[], |r| r.start_key.as_slice())
}

macro_rules! commands {
    ($(
        $method:ident: $request:ident => $reply:ident, $kind:ident, batch($($variant:ident)?),
        |$r:ident| $key:expr, |$a:ident| $outcome:expr, $run:path;
    )*) => {$(
        impl Command for $request {
            type Reply = $reply;
            const KIND: RequestKind = RequestKind::$kind;
            const NAME: &'static str = stringify!($request);
            const RPC: &'static str = stringify!($method);

            fn context(&self) -> Option<&Context> {
                self.context.as_ref()
            }

            fn first_key(&self) -> &[u8] {
                let $r = self;
                $key
            }

            fn execute(
                self,
                parts: &Parts,
                call: Call,
            ) -> impl Future<Output = $reply> + Send {
                $run(part!($method, parts), self, call)
            }
        }

        has_outcome!($reply, |$a| $outcome);
    )*};
}

/// Clones the part of the store that answers a command.
macro_rules! part {
    (get_health_feedback, $parts:ident) => {
        $parts.feedback.clone()
    };
    (raw_coprocessor, $parts:ident) => {
        ($parts.storage.clone(), $parts.copr_v2.clone())
    };
    ($method:ident, $parts:ident) => {
        $parts.storage.clone()
    };
}

macro_rules! has_outcome {
    // A store answers this request for all regions: the reply has no region error.
    (BroadcastTxnStatusResponse, |$a:ident| $outcome:expr) => {
        impl HasOutcome for BroadcastTxnStatusResponse {
            const NAME: &'static str = "BroadcastTxnStatusResponse";

            fn reply_outcome(&self) -> ReplyOutcome {
                $outcome
            }
        }
    };
    ($reply:ident, |$a:ident| $outcome:expr) => {
        impl HasOutcome for $reply {
            const NAME: &'static str = stringify!($reply);

            fn reply_outcome(&self) -> ReplyOutcome {
                let $a = self;
                self.region_error.as_ref().map_or_else(|| $outcome, from_region_error)
            }
        }
    };
}

for_each_rpc!(commands);
