//! Raw reads.
use kvproto::kvrpcpb::{ChecksumAlgorithm, Context, KeyRange};
use tikv_kv::{CfName, Engine, Snapshot};
use tracepoints::Req;

use super::{
    RawPair,
    checksum::Checksum,
    rawkv_cf,
    store::{RawScan, RawStore},
};
use crate::{
    command_kind::CommandKind,
    errors::{Error, ErrorInner, Result},
    read::LockCheck,
    statistics::{KvGetStatistics, Statistics},
    storage::Storage,
};

/// Reads and stamps one raw get.
fn get_key<S: Snapshot>(
    store: &RawStore<S>,
    cf: CfName,
    key: &[u8],
    stats: &mut Statistics,
    req: Req,
) -> Result<Option<Vec<u8>>> {
    let value = store.get(cf, key, stats)?;
    tracepoints::step_thread!(
        RAW_GET,
        req,
        found = value.is_some(),
        value_len = value.as_ref().map(Vec::len),
        key_len = key.len(),
    );
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
        let format = self.config.api_version;
        self.check_api_version(&ctx, CommandKind::raw_get, [key.as_slice()])?;
        let cf = rawkv_cf(&cf, format)?;
        let get = move |snapshot, stats: &mut Statistics| {
            get_key(&RawStore::new(snapshot, format, req), cf, &key, stats, req)
        };
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
        let format = self.config.api_version;
        self.check_api_version(&ctx, CommandKind::raw_batch_get, keys.iter().map(Vec::as_slice))?;
        let cf = rawkv_cf(&cf, format)?;
        let get = move |snapshot, stats: &mut Statistics| {
            let store = RawStore::new(snapshot, format, req);
            let mut pairs = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(value) = get_key(&store, cf, &key, stats, req)? {
                    pairs.push((key, value));
                }
            }
            Ok(pairs)
        };
        self.read(ctx, LockCheck::None, req, get).await
    }

    /// Reads the remaining time to live of a raw key, in seconds; 0 without a limit.
    ///
    /// # Errors
    /// `NoTtl` on API V1, where TiKV ends its process; a region error takes precedence.
    pub async fn raw_get_key_ttl(
        &self,
        ctx: Context,
        cf: String,
        key: Vec<u8>,
        req: Req,
    ) -> Result<(Option<u64>, KvGetStatistics)> {
        let format = self.config.api_version;
        self.check_api_version(&ctx, CommandKind::raw_get_key_ttl, [key.as_slice()])?;
        let cf = rawkv_cf(&cf, format)?;
        let get = move |snapshot, stats: &mut Statistics| match format.is_ttl_enabled() {
            true => RawStore::new(snapshot, format, req).get_key_ttl(cf, &key, stats),
            false => Err(ErrorInner::NoTtl.into()),
        };
        self.read(ctx, LockCheck::None, req, get).await
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
        let format = self.config.api_version;
        let range = bounds(&start_key, &end_key, reverse);
        self.check_api_version_ranges(&ctx, CommandKind::raw_scan, [range])?;
        let scan =
            RawScan { cf: rawkv_cf(&cf, format)?, limit, key_only, reverse, fill_cache: !ctx.not_fill_cache };
        let scan = move |snapshot, stats: &mut Statistics| {
            RawStore::new(snapshot, format, req).scan(scan, &start_key, &end_key, stats)
        };
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
        let format = self.config.api_version;
        let bounds = ranges.iter().map(|range| bounds(&range.start_key, &range.end_key, reverse));
        self.check_api_version_ranges(&ctx, CommandKind::raw_batch_scan, bounds)?;
        let fill_cache = !ctx.not_fill_cache;
        let scan = RawScan { cf: rawkv_cf(&cf, format)?, limit: each_limit, key_only, reverse, fill_cache };
        let scan = move |snapshot, stats: &mut Statistics| {
            let (store, mut pairs) = (RawStore::new(snapshot, format, req), Vec::new());
            for KeyRange { start_key, end_key } in fill_range_ends(ranges, reverse)? {
                pairs.extend(store.scan(scan, &start_key, &end_key, stats)?);
            }
            Ok(pairs)
        };
        self.read(ctx, LockCheck::None, req, scan).await
    }

    /// Sums all raw keys and values of several ranges of one region, from start to end (excluded; empty: the
    /// region's end).
    ///
    /// # Errors
    /// The algorithm is not `Crc64Xor`.
    pub async fn raw_checksum(
        &self,
        ctx: Context,
        algorithm: i32,
        ranges: Vec<KeyRange>,
        req: Req,
    ) -> Result<(Checksum, KvGetStatistics)> {
        let format = self.config.api_version;
        if algorithm != ChecksumAlgorithm::Crc64Xor as i32 {
            return Err(Error::other(format!("unknown checksum algorithm {algorithm}")));
        }
        let bounds = ranges.iter().map(|range| (range.start_key.as_slice(), range.end_key.as_slice()));
        self.check_api_version_ranges(&ctx, CommandKind::raw_checksum, bounds)?;
        let cf = rawkv_cf("", format)?;
        let sum = move |snapshot, stats: &mut Statistics| {
            RawStore::new(snapshot, format, req).checksum(cf, &ranges, stats)
        };
        self.read(ctx, LockCheck::None, req, sum).await
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
