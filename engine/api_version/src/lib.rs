//! Encodings of raw keys and raw values in API V1, V1TTL and V2, and the modes of keys in V2.
//!
//! Mirrors `components/api_version`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod key;
mod mode;
mod value;

pub use key::{RAW_KEY_PREFIX, TIDB_RANGES_COMPLEMENT, TXN_KEY_PREFIX};
pub use kvproto::kvrpcpb::ApiVersion;
pub use mode::KeyMode;
pub use value::{ENCODED_LOGICAL_DELETE, RawValue};

/// Error of a decoder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key is not a raw key of the version.
    #[error("expected a raw key of API V2 with its timestamp, found {found}: {reason}")]
    Key {
        /// The key, in hexadecimal digits.
        found: String,
        /// The part that does not fit.
        reason: String,
    },
    /// The value is shorter than the bytes that the version appends.
    #[error(
        "expected a raw value of API {version:?} with {want} bytes after the user's, found {found} bytes in all"
    )]
    ValueLength {
        /// Version of the store.
        version: KvFormat,
        /// Bytes that the version appends.
        want: usize,
        /// Bytes of the value.
        found: usize,
    },
    /// The value has flags that no version defines.
    #[error("expected flags 0 to 3 at the end of a raw value of API V2, found {0}")]
    ValueMeta(u8),
}

/// Result of the decoders.
pub type Result<T> = std::result::Result<T, Error>;

/// Encoding of the raw data of one store: `storage.api-version` and `storage.enable-ttl`.
///
/// TiKV: the trait `KvFormat` and its implementations `ApiV1`, `ApiV1Ttl` and `ApiV2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvFormat {
    /// Keys and values as the user wrote them.
    #[default]
    V1,
    /// Keys as the user wrote them, values with the time at which they expire.
    V1ttl,
    /// Encoded keys with timestamps, values with flags.
    V2,
}

impl KvFormat {
    /// Whether values may have a time to live.
    pub fn is_ttl_enabled(self) -> bool {
        self != Self::V1
    }
}

impl From<KvFormat> for ApiVersion {
    fn from(format: KvFormat) -> ApiVersion {
        match format {
            KvFormat::V1 => ApiVersion::V1,
            KvFormat::V1ttl => ApiVersion::V1ttl,
            KvFormat::V2 => ApiVersion::V2,
        }
    }
}

impl TryFrom<ApiVersion> for KvFormat {
    type Error = ApiVersion;

    /// Returns the version itself as the error if no store serves it.
    fn try_from(version: ApiVersion) -> std::result::Result<Self, ApiVersion> {
        match version {
            ApiVersion::V1 => Ok(KvFormat::V1),
            ApiVersion::V1ttl => Ok(KvFormat::V1ttl),
            ApiVersion::V2 => Ok(KvFormat::V2),
            other => Err(other),
        }
    }
}
