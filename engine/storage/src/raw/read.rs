//! Raw reads.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Engine, IterOptions, Iterator, Snapshot};
use tracepoints::Req;
use txn_types::Key;

use super::{RawPair, rawkv_cf};
use crate::{
    errors::Result,
    read::LockCheck,
    statistics::{KvGetStatistics, Statistics},
    storage::Storage,
};

/// Counts and stamps one raw get.
fn get_key<S: Snapshot>(
    snapshot: &S,
    cf: &'static str,
    key: &[u8],
    stats: &mut Statistics,
    req: Req,
) -> Result<Option<Vec<u8>>> {
    stats.data.get += 1;
    let value = snapshot.get_cf(cf, &Key::from_encoded_slice(key))?;
    tracepoints::step_thread!(
        RAW_GET,
        req,
        found = value.is_some(),
        value_len = value.as_ref().map(Vec::len),
        key_len = key.len(),
    );
    if let Some(value) = &value {
        stats.data.processed_keys += 1;
        stats.processed_size += key.len() + value.len();
    }
    Ok(value)
}

impl<E: Engine> Storage<E> {
    /// The value of one raw key.
    pub async fn raw_get(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        req: Req,
    ) -> Result<(Option<Vec<u8>>, KvGetStatistics)> {
        let cf = rawkv_cf(&cf)?;
        let get = move |snapshot, stats: &mut Statistics| get_key(&snapshot, cf, &key, stats, req);
        self.read(ctx, LockCheck::None, req, get).await
    }

    /// Several raw keys, in the order asked for; those without a value are left out.
    pub async fn raw_batch_get(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<(Vec<RawPair>, KvGetStatistics)> {
        let cf = rawkv_cf(&cf)?;
        let get = move |snapshot, stats: &mut Statistics| {
            let mut pairs = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(value) = get_key(&snapshot, cf, &key, stats, req)? {
                    pairs.push((key, value));
                }
            }
            Ok(pairs)
        };
        self.read(ctx, LockCheck::None, req, get).await
    }

    /// A range of raw keys. Forward: from `start_key` (included) to `end_key` (excluded); reverse: from
    /// `start_key` (excluded) down to `end_key` (included). An empty end, and an empty start of a reverse
    /// scan, are unbounded.
    #[allow(clippy::too_many_arguments)] // TiKV's signature
    pub async fn raw_scan(
        &self,
        ctx: Context,
        cf: String,
        start_key: Vec<u8>,
        end_key: Vec<u8>,
        limit: usize,
        key_only: bool,
        reverse: bool,
        req: Req,
    ) -> Result<(Vec<RawPair>, KvGetStatistics)> {
        let cf = rawkv_cf(&cf)?;
        let fill_cache = !ctx.not_fill_cache;
        let scan = move |snapshot, stats: &mut Statistics| {
            let bound = |key: Vec<u8>| (!key.is_empty()).then_some(key);
            let (lower, upper) = if reverse { (end_key, start_key) } else { (start_key, end_key) };
            let opts = IterOptions {
                lower_bound: bound(lower),
                upper_bound: bound(upper),
                fill_cache,
                ..Default::default()
            };
            scan_keys(&snapshot, cf, opts, limit, key_only, reverse, stats)
        };
        self.read(ctx, LockCheck::None, req, scan).await
    }
}

fn scan_keys<S: Snapshot>(
    snapshot: &S,
    cf: &'static str,
    opts: IterOptions,
    limit: usize,
    key_only: bool,
    reverse: bool,
    stats: &mut Statistics,
) -> Result<Vec<RawPair>> {
    let mut pairs = Vec::new();
    if limit == 0 || matches!((&opts.lower_bound, &opts.upper_bound), (Some(a), Some(b)) if a >= b) {
        return Ok(pairs);
    }
    let mut iter = snapshot.iter(cf, opts)?;
    stats.data.seek += 1;
    let mut found = if reverse { iter.seek_to_last()? } else { iter.seek_to_first()? };
    while found {
        let value = if key_only { Vec::new() } else { iter.value().to_vec() };
        stats.data.processed_keys += 1;
        stats.processed_size += iter.key().len() + value.len();
        pairs.push((iter.key().to_vec(), value));
        if pairs.len() == limit {
            break;
        }
        found = if reverse {
            stats.data.prev += 1;
            iter.prev()?
        } else {
            stats.data.next += 1;
            iter.next()?
        };
    }
    Ok(pairs)
}
