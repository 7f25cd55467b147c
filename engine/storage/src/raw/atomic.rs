//! Raw writes under latches: compare-and-swap, and puts and deletes for clients that use compare-and-swap.
use kvproto::kvrpcpb::Context;
use tikv_kv::Engine;
use tracepoints::Req;
use txn_types::{Key, Value};

use super::{RawPair, rawkv_cf, ttls_of_pairs, write};
use crate::{
    command_kind::CommandKind,
    errors::Result,
    storage::Storage,
    txn::commands::{RawAtomicStore, RawCompareAndSwap},
};

/// Compare-and-swap request.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    /// Column family; empty: default.
    pub cf: String,
    /// Raw key.
    pub key: Vec<u8>,
    /// `None`: the key must be absent.
    pub previous_value: Option<Value>,
    /// New value.
    pub value: Value,
    /// Time to live in seconds, 0 for none; must be 0 on API V1.
    pub ttl: u64,
    /// Delete the key instead of writing `value`.
    pub delete: bool,
}

impl<E: Engine> Storage<E> {
    /// Like [`Storage::raw_batch_put`], but serialized with compare-and-swaps of the same keys.
    pub async fn raw_batch_put_atomic(
        &self,
        ctx: Context,
        cf: String,
        pairs: Vec<RawPair>,
        ttls: Vec<u64>,
        req: Req,
    ) -> Result<()> {
        let (cf, ttls) = self.check_puts(&ctx, CommandKind::raw_atomic_store, &cf, &pairs, ttls)?;
        // The command appends the timestamp: the latches are those of the key without it.
        let mutations = write::puts(self.config.api_version, cf, pairs, ttls, None);
        self.sched_txn_command(RawAtomicStore { ctx, mutations }, req).await.0
    }

    /// Like [`Storage::raw_batch_delete`], but serialized with compare-and-swaps of the same keys.
    pub async fn raw_batch_delete_atomic(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<()> {
        let cf = self.check_deletes(&ctx, CommandKind::raw_atomic_store, &cf, &keys)?;
        let format = self.config.api_version;
        let mutations = keys.into_iter().map(|key| write::delete(format, cf, key, None)).collect();
        self.sched_txn_command(RawAtomicStore { ctx, mutations }, req).await.0
    }

    /// Writes the new value if the key has the expected one. Returns the old value, and whether it wrote.
    pub async fn raw_compare_and_swap_atomic(
        &self,
        ctx: Context,
        swap: Swap,
        req: Req,
    ) -> Result<(Option<Value>, bool)> {
        let Swap { cf, key, previous_value, value, ttl, delete } = swap;
        let format = self.config.api_version;
        self.check_api_version(&ctx, CommandKind::raw_compare_and_swap, [key.as_slice()])?;
        let cf = rawkv_cf(&cf, format)?;
        ttls_of_pairs(format, vec![ttl], 1)?;
        self.check_key_size([key.as_slice()])?;
        let key = Key::from_encoded(format.encode_raw_key(key, None));
        let command =
            RawCompareAndSwap { ctx, cf, key, previous_value, value, ttl, api_version: format, delete };
        self.sched_txn_command(command, req).await.0
    }
}
