//! Which requests this store takes, by the API version that they name.
//!
//! Mirrors `Storage::check_api_version` and `CommandKind` of `src/storage`.
use kvproto::kvrpcpb::{ApiVersion, Context};

use crate::errors::{Error, ErrorInner, Result};

/// What the store keeps: keys without a mode, values without a TTL.
const STORAGE_API_VERSION: ApiVersion = ApiVersion::V1;

/// The commands whose API version is checked, under TiKV's names.
#[allow(non_camel_case_types)] // TiKV's names, which clients see in errors
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    get,
    batch_get,
    scan,
    prewrite,
    acquire_pessimistic_lock,
    delete_range,
    raw_get,
    raw_batch_get,
    raw_scan,
    raw_batch_scan,
    raw_put,
    raw_batch_put,
    raw_delete,
    raw_batch_delete,
    raw_delete_range,
    raw_get_key_ttl,
    raw_compare_and_swap,
    raw_atomic_store,
}

/// # Errors
/// `ApiVersionNotMatched` for any version but the store's. A store of API V1 has no ill-formed keys.
pub(crate) fn check_api_version(ctx: &Context, cmd: CommandKind) -> Result<()> {
    let storage_api_version = STORAGE_API_VERSION;
    match ApiVersion::try_from(ctx.api_version) {
        Ok(version) if version == storage_api_version => Ok(()),
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

    #[test]
    fn only_the_stores_own_version_is_taken() {
        let check = |api_version| {
            check_api_version(&Context { api_version, ..Default::default() }, CommandKind::raw_get)
        };
        assert!(check(0).is_ok());
        assert_eq!(
            check(2).unwrap_err().to_string(),
            "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1, request: V2"
        );
        assert!(check(1).is_err() && check(3).is_err());
        assert!(check(77).unwrap_err().to_string().contains("found 77"));
    }
}
