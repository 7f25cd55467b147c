//! Raw writes without latches and without a snapshot.
use engine_rocks::DATA_CFS;
use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, Modify, SnapContext, WriteData};
use tracepoints::{EngineClock, Req};
use txn_types::Key;

use super::{RawPair, check_ttls, rawkv_cf};
use crate::{
    api_version::{check_api_version, check_api_version_ranges},
    command_kind::CommandKind,
    deadline::Deadline,
    errors::{Error, ErrorInner, Result},
    storage::Storage,
};

impl<E: Engine> Storage<E> {
    /// Puts one raw key. `ttl` must be 0: API V1 stores no TTL.
    pub async fn raw_put(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: u64,
        req: Req,
    ) -> Result<()> {
        check_api_version(&ctx, CommandKind::raw_put, [key.as_slice()])?;
        let put = Modify::Put(rawkv_cf(&cf)?, Key::from_encoded(key), value);
        check_ttls(&[ttl], 1)?;
        self.unlatched_write(ctx, vec![put], req).await
    }

    /// Puts several raw keys atomically. `ttls` has one entry per pair, one for all, or none; all must be 0.
    pub async fn raw_batch_put(
        &self,
        ctx: Context,
        cf: String,
        pairs: Vec<RawPair>,
        ttls: Vec<u64>,
        req: Req,
    ) -> Result<()> {
        check_api_version(&ctx, CommandKind::raw_batch_put, pairs.iter().map(|(key, _)| key.as_slice()))?;
        let cf = rawkv_cf(&cf)?;
        check_ttls(&ttls, pairs.len())?;
        let put = |(key, value)| Modify::Put(cf, Key::from_encoded(key), value);
        self.unlatched_write(ctx, pairs.into_iter().map(put).collect(), req).await
    }

    /// Deletes one raw key.
    pub async fn raw_delete(&self, ctx: Context, cf: String, key: Vec<u8>, req: Req) -> Result<()> {
        check_api_version(&ctx, CommandKind::raw_delete, [key.as_slice()])?;
        let delete = Modify::Delete(rawkv_cf(&cf)?, Key::from_encoded(key));
        self.unlatched_write(ctx, vec![delete], req).await
    }

    /// Deletes several raw keys atomically.
    pub async fn raw_batch_delete(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<()> {
        check_api_version(&ctx, CommandKind::raw_batch_delete, keys.iter().map(Vec::as_slice))?;
        let cf = rawkv_cf(&cf)?;
        let delete = |key| Modify::Delete(cf, Key::from_encoded(key));
        self.unlatched_write(ctx, keys.into_iter().map(delete).collect(), req).await
    }

    /// Deletes raw keys from `start_key` (included) to `end_key` (excluded; empty: the region's end).
    pub async fn raw_delete_range(
        &self,
        ctx: Context,
        cf: String,
        start_key: Vec<u8>,
        end_key: Vec<u8>,
        req: Req,
    ) -> Result<()> {
        let range = (start_key.as_slice(), end_key.as_slice());
        check_api_version_ranges(&ctx, CommandKind::raw_delete_range, [range])?;
        let (start, end) = (Key::from_encoded(start_key), Key::from_encoded(end_key));
        let delete = Modify::DeleteRange(rawkv_cf(&cf)?, start, end, false);
        self.unlatched_write(ctx, vec![delete], req).await
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
        check_api_version_ranges(&ctx, CommandKind::delete_range, [range])?;
        let delete = |cf| Modify::DeleteRange(cf, start_key.clone(), end_key.clone(), notify_only);
        self.unlatched_write(ctx, DATA_CFS.iter().copied().map(delete).collect(), req).await
    }

    /// Writes without latches. TiKV: `Storage::sched_raw_command`.
    async fn unlatched_write(&self, pb_ctx: Context, modifies: Vec<Modify>, req: Req) -> Result<()> {
        let cid = self.sched.gen_id();
        let (region, keys) = (pb_ctx.region_id, modifies.len());
        tracepoints::step!(SCHED_RECEIVE, req, cid = cid, ts = 0_u64, region = region, keys = keys);
        modifies.iter().try_for_each(|modify| self.check_key_size(modify))?;
        if modifies.is_empty() {
            return Ok(());
        }
        let (engine, deadline) = (self.engine.clone(), Deadline::from_context(&pb_ctx));
        let task = async move {
            deadline.check()?;
            let data = WriteData { modifies, deadline: Some(deadline.at()) };
            tracepoints::step!(SCHED_WRITE, req, region = region, modifies = keys, bytes = data.size());
            let begin = EngineClock::now();
            let result = engine.async_write(SnapContext { pb_ctx, req, ..Default::default() }, data).await;
            let write_ns = begin.elapsed().as_nanos() as u64;
            tracepoints::step!(
                SCHED_FINISH,
                req,
                cid = cid,
                ts = 0_u64,
                failed = result.is_err(),
                write_ns = write_ns,
            );
            result.map_err(Error::from)
        };
        self.sched.pool().spawn_handle(task)?.await
    }

    fn check_key_size(&self, modify: &Modify) -> Result<()> {
        let limit = self.config.max_key_size;
        let size = match modify {
            Modify::Put(_, key, _) | Modify::Delete(_, key) => key.len(),
            Modify::DeleteRange(_, start, end, _) => start.len().max(end.len()),
        };
        if size > limit { Err(ErrorInner::KeyTooLarge { size, limit }.into()) } else { Ok(()) }
    }
}
