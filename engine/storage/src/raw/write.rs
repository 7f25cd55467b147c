//! Raw writes without latches and without a snapshot of the old values.
use api_version::{ENCODED_LOGICAL_DELETE, KvFormat, RawValue};
use engine_rocks::DATA_CFS;
use kvproto::kvrpcpb::Context;
use tikv_kv::{CfName, Engine, Modify, SnapContext, Snapshot, WriteData};
use tracepoints::{EngineClock, Req};
use txn_types::{Key, TimeStamp, Value};

use super::{RawPair, rawkv_cf, ttl_to_expire_ts, ttls_of_pairs};
use crate::{
    command_kind::CommandKind,
    deadline::Deadline,
    errors::{Error, ErrorInner, Result},
    storage::Storage,
    txn::raw_ext,
};

/// Encodes the puts of several pairs; `ttls` has one entry per pair.
///
/// TiKV: `Storage::raw_batch_put_requests_to_modifies`.
pub(super) fn puts(
    format: KvFormat,
    cf: CfName,
    pairs: Vec<RawPair>,
    ttls: Vec<u64>,
    ts: Option<TimeStamp>,
) -> Vec<Modify> {
    let put = |((key, value), ttl)| {
        let key = format.encode_raw_key(key, ts.map(TimeStamp::into_inner));
        Modify::Put(cf, Key::from_encoded(key), encode_value(format, value, ttl))
    };
    pairs.into_iter().zip(ttls).map(put).collect()
}

/// Encodes a value that begins its time to live now.
pub(crate) fn encode_value(format: KvFormat, user_value: Value, ttl: u64) -> Value {
    format.encode_raw_value(RawValue { user_value, expire_ts: ttl_to_expire_ts(ttl), is_delete: false })
}

/// Encodes a delete. On API V2 it is a version without a value, so that readers of changes see it.
///
/// TiKV: `Storage::raw_delete_request_to_modify`.
pub(super) fn delete(format: KvFormat, cf: CfName, key: Vec<u8>, ts: Option<TimeStamp>) -> Modify {
    delete_encoded(format, cf, Key::from_encoded(format.encode_raw_key(key, ts.map(TimeStamp::into_inner))))
}

/// Like [`delete`], for an encoded key.
pub(crate) fn delete_encoded(format: KvFormat, cf: CfName, key: Key) -> Modify {
    match format {
        KvFormat::V2 => Modify::Put(cf, key, ENCODED_LOGICAL_DELETE.to_vec()),
        _ => Modify::Delete(cf, key),
    }
}

/// A write without latches.
struct UnlatchedWrite<F> {
    /// Number of keys.
    keys: usize,
    /// Whether the write makes versions, which API V2 gives a causal timestamp.
    needs_ts: bool,
    /// Makes the modifications from the timestamp, if there is one.
    make: F,
}

impl<E: Engine> Storage<E> {
    /// Puts one raw key with a time to live in seconds, 0 for none. API V1 accepts only 0.
    pub async fn raw_put(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: u64,
        req: Req,
    ) -> Result<()> {
        self.put_pairs(ctx, CommandKind::raw_put, cf, vec![(key, value)], vec![ttl], req).await
    }

    /// Puts several raw keys atomically. `ttls` has one entry per pair, one for all, or none.
    pub async fn raw_batch_put(
        &self,
        ctx: Context,
        cf: String,
        pairs: Vec<RawPair>,
        ttls: Vec<u64>,
        req: Req,
    ) -> Result<()> {
        self.put_pairs(ctx, CommandKind::raw_batch_put, cf, pairs, ttls, req).await
    }

    async fn put_pairs(
        &self,
        ctx: Context,
        cmd: CommandKind,
        cf: String,
        pairs: Vec<RawPair>,
        ttls: Vec<u64>,
        req: Req,
    ) -> Result<()> {
        let (cf, ttls) = self.check_puts(&ctx, cmd, &cf, &pairs, ttls)?;
        let (format, keys) = (self.config.api_version, pairs.len());
        let make = move |ts| puts(format, cf, pairs, ttls, ts);
        self.unlatched_write(ctx, UnlatchedWrite { keys, needs_ts: true, make }, req).await
    }

    /// Deletes one raw key.
    pub async fn raw_delete(&self, ctx: Context, cf: String, key: Vec<u8>, req: Req) -> Result<()> {
        self.delete_keys(ctx, CommandKind::raw_delete, cf, vec![key], req).await
    }

