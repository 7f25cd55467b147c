//! `raw-scan` of a server with API V2. `RawScan` answers the newest version of each key without its timestamp, and no
//! other call lists the versions.
use api_version::{KvFormat, RAW_KEY_PREFIX};
use keys::{CF_DEFAULT, DATA_PREFIX};
use kvproto::{
    kvrpcpb::{ApiVersion, Context, KvPair, RawGetKeyTtlRequest, RawScanRequest},
    metapb::Region,
};

use super::{Remaining, elsewhere};
use crate::{
    Error,
    online::Online,
    source::{Answer, RawPair},
};

/// Bytes of a group of the memcomparable form; a byte with the number of its padding bytes follows.
const GROUP: usize = 8;
/// The byte after a group without padding.
const FULL: u8 = 0xff;
/// A user key after all raw keys.
const AFTER_ALL: &[u8] = &[0xff];

impl Online {
    /// Scans the raw keys from the RocksDB key `from` on.
    pub(super) fn scan_versions(&self, from: &[u8], cf: &str, rest: &mut Remaining<'_, '_>) -> Answer<()> {
        if cf != CF_DEFAULT {
            return Err(Error::other(format!(
                "raw-scan --cf {cf}: a server with API V2 lists the raw keys of CF default only: give --data-dir"
            ))
            .into());
        }
        let (first, end) = (vec![RAW_KEY_PREFIX], vec![RAW_KEY_PREFIX + 1]);
        let from = user_bound(from).max(first);
        let to = if rest.to.is_empty() { end } else { user_bound(rest.to).min(end) };
        for region in self.regions()? {
            let start = region_bound(&region, &region.start_key)?.max(from.clone());
            let end = region_bound(&region, &region.end_key)?;
            let end = if end.is_empty() { to.clone() } else { end.min(to.clone()) };
            if start < end && !self.scan_newest(&region, (start, end), rest)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn scan_newest(
        &self,
        region: &Region,
        (start_key, end_key): (Vec<u8>, Vec<u8>),
        rest: &mut Remaining<'_, '_>,
    ) -> Answer<bool> {
        let context = Context { api_version: ApiVersion::V2.into(), ..self.context(region)? };
        let request =
            RawScanRequest { context: Some(context.clone()), start_key, end_key, ..Default::default() };
        self.scan_pages(region, request, rest, &mut |KvPair { key, value, .. }, rest| {
            let ttl = RawGetKeyTtlRequest {
                context: Some(context.clone()),
                key: key.clone(),
                ..Default::default()
            };
            let reply = self.wait(self.kv().raw_get_key_ttl(ttl))?;
            if let Some(error) = reply.region_error {
                return Err(elsewhere(region.id, &error.message));
            }
            // A key that was deleted since the scan has no row.
            match reply.not_found {
                true => Ok(true),
                false => rest.take(RawPair::Answered { user_key: &key, value: &value, ttl_s: reply.ttl }),
            }
        })
    }
}

/// Returns the user key at which a scan from or to the RocksDB key `key` begins or ends. A timestamp after the key
/// lies between the key's versions: all of them are after the bound then.
fn user_bound(key: &[u8]) -> Vec<u8> {
    let Some(mut encoded) = key.strip_prefix(&[DATA_PREFIX]) else {
        let is_after_all = key > [DATA_PREFIX].as_slice();
        return if is_after_all { AFTER_ALL.to_vec() } else { Vec::new() };
    };
    let mut user_key = Vec::new();
    while let Some((group, rest)) = encoded.split_at_checked(GROUP + 1) {
        let padding = usize::from(FULL - group[GROUP]);
        user_key.extend_from_slice(&group[..GROUP.saturating_sub(padding)]);
        if padding > 0 {
            return user_key;
        }
        encoded = rest;
    }
    user_key.extend_from_slice(&encoded[..encoded.len().min(GROUP)]);
    user_key
}

/// Returns the user key of a region's bound; empty: unbounded.
fn region_bound(region: &Region, bound: &[u8]) -> Answer<Vec<u8>> {
    if bound.is_empty() {
        return Ok(Vec::new());
    }
    keys::decode_bytes(bound).map_err(|e| {
        Error::other(format!(
            "raw-scan: expected a bound in the form of API {:?} in region {}, found {} ({e}): give --data-dir",
            KvFormat::V2,
            region.id,
            keys::escape(bound)
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_user_keys() {
        let long = b"r\0\0\0a long key";
        for key in [&b"r"[..], b"rk", long] {
            let stored = |ts| [b"z", KvFormat::V2.encode_raw_key(key.to_vec(), ts).as_slice()].concat();
            assert_eq!(user_bound(&stored(None)), key);
            assert_eq!(user_bound(&stored(Some(7))), key);
        }
        assert_eq!(user_bound(b"z"), b"");
        assert_eq!(user_bound(b"zr\0\0"), b"r\0\0");
        assert_eq!((user_bound(b"{"), user_bound(b"a")), (vec![0xff], vec![]));
        assert_eq!(user_bound(b"zrrrrrrrr\x03"), b"", "a wrong number of padding bytes");
    }

    #[test]
    fn bounds_of_regions_are_decoded() {
        let region = Region { id: 4, ..Default::default() };
        assert_eq!(region_bound(&region, b"").unwrap(), b"");
        assert_eq!(region_bound(&region, &keys::encode_bytes(b"rk")).unwrap(), b"rk");
        let error = format!("{:?}", region_bound(&region, b"rk").unwrap_err());
        assert!(error.contains("region 4"), "{error}");
    }
}
