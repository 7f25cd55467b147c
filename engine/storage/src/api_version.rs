//! Checks the API version of requests against the version of this store.
//!
//! Mirrors `Storage::check_api_version` of `src/storage`.
use kvproto::kvrpcpb::{ApiVersion, Context};

use crate::{
    command_kind::CommandKind,
    errors::{Error, ErrorInner, Result},
};

/// API version of this store: unencoded keys, values without a TTL.
const STORAGE_API_VERSION: ApiVersion = ApiVersion::V1;

/// Accepts requests of the store's own version, and API V2 requests whose keys all have the command's mode:
/// the keys of a keyspace are only longer keys here. TiKV refuses other requests on API V1, too.
///
/// # Errors
/// `ApiVersionNotMatched` for all other requests.
pub(crate) fn check_api_version<'a>(
    ctx: &Context,
    cmd: CommandKind,
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Result<()> {
    check(ctx, cmd, |mode| keys.into_iter().all(|key| key.first() == Some(&mode)))
}

/// Like [`check_api_version`], for ranges from a lower to an upper bound. TiKV: `ApiV2::parse_range_mode`.
pub(crate) fn check_api_version_ranges<'a>(
    ctx: &Context,
    cmd: CommandKind,
    ranges: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<()> {
    let within = |mode: u8, start: &[u8], end: &[u8]| {
        start.first() == Some(&mode) && (end.first() == Some(&mode) || *end == [mode + 1])
    };
    check(ctx, cmd, |mode| ranges.into_iter().all(|(start, end)| within(mode, start, end)))
}

fn check(ctx: &Context, cmd: CommandKind, well_formed: impl FnOnce(u8) -> bool) -> Result<()> {
    let storage_api_version = STORAGE_API_VERSION;
    match ApiVersion::try_from(ctx.api_version) {
        Ok(version) if version == storage_api_version => Ok(()),
        Ok(ApiVersion::V2) if well_formed(cmd.key_mode()) => Ok(()),
        Ok(req_api_version) => {
            Err(ErrorInner::ApiVersionNotMatched { cmd, storage_api_version, req_api_version }.into())
        }
        Err(_) => Err(Error::other(format!(
            "expected an api_version of kvrpcpb.APIVersion in the context, found {}; this store serves {}",
            ctx.api_version,
            storage_api_version.as_str_name(),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(api_version: i32) -> Context {
        Context { api_version, ..Default::default() }
    }

    #[test]
    fn another_api_version_is_refused() {
        let check =
            |api_version, key: &[u8]| check_api_version(&context(api_version), CommandKind::raw_get, [key]);
        assert!(check(0, b"k").is_ok());
        for key in [&b"k"[..], b"", b"x\0\0\0k", b"t\0\0\0k"] {
            assert_eq!(
                check(2, key).unwrap_err().to_string(),
                "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1, request: V2"
            );
        }
        assert!(check(1, b"r\0\0\0k").is_err() && check(3, b"r\0\0\0k").is_err());
        assert!(check(77, b"k").unwrap_err().to_string().contains("found 77"));
    }

    #[test]
    fn keys_of_a_keyspace_are_accepted() {
        assert!(check_api_version(&context(2), CommandKind::raw_get, [&b"r\0\0\0k"[..]]).is_ok());
        assert!(check_api_version(&context(2), CommandKind::get, [&b"x\0\0\0k"[..], b"x"]).is_ok());
        assert!(check_api_version(&context(2), CommandKind::get, [&b"x\0\0\0k"[..], b"k"]).is_err());
        let range = |start: &'static [u8], end: &'static [u8]| {
            check_api_version_ranges(&context(2), CommandKind::raw_scan, [(start, end)])
        };
        assert!(range(b"r\0\0\0", b"r\0\0\x01").is_ok() && range(b"r", b"s").is_ok());
        for (start, end) in [(&b"r"[..], &b""[..]), (b"", b"s"), (b"r", b"s\0"), (b"q", b"r")] {
            assert!(range(start, end).is_err(), "{start:?} {end:?}");
        }
    }
}
