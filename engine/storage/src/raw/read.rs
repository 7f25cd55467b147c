//! Raw reads.
use kvproto::kvrpcpb::{Context, KeyRange};
use tikv_kv::{CfName, Engine, IterOptions, Iterator, Snapshot};
use tracepoints::Req;
use txn_types::Key;

use super::{RawPair, rawkv_cf};
use crate::{
    api_version::{check_api_version, check_api_version_ranges},
    command_kind::CommandKind,
    errors::{ErrorInner, Result},
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
    /// Reads the value of one raw key.
    pub async fn raw_get(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        req: Req,
    ) -> Result<(Option<Vec<u8>>, KvGetStatistics)> {
        check_api_version(&ctx, CommandKind::raw_get, [key.as_slice()])?;
        let cf = rawkv_cf(&cf)?;
        let get = move |snapshot, stats: &mut Statistics| get_key(&snapshot, cf, &key, stats, req);
        self.read(ctx, LockCheck::None, req, get).await
    }

    /// Reads several raw keys, in the request's order; omits keys without a value.
    pub async fn raw_batch_get(
        &self,
        ctx: Context,
        cf: String,
        keys: Vec<Vec<u8>>,
        req: Req,
    ) -> Result<(Vec<RawPair>, KvGetStatistics)> {
        check_api_version(&ctx, CommandKind::raw_batch_get, keys.iter().map(Vec::as_slice))?;
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

    /// Reads the remaining time to live of a raw key, in seconds.
    ///
    /// # Errors
    /// `NoTtl`, where TiKV of API V1 ends its process; a region error takes precedence.
    pub async fn raw_get_key_ttl(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        req: Req,
    ) -> Result<(Option<u64>, KvGetStatistics)> {
        check_api_version(&ctx, CommandKind::raw_get_key_ttl, [key.as_slice()])?;
        rawkv_cf(&cf)?;
        self.read(ctx, LockCheck::None, req, |_, _| Err(ErrorInner::NoTtl.into())).await
    }

    /// Scans raw keys. Forward: from `start_key` (included) to `end_key` (excluded); reverse: from
    /// `start_key` (excluded) down to `end_key` (included). An empty end, and an empty start of a reverse
    /// scan, mean the region's own bound.
    ///
    /// # Errors
    /// `KeyNotInRegion` if the start is outside of the region.
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
        let range = bounds(&start_key, &end_key, reverse);
        check_api_version_ranges(&ctx, CommandKind::raw_scan, [range])?;
        let scan = Scan { cf: rawkv_cf(&cf)?, limit, key_only, reverse, fill_cache: !ctx.not_fill_cache };
        let scan = move |snapshot, stats: &mut Statistics| scan.run(&snapshot, start_key, end_key, stats);
        self.read(ctx, LockCheck::None, req, scan).await
    }

    /// Like [`Storage::raw_scan`], for several ranges of one region; up to `each_limit` pairs per range. An
    /// empty end of any but the last range means the start of the next range.
    ///
    /// # Errors
    /// `InvalidKeyRanges` if the start of a range is not before its end.
    #[allow(clippy::too_many_arguments)] // TiKV's signature
    pub async fn raw_batch_scan(
        &self,
        ctx: Context,
        cf: String,
        ranges: Vec<KeyRange>,
        each_limit: usize,
        key_only: bool,
        reverse: bool,
        req: Req,
    ) -> Result<(Vec<RawPair>, KvGetStatistics)> {
        let bounds = ranges.iter().map(|range| bounds(&range.start_key, &range.end_key, reverse));
        check_api_version_ranges(&ctx, CommandKind::raw_batch_scan, bounds)?;
        let fill_cache = !ctx.not_fill_cache;
        let scan = Scan { cf: rawkv_cf(&cf)?, limit: each_limit, key_only, reverse, fill_cache };
        let scan = move |snapshot, stats: &mut Statistics| {
            let mut pairs = Vec::new();
            for KeyRange { start_key, end_key } in fill_range_ends(ranges, reverse)? {
                pairs.extend(scan.run(&snapshot, start_key, end_key, stats)?);
            }
            Ok(pairs)
        };
        self.read(ctx, LockCheck::None, req, scan).await
    }
}

/// Returns the lower and upper bound of a range in the scan's direction.
fn bounds<'a>(start: &'a [u8], end: &'a [u8], reverse: bool) -> (&'a [u8], &'a [u8]) {
    if reverse { (end, start) } else { (start, end) }
}

/// Fills in empty ends of ranges. TiKV: `Storage::check_key_ranges`.
fn fill_range_ends(mut ranges: Vec<KeyRange>, reverse: bool) -> Result<Vec<KeyRange>> {
    for i in 0..ranges.len() {
        if ranges[i].end_key.is_empty()
            && let Some(next) = ranges.get(i + 1)
        {
            ranges[i].end_key = next.start_key.clone();
        }
        let KeyRange { start_key, end_key } = &ranges[i];
        let empty = if reverse { start_key <= end_key } else { start_key >= end_key };
        if !end_key.is_empty() && empty {
            return Err(ErrorInner::InvalidKeyRanges.into());
        }
    }
    Ok(ranges)
}

/// Settings of a raw scan.
#[derive(Clone, Copy)]
struct Scan {
    cf: CfName,
    limit: usize,
    key_only: bool,
    reverse: bool,
    fill_cache: bool,
}

impl Scan {
    /// Scans one range. TiKV: `RawStoreInner::forward_raw_scan`, `reverse_raw_scan`.
    fn run<S: Snapshot>(
        self,
        snapshot: &S,
        start: Vec<u8>,
        end: Vec<u8>,
        stats: &mut Statistics,
    ) -> Result<Vec<RawPair>> {
        let mut pairs = Vec::new();
        if self.limit == 0 {
            return Ok(pairs);
        }
        let end = (!end.is_empty()).then_some(end);
        let (lower_bound, upper_bound) = if self.reverse { (end, None) } else { (None, end) };
        let opts =
            IterOptions { lower_bound, upper_bound, fill_cache: self.fill_cache, ..Default::default() };
        let mut iter = snapshot.iter(self.cf, opts)?;
        stats.data.seek += 1;
        let mut found = self.seek(&mut iter, start)?;
        while found {
            let value = if self.key_only { Vec::new() } else { iter.value().to_vec() };
            stats.data.processed_keys += 1;
            stats.processed_size += iter.key().len() + value.len();
            pairs.push((iter.key().to_vec(), value));
            if pairs.len() == self.limit {
                break;
            }
            found = if self.reverse {
                stats.data.prev += 1;
                iter.prev()?
            } else {
                stats.data.next += 1;
                iter.next()?
            };
        }
        Ok(pairs)
    }

    /// Moves to the first key of the scan.
    fn seek(self, iter: &mut impl Iterator, start: Vec<u8>) -> Result<bool> {
        if self.reverse && start.is_empty() {
            return Ok(iter.seek_to_last()?);
        }
        let start = Key::from_encoded(start);
        if !self.reverse {
            return Ok(iter.seek(&start)?);
        }
        let found = iter.seek_for_prev(&start)?;
        Ok(if found && iter.key() == start.as_encoded().as_slice() { iter.prev()? } else { found })
    }
}