    /// Deletes several raw keys atomically.
    pub async fn raw_batch_delete(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<()> {
        self.delete_keys(ctx, CommandKind::raw_batch_delete, cf, keys, req).await
    }

    async fn delete_keys(
        &self,
        ctx: Context,
        cmd: CommandKind,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<()> {
        let cf = self.check_deletes(&ctx, cmd, &cf, &keys)?;
        let (format, count) = (self.config.api_version, keys.len());
        let make = move |ts| keys.into_iter().map(|key| delete(format, cf, key, ts)).collect();
        self.unlatched_write(ctx, UnlatchedWrite { keys: count, needs_ts: true, make }, req).await
    }

    /// Deletes raw keys, with all their versions, from `start_key` (included) to `end_key` (excluded; empty: the
    /// region's end).
    pub async fn raw_delete_range(
        &self,
        ctx: Context,
        cf: String,
        start_key: Vec<u8>,
        end_key: Vec<u8>,
        req: Req,
    ) -> Result<()> {
        let range = (start_key.as_slice(), end_key.as_slice());
        self.check_api_version_ranges(&ctx, CommandKind::raw_delete_range, [range])?;
        let format = self.config.api_version;
        let cf = rawkv_cf(&cf, format)?;
        self.check_key_size([start_key.as_slice(), end_key.as_slice()])?;
        let [start, end] = [start_key, end_key].map(|key| match key.is_empty() {
            true => Key::from_encoded(key),
            false => Key::from_encoded(format.encode_raw_key(key, None)),
        });
        let make = move |_| vec![Modify::DeleteRange(cf, start, end, false)];
        self.unlatched_write(ctx, UnlatchedWrite { keys: 1, needs_ts: false, make }, req).await
    }

    /// Deletes all versions of the keys from `start_key` (included, encoded) to `end_key` (excluded; empty:
    /// the region's end) from all column families, regardless of running transactions. `notify_only` writes
    /// the command to the Raft log and deletes nothing.
    ///
    /// TiKV: `Storage::delete_range`.
    pub async fn delete_range(
        &self,
        ctx: Context,
        start_key: Key,
        end_key: Key,
        notify_only: bool,
        req: Req,
    ) -> Result<()> {
        let range = (start_key.as_encoded().as_slice(), end_key.as_encoded().as_slice());
        self.check_api_version_ranges(&ctx, CommandKind::delete_range, [range])?;
        let delete = |cf| Modify::DeleteRange(cf, start_key.clone(), end_key.clone(), notify_only);
        let modifies: Vec<Modify> = DATA_CFS.iter().copied().map(delete).collect();
        let write = UnlatchedWrite { keys: modifies.len(), needs_ts: false, make: move |_| modifies };
        self.check_key_size([start_key.as_encoded(), end_key.as_encoded()].map(Vec::as_slice))?;
        self.unlatched_write(ctx, write, req).await
    }

    /// Writes without latches. TiKV: `Storage::sched_raw_command`.
    async fn unlatched_write<F>(&self, pb_ctx: Context, write: UnlatchedWrite<F>, req: Req) -> Result<()>
    where
        F: FnOnce(Option<TimeStamp>) -> Vec<Modify> + Send + 'static,
    {
        let UnlatchedWrite { keys, needs_ts, make } = write;
        let cid = self.sched.gen_id();
        let (region, priority) = (pb_ctx.region_id, pb_ctx.priority());
        tracepoints::step!(SCHED_RECEIVE, req, cid = cid, ts = 0_u64, region = region, keys = keys);
        if keys == 0 {
            return Ok(());
        }
        let (engine, deadline) = (self.engine.clone(), Deadline::from_context(&pb_ctx));
        let provider = self.sched.causal_ts_provider().clone().filter(|_| needs_ts);
        let manager = self.concurrency_manager.clone();
        let task = async move {
            deadline.check()?;
            let mut ctx = SnapContext { pb_ctx, req, ..Default::default() };
            let ext = match provider {
                Some(provider) => {
                    // TiKV: `Storage::check_causal_ts_flushed`.
                    let snapshot = crate::snapshot::take(&engine, ctx.clone()).await?;
                    if let Some(term) = snapshot.term() {
                        ctx.pb_ctx.term = term;
                    }
                    raw_ext::get(&*provider, &manager, snapshot.is_max_ts_synced(), region, req)
                        .await
                        .map(Some)?
                }
                None => None,
            };
            let modifies = make(ext.as_ref().map(|ext| ext.ts));
            let data = WriteData { deadline: Some(deadline.at()), ..WriteData::from_modifies(modifies) };
            tracepoints::step!(SCHED_WRITE, req, region = region, modifies = keys, bytes = data.size());
            let begin = EngineClock::now();
            let result = engine.async_write(ctx, data).await;
            // The guard of the timestamp ends after the write is applied.
            drop(ext);
            let write_ns = begin.elapsed().as_nanos() as u64;
            tracepoints::step!(
                SCHED_FINISH,
                req,
                cid = cid,
                ts = 0_u64,
                failed = result.is_err(),
                write_ns = write_ns,
            );
            result.map(|_| ()).map_err(Error::from)
        };
        self.sched.pool_of(priority).spawn_handle(task)?.await
    }

    /// Checks puts before they are encoded. Returns their column family, and the TTL of each pair.
    pub(super) fn check_puts(
        &self,
        ctx: &Context,
        cmd: CommandKind,
        cf: &str,
        pairs: &[RawPair],
        ttls: Vec<u64>,
    ) -> Result<(CfName, Vec<u64>)> {
        let format = self.config.api_version;
        self.check_api_version(ctx, cmd, pairs.iter().map(|(key, _)| key.as_slice()))?;
        let cf = rawkv_cf(cf, format)?;
        let ttls = ttls_of_pairs(format, ttls, pairs.len())?;
        self.check_key_size(pairs.iter().map(|(key, _)| key.as_slice()))?;
        Ok((cf, ttls))
    }

    /// Checks deletes before they are encoded. Returns their column family.
    pub(super) fn check_deletes(
        &self,
        ctx: &Context,
        cmd: CommandKind,
        cf: &str,
        keys: &[Vec<u8>],
    ) -> Result<CfName> {
        self.check_api_version(ctx, cmd, keys.iter().map(Vec::as_slice))?;
        let cf = rawkv_cf(cf, self.config.api_version)?;
        self.check_key_size(keys.iter().map(Vec::as_slice))?;
        Ok(cf)
    }

    /// Checks the sizes of keys before they are encoded.
    pub(super) fn check_key_size<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        let limit = self.config.max_key_size;
        match keys.into_iter().find(|key| key.len() > limit) {
            Some(key) => Err(ErrorInner::KeyTooLarge { size: key.len(), limit }.into()),
            None => Ok(()),
        }
    }
}
