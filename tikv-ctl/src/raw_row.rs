//! Decodes the raw rows of stores with API V1TTL and V2, whose values end with bytes of the store.
use std::time::{SystemTime, UNIX_EPOCH};

use api_version::{ApiVersion, KeyMode, KvFormat, RawValue};
use clap::{Args, ValueEnum};
use keys::{CF_DEFAULT, DATA_PREFIX, codec, escape, hex_upper};
use serde_json::{Value, json};

use crate::{print::output::Output, source::Source, timestamp};

/// API version by which raw rows are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ApiVersionArg {
    /// The version that the store has recorded.
    #[default]
    Auto,
    /// Rows have only the bytes of the user.
    V1,
    /// Values end with the time at which they expire.
    V1ttl,
    /// Keys end with a timestamp, values with flags.
    V2,
}

/// The flag of commands that print raw rows.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct RawFlags {
    /// API version by which raw rows are decoded: auto (as the store has recorded it), v1, v1ttl, v2 (not in
    /// TiKV)
    #[arg(long, value_name = "VERSION", value_enum, default_value_t, hide_possible_values = true)]
    pub api_version: ApiVersionArg,
}

impl RawFlags {
    /// Returns the encoding of the rows of `source`; without a store, or if the store has not recorded its version,
    /// V1, in which a row is printed as it is.
    pub fn format(self, source: Option<&dyn Source>, out: &mut Output<'_>) -> KvFormat {
        match (self.api_version, source) {
            (ApiVersionArg::V1, _) | (ApiVersionArg::Auto, None) => KvFormat::V1,
            (ApiVersionArg::V1ttl, _) => KvFormat::V1ttl,
            (ApiVersionArg::V2, _) => KvFormat::V2,
            (ApiVersionArg::Auto, Some(source)) => match source.store_info() {
                Ok((_, version)) => recorded(version, out),
                Err(e) => {
                    out.note(&format!(
                        "note: raw values are printed as they are stored, since the API version of the store is \
                         unknown ({e}): give --api-version"
                    ));
                    KvFormat::V1
                }
            },
        }
    }
}

fn recorded(version: ApiVersion, out: &mut Output<'_>) -> KvFormat {
    KvFormat::try_from(version).unwrap_or_else(|other| {
        out.note(&format!(
            "note: expected API V1, V1TTL or V2, found {other:?}: raw values are printed as they are stored"
        ));
        KvFormat::V1
    })
}

/// A raw row without the bytes that the store adds.
#[derive(Debug, PartialEq, Eq)]
pub struct RawRow<'a> {
    /// Key of the user.
    pub user_key: Vec<u8>,
    /// Causal timestamp of the version, in V2 only.
    pub ts: Option<u64>,
    /// Value of the user, and its properties.
    pub value: RawValue<&'a [u8]>,
}

impl<'a> RawRow<'a> {
    /// Decodes a row of RocksDB; `None` if it is no raw row with additions of the store: in V1, a key of the store
    /// itself, and in V2 a transactional key.
    ///
    /// # Errors
    /// The key or the value is damaged, or has another version's form.
    pub fn decode(
        format: KvFormat,
        cf: &str,
        key: &[u8],
        value: &'a [u8],
    ) -> Option<api_version::Result<Self>> {
        let key = key.strip_prefix(&[DATA_PREFIX])?;
        let is_raw = match format {
            KvFormat::V1 => false,
            KvFormat::V1ttl => true,
            KvFormat::V2 => cf == CF_DEFAULT && format.parse_key_mode(key) == KeyMode::Raw,
        };
        is_raw.then(|| Self::decode_parts(format, key, value))
    }

    fn decode_parts(format: KvFormat, key: &[u8], value: &'a [u8]) -> api_version::Result<Self> {
        let user_key = format.decode_raw_key(key)?;
        let mut suffix = &key[format.truncate_raw_ts(key)?.len()..];
        let ts = codec::decode_u64_desc(&mut suffix).ok();
        Ok(RawRow { user_key, ts, value: format.decode_raw_value(value)? })
    }

