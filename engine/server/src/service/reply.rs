//! The error fields of a reply, from the error of its command.
use kvproto::kvrpcpb::KeyError;
use storage::{Error, extract_key_error};

/// The field `error` of a reply, which has an error that is not one of the region.
pub trait ErrorField {
    fn from_error(e: &Error) -> Self;
}

impl ErrorField for String {
    fn from_error(e: &Error) -> Self {
        e.to_string()
    }
}

impl ErrorField for Option<KeyError> {
    fn from_error(e: &Error) -> Self {
        Some(extract_key_error(e))
    }
}

/// Fills a reply: the region error, or the other error, or the fields of the result.
macro_rules! reply {
    ($reply:ident, $result:expr, |$value:pat_param| $fill:expr) => {
        if let Some(e) = storage::extract_region_error(&$result) {
            $reply.region_error = Some(e);
        } else {
            match $result {
                Ok($value) => $fill,
                Err(e) => $reply.error = $crate::service::reply::ErrorField::from_error(&e),
            }
        }
    };
}
pub(super) use reply;
