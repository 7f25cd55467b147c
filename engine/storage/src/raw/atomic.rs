//! Raw writes under latches: compare-and-swap, and puts and deletes for clients that use compare-and-swap.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, Modify};
use tracepoints::Req;
use txn_types::{Key, Value};

use super::{RawPair, check_ttls, rawkv_cf};
use crate::{
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
    /// None: the key must be absent.
    pub previous_value: Option<Value>,
    /// New value.
    pub value: Value,
    /// Must be 0: API V1 stores no TTL.
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
        let cf = rawkv_cf(&cf)?;
        check_ttls(&ttls, pairs.len())?;
        let put = |(key, value)| Modify::Put(cf, Key::from_encoded(key), value);
        let mutations = pairs.into_iter().map(put).collect();
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
        let cf = rawkv_cf(&cf)?;
        let delete = |key| Modify::Delete(cf, Key::from_encoded(key));
        let mutations = keys.into_iter().map(delete).collect();
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
        let (cf, key) = (rawkv_cf(&cf)?, Key::from_encoded(key));
        check_ttls(&[ttl], 1)?;
        let command = RawCompareAndSwap { ctx, cf, key, previous_value, value, delete };
        self.sched_txn_command(command, req).await.0
    }
}