    /// Formats the row in one line.
    pub fn text(&self) -> String {
        let value = match self.value.is_delete {
            true => "deleted".to_owned(),
            false => format!("value \"{}\", {}", escape(self.value.user_value), self.expiry()),
        };
        let ts = self.ts.map(|ts| format!(", ts {}", timestamp::text(ts))).unwrap_or_default();
        format!("raw key \"{}\"{ts}: {value}", escape(&self.user_key))
    }

    fn expiry(&self) -> String {
        match self.value.expire_ts {
            None => "never expires".to_owned(),
            Some(at) => {
                let verb = if self.value.is_ttl_expired(now_s()) { "expired" } else { "expires" };
                format!("{verb} at {at} ({})", timestamp::wall_clock(at.saturating_mul(1000)))
            }
        }
    }

    /// Returns the row's parts.
    pub fn json(&self) -> Value {
        json!({
            "user_key": escape(&self.user_key),
            "user_key_hex": hex_upper(&self.user_key),
            "value": hex_upper(self.value.user_value),
            "ts": self.ts.map(timestamp::json),
            "deleted": self.value.is_delete,
            "expire_ts": self.value.expire_ts,
            "expired": self.value.is_ttl_expired(now_s()),
        })
    }
}

/// Formats a decoded row, or the reason why it cannot be decoded.
pub fn text(row: &api_version::Result<RawRow<'_>>) -> String {
    row.as_ref().map_or_else(|e| format!("raw row: {e}"), RawRow::text)
}

/// Returns the parts of a decoded row, or `{error}`.
pub fn json(row: &api_version::Result<RawRow<'_>>) -> Value {
    row.as_ref().map_or_else(|e| json!({ "error": e.to_string() }), RawRow::json)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(format: KvFormat, cf: &str, key: &[u8], value: &[u8]) -> Option<String> {
        RawRow::decode(format, cf, key, value).map(|row| text(&row))
    }

    #[test]
    fn rows_lose_the_bytes_of_the_store() {
        let ttl = decode(KvFormat::V1ttl, CF_DEFAULT, b"zk", b"v\0\0\0\0\0\0\0\x01").unwrap();
        assert_eq!(ttl, "raw key \"k\": value \"v\", expired at 1 (1970-01-01 00:00:01.000 UTC)");
        let key = [b"z", KvFormat::V2.encode_raw_key(b"rk".to_vec(), Some(5)).as_slice()].concat();
        let want = "raw key \"rk\", ts 5 (1970-01-01 00:00:00.000 UTC, logical 5): ";
        assert_eq!(
            decode(KvFormat::V2, CF_DEFAULT, &key, b"v\0").unwrap(),
            format!("{want}value \"v\", never expires")
        );
        assert_eq!(decode(KvFormat::V2, CF_DEFAULT, &key, b"\x02").unwrap(), format!("{want}deleted"));
    }

    #[test]
    fn other_rows_are_left_alone() {
        let txn = [b"z", KvFormat::V2.encode_raw_key(b"xk".to_vec(), Some(5)).as_slice()].concat();
        assert_eq!(decode(KvFormat::V2, CF_DEFAULT, &txn, b"v"), None);
        assert_eq!(decode(KvFormat::V1, CF_DEFAULT, b"zk", b"v"), None);
        assert_eq!(decode(KvFormat::V1ttl, CF_DEFAULT, keys::STORE_IDENT_KEY, b"v"), None);
    }

    #[test]
    fn rows_of_another_form_are_reported() {
        let short = decode(KvFormat::V1ttl, CF_DEFAULT, b"zk", b"v").unwrap();
        assert!(short.starts_with("raw row: expected a raw value of API V1ttl"), "{short}");
        assert!(decode(KvFormat::V2, CF_DEFAULT, b"zrk", b"v\0").unwrap().contains("expected a raw key"));
    }
}
