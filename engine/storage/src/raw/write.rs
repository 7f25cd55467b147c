//! Raw writes: no latches, no snapshot; straight to the engine.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, Modify, SnapContext, WriteData};
use tracepoints::{EngineClock, Req};
use txn_types::Key;

use super::{RawPair, rawkv_cf};
use crate::{
    deadline::Deadline,
    errors::{Error, ErrorInner, Result},
    storage::Storage,
};

impl<E: Engine> Storage<E> {
    /// Puts one raw key. `ttl` must be 0: API V1 keeps none.
    pub async fn raw_put(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        value: Vec<u8>,
        ttl: u64,
        req: Req,
    ) -> Result<()> {
        self.raw_batch_put(ctx, cf, vec![(key, value)], vec![ttl], req).await
    }

    /// Puts several raw keys, all or none.
    pub async fn raw_batch_put(
        &self,
        ctx: Context,
        cf: String,
        pairs: Vec<RawPair>,
        ttls: Vec<u64>,
        req: Req,
    ) -> Result<()> {
        let cf = rawkv_cf(&cf)?;
        if ttls.iter().any(|ttl| *ttl != 0) {
            return Err(ErrorInner::TtlNotEnabled.into());
        }
        let put = |(key, value)| Modify::Put(cf, Key::from_encoded(key), value);
        self.raw_write(ctx, pairs.into_iter().map(put).collect(), req).await
    }

    /// Deletes one raw key.
    pub async fn raw_delete(&self, ctx: Context, cf: String, key: Vec<u8>, req: Req) -> Result<()> {
        self.raw_batch_delete(ctx, cf, vec![key], req).await
    }

    /// Deletes several raw keys, all or none.
    pub async fn raw_batch_delete(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<()> {
        let cf = rawkv_cf(&cf)?;
        let delete = |key| Modify::Delete(cf, Key::from_encoded(key));
        self.raw_write(ctx, keys.into_iter().map(delete).collect(), req).await
    }

    /// Deletes raw keys from `start_key` (included) to `end_key` (excluded).
    pub async fn raw_delete_range(
        &self,
        ctx: Context,
        cf: String,
        start_key: Vec<u8>,
        end_key: Vec<u8>,
        req: Req,
    ) -> Result<()> {
        let cf = rawkv_cf(&cf)?;
        let (start, end) = (Key::from_encoded(start_key), Key::from_encoded(end_key));
        self.raw_write(ctx, vec![Modify::DeleteRange(cf, start, end, false)], req).await
    }

    /// TiKV: `Storage::sched_raw_command`.
    async fn raw_write(&self, pb_ctx: Context, modifies: Vec<Modify>, req: Req) -> Result<()> {
        let cid = self.sched.gen_id();
        let (region, keys) = (pb_ctx.region_id, modifies.len());
        tracepoints::step!(SCHED_RECEIVE, req, cid = cid, ts = 0_u64, region = region, keys = keys);
        self.check_raw_keys(&modifies)?;
        if modifies.is_empty() {
            return Ok(());
        }
        let (engine, deadline) = (self.engine.clone(), Deadline::of(&pb_ctx));
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

    fn check_raw_keys(&self, modifies: &[Modify]) -> Result<()> {
        let limit = self.config.max_key_size;
        for modify in modifies {
            if let Modify::Put(_, key, _) | Modify::Delete(_, key) = modify
                && key.len() > limit
            {
                let start = key.as_encoded()[..32].to_vec();
                return Err(ErrorInner::KeyTooLarge { size: key.len(), limit, key: start }.into());
            }
        }
        Ok(())
    }
}
