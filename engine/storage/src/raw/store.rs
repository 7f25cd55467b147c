//! Raw rows in a snapshot, in the encoding of the store's API version.
//!
//! Mirrors `RawStore` of `src/storage/raw/store.rs`, with its decoders in `encoded.rs` and `raw_mvcc.rs`.
use api_version::{KvFormat, RawValue};
use kvproto::kvrpcpb::KeyRange;
use tikv_kv::{CfName, IterOptions, Iterator, Snapshot};
use tracepoints::Req;
use txn_types::{Key, Value};

use super::{RawPair, checksum::Checksum, cursor::RawCursor, ttl_current_ts};
use crate::{errors::Result, statistics::Statistics};

/// Settings of a raw scan.
#[derive(Clone, Copy)]
pub struct RawScan {
    /// Column family.
    pub cf: CfName,
    /// Maximum number of pairs.
    pub limit: usize,
    /// Whether to leave values empty.
    pub key_only: bool,
    /// Whether to read in descending order.
    pub reverse: bool,
    /// Whether blocks read enter the block cache.
    pub fill_cache: bool,
}

/// View of one snapshot at one time. Keys are user keys.
pub struct RawStore<S> {
    snapshot: S,
    format: KvFormat,
    /// Unix time in seconds.
    now: u64,
    req: Req,
}

impl<S: Snapshot> RawStore<S> {
    /// Reads the snapshot at the current engine time.
    pub fn new(snapshot: S, format: KvFormat, req: Req) -> Self {
        Self { snapshot, format, now: ttl_current_ts(), req }
    }

    /// Returns the value of a user key. TiKV: `RawStore::raw_get_key_value`.
    pub fn get(&self, cf: CfName, key: &[u8], stats: &mut Statistics) -> Result<Option<Value>> {
        let encoded = Key::from_encoded(self.format.encode_raw_key(key.to_vec(), None));
        self.get_encoded(cf, &encoded, stats)
    }

    /// Returns the value of a key that is encoded without a timestamp.
    pub fn get_encoded(&self, cf: CfName, key: &Key, stats: &mut Statistics) -> Result<Option<Value>> {
        let Some(bytes) = self.load(cf, key, stats)? else { return Ok(None) };
        let raw = self.decode(&bytes)?;
        let value = raw.is_valid(self.now).then(|| raw.user_value.to_vec());
        if let Some(value) = &value {
            stats.data.processed_keys += 1;
            stats.processed_size += key.len() + value.len();
        }
        Ok(value)
    }

    /// Returns the remaining time to live in seconds, 0 without a limit; `None` if the key has no value.
    /// TiKV: `RawEncodeSnapshot::get_key_ttl_cf`, which returns 0 for a deleted key of API V2.
    pub fn get_key_ttl(&self, cf: CfName, key: &[u8], stats: &mut Statistics) -> Result<Option<u64>> {
        let encoded = Key::from_encoded(self.format.encode_raw_key(key.to_vec(), None));
        let Some(bytes) = self.load(cf, &encoded, stats)? else { return Ok(None) };
        let raw = self.decode(&bytes)?;
        Ok(raw.is_valid(self.now).then(|| raw.expire_ts.map_or(0, |expire_ts| expire_ts - self.now)))
    }

    /// Loads the newest version of a key. TiKV: `RawMvccSnapshot::seek_first_key_value_cf`.
    fn load(&self, cf: CfName, key: &Key, stats: &mut Statistics) -> Result<Option<Vec<u8>>> {
        if self.format != KvFormat::V2 {
            stats.data.get += 1;
            return Ok(self.snapshot.get_cf(cf, key)?);
        }
        // The oldest timestamp is the greatest key; no version has timestamp zero.
        let upper_bound = Some(key.clone().append_ts(0.into()).into_encoded());
        let mut iter =
            self.snapshot.iter(cf, IterOptions { upper_bound, fill_cache: true, ..Default::default() })?;
        stats.data.seek += 1;
        Ok(if iter.seek(key)? { Some(iter.value().to_vec()) } else { None })
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> Result<RawValue<&'a [u8]>> {
        let raw = self.format.decode_raw_value(bytes)?;
        if self.format.is_ttl_enabled() {
            tracepoints::step_thread!(
                RAW_TTL_CHECK,
                self.req,
                expire_ts = raw.expire_ts.unwrap_or(0),
                now = self.now,
                deleted = raw.is_delete,
            );
        }
        Ok(raw)
    }

    /// Scans one range of user keys; an empty end, and an empty start of a reverse scan, mean the region's
    /// own bound. TiKV: `RawStore::forward_raw_scan`, `reverse_raw_scan`.
    pub fn scan(
        &self,
        scan: RawScan,
        start: &[u8],
        end: &[u8],
        stats: &mut Statistics,
    ) -> Result<Vec<RawPair>> {
        tracepoints::step_thread!(
            RAW_SCAN,
            self.req,
            limit = scan.limit,
            reverse = scan.reverse,
            key_len = start.len()
        );
        let mut pairs = Vec::new();
        if scan.limit == 0 {
            return Ok(pairs);
        }
        let end = self.encoded_bound(end);
        let (lower_bound, upper_bound) = if scan.reverse { (end, None) } else { (None, end) };
        let opts =
            IterOptions { lower_bound, upper_bound, fill_cache: scan.fill_cache, ..Default::default() };
        let mut cursor = self.cursor(scan.cf, opts, start, scan.reverse, stats)?;
        while pairs.len() < scan.limit {
            let Some(pair) = cursor.next_row(scan.key_only, &mut stats.data)? else { break };
            stats.data.processed_keys += 1;
            stats.processed_size += pair.0.len() + pair.1.len();
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// Sums all rows of the ranges; an empty end means the region's end. TiKV: `RawStore::raw_checksum_ranges`.
    pub fn checksum(&self, cf: CfName, ranges: &[KeyRange], stats: &mut Statistics) -> Result<Checksum> {
        let mut sum = Checksum::default();
        for KeyRange { start_key, end_key } in ranges {
            tracepoints::step_thread!(RAW_CHECKSUM, self.req, key_len = start_key.len());
            let opts = IterOptions { upper_bound: self.encoded_bound(end_key), ..Default::default() };
            let mut cursor = self.cursor(cf, opts, start_key, false, stats)?;
            while let Some((key, value)) = cursor.next_row(false, &mut stats.data)? {
                stats.data.processed_keys += 1;
                stats.processed_size += key.len() + value.len();
                sum.add(&key, &value);
            }
        }
        Ok(sum)
    }

    fn encoded_bound(&self, key: &[u8]) -> Option<Vec<u8>> {
        (!key.is_empty()).then(|| self.format.encode_raw_key(key.to_vec(), None))
    }

    fn cursor(
        &self,
        cf: CfName,
        opts: IterOptions,
        start: &[u8],
        reverse: bool,
        stats: &mut Statistics,
    ) -> Result<RawCursor<S::Iter>> {
        let start = self.encoded_bound(start).unwrap_or_default();
        RawCursor::seek(
            self.snapshot.iter(cf, opts)?,
            self.format,
            self.now,
            &start,
            reverse,
            &mut stats.data,
        )
    }
}
