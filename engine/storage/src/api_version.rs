//! Checks the API version of requests against the version of this store.
//!
//! Mirrors `Storage::check_api_version` of `src/storage`.
use api_version::{KeyMode, KvFormat};
use kvproto::kvrpcpb::{ApiVersion, Context};
use tikv_kv::Engine;

use crate::{
    command_kind::CommandKind,
    errors::{Error, ErrorInner, Result},
    storage::Storage,
};

impl<E: Engine> Storage<E> {
    /// Checks the version of a command on keys: see [`check_keys`].
    pub(crate) fn check_api_version<'a>(
        &self,
        ctx: &Context,
        cmd: CommandKind,
        keys: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<()> {
        check_keys(self.config.api_version, ctx, cmd, keys)
    }

    /// Checks the version of a command on ranges from a start to an end: see [`check_ranges`].
    pub(crate) fn check_api_version_ranges<'a>(
        &self,
        ctx: &Context,
        cmd: CommandKind,
        ranges: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<()> {
        check_ranges(self.config.api_version, ctx, cmd, ranges)
    }
}

/// Accepts V1 requests on V1, raw V1 requests on V1TTL, and on V2 the V2 requests whose keys all have the
/// command's mode, and transactional V1 requests whose keys all are TiDB's.
///
/// # Errors
/// `ApiVersionNotMatched` for other combinations, `InvalidKeyMode` for other keys.
fn check_keys<'a>(
    storage: KvFormat,
    ctx: &Context,
    cmd: CommandKind,
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Result<()> {
    let Some(mode) = required_mode(storage, ctx, cmd)? else { return Ok(()) };
    let wrong = keys.into_iter().find(|key| storage.parse_key_mode(key) != mode);
    wrong.map_or(Ok(()), |key| {
        let (storage_api_version, key) = (storage.into(), keys::hex_upper(key));
        Err(ErrorInner::InvalidKeyMode { cmd, storage_api_version, key }.into())
    })
}

/// Like [`check_keys`], for ranges.
///
/// # Errors
/// `ApiVersionNotMatched` for other combinations, `InvalidKeyRangeMode` for other ranges.
fn check_ranges<'a>(
    storage: KvFormat,
    ctx: &Context,
    cmd: CommandKind,
    ranges: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<()> {
    let Some(mode) = required_mode(storage, ctx, cmd)? else { return Ok(()) };
    let wrong = ranges.into_iter().find(|(start, end)| storage.parse_range_mode(start, end) != mode);
    wrong.map_or(Ok(()), |(start, end)| {
        let range = (Some(keys::hex_upper(start)), Some(keys::hex_upper(end)));
        Err(ErrorInner::InvalidKeyRangeMode { cmd, storage_api_version: storage.into(), range }.into())
    })
}

/// Returns the mode that all keys of the request must have; `None` for any.
fn required_mode(storage: KvFormat, ctx: &Context, cmd: CommandKind) -> Result<Option<KeyMode>> {
    let Ok(request) = ApiVersion::try_from(ctx.api_version) else {
        return Err(Error::other(format!(
            "expected an api_version of kvrpcpb.APIVersion in the context, found {}; this store serves {}",
            ctx.api_version,
            ApiVersion::from(storage).as_str_name(),
        )));
    };
    match (storage, request) {
        (KvFormat::V1, ApiVersion::V1) => Ok(None),
        (KvFormat::V1ttl, ApiVersion::V1) if cmd.is_raw() => Ok(None),
        (KvFormat::V2, ApiVersion::V1) if !cmd.is_raw() => Ok(Some(KeyMode::Tidb)),
        (KvFormat::V2, ApiVersion::V2) => Ok(Some(if cmd.is_raw() { KeyMode::Raw } else { KeyMode::Txn })),
        (_, req_api_version) => {
            let storage_api_version = storage.into();
            Err(ErrorInner::ApiVersionNotMatched { cmd, storage_api_version, req_api_version }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use CommandKind::{get, raw_get, raw_scan, scan};

    use super::*;

    const V1: i32 = ApiVersion::V1 as i32;
    const V1TTL: i32 = ApiVersion::V1ttl as i32;
    const V2: i32 = ApiVersion::V2 as i32;

    fn check(storage: KvFormat, api_version: i32, cmd: CommandKind, key: &[u8]) -> Result<()> {
        check_keys(storage, &Context { api_version, ..Default::default() }, cmd, [key])
    }

    #[test]
    fn the_combinations_are_tikvs() {
        let key = b"r\0\0\0k";
        for (storage, request, cmd, accepted) in [
            (KvFormat::V1, V1, raw_get, true),
            (KvFormat::V1, V1, get, true),
            (KvFormat::V1, V1TTL, raw_get, false),
            (KvFormat::V1, V2, raw_get, false),
            (KvFormat::V1ttl, V1, raw_get, true),
            (KvFormat::V1ttl, V1, get, false),
            (KvFormat::V1ttl, V1TTL, raw_get, false),
            (KvFormat::V1ttl, V2, raw_get, false),
            (KvFormat::V2, V1, raw_get, false),
            (KvFormat::V2, V1TTL, raw_get, false),
            (KvFormat::V2, V2, raw_get, true),
        ] {
            assert_eq!(check(storage, request, cmd, key).is_ok(), accepted, "{storage:?} {request} {cmd:?}");
        }
        assert_eq!(
            check(KvFormat::V1, V2, raw_get, key).unwrap_err().to_string(),
            "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1, request: V2"
        );
        assert!(check(KvFormat::V1, 77, get, key).unwrap_err().to_string().contains("found 77"));
    }

    #[test]
    fn keys_in_v2_have_the_mode_of_the_command() {
        for (request, cmd, good, bad) in
            [(V2, raw_get, &b"rk"[..], &b"xk"[..]), (V2, get, b"xk", b"tk"), (V1, get, b"tk", b"xk")]
        {
            assert!(check(KvFormat::V2, request, cmd, good).is_ok());
            assert!(check(KvFormat::V2, request, cmd, bad).is_err(), "{cmd:?} {bad:?}");
            assert!(check(KvFormat::V2, request, cmd, b"").is_err());
        }
        assert_eq!(
            check(KvFormat::V2, V2, raw_get, b"xk").unwrap_err().to_string(),
            "Key mode mismatched with the request mode, cmd: raw_get, storage: V2, key: 786B"
        );
    }

    #[test]
    fn ranges_in_v2_stay_in_one_mode() {
        let check = |cmd, start: &[u8], end: &[u8]| {
            let ctx = Context { api_version: V2, ..Default::default() };
            check_ranges(KvFormat::V2, &ctx, cmd, [(start, end)])
        };
        assert!(check(raw_scan, b"r\0\0\0", b"r\0\0\x01").is_ok() && check(raw_scan, b"r", b"s").is_ok());
        assert!(check(scan, b"x", b"y").is_ok());
        let error = check(raw_scan, b"r", b"").unwrap_err().to_string();
        assert_eq!(
            error,
            "Key mode mismatched with the request mode, cmd: raw_scan, storage: V2, range: (Some(\"72\"), Some(\"\"))"
        );
        assert!(check(raw_scan, b"q", b"r").is_err());
    }
}
