//! Errors over HTTP: PD's texts as JSON strings, with PD's status codes.
use axum::{
    extract::rejection::{PathRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kvproto::pdpb::ErrorType;

use super::json::json;
use crate::server::{error::Refusal, store_state::StoreStateError};

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first")]
    NotBootstrapped,
    #[error("[PD:core:ErrStoreNotFound]store {0} not found")]
    StoreNotFound(u64),
    #[error("[PD:region:ErrRegionNotFound]region {0} not found")]
    RegionNotFound(String),
    #[error("[PD:region:ErrRegionInvalidID]invalid region id")]
    RegionInvalidId,
    #[error("{0}")]
    StoreState(#[from] StoreStateError),
    #[error("{0}")]
    BadInput(String),
    #[error("{0}")]
    Internal(String),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal.kind {
            ErrorType::NotBootstrapped => ApiError::NotBootstrapped,
            ErrorType::InvalidValue => ApiError::BadInput(refusal.message),
            _ => ApiError::Internal(refusal.message),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> ApiError {
        ApiError::BadInput(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::BadInput(rejection.body_text())
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            ApiError::StoreNotFound(_) | ApiError::RegionNotFound(_) => StatusCode::NOT_FOUND,
            ApiError::StoreState(e) => match e {
                StoreStateError::NotFound(_) => StatusCode::NOT_FOUND,
                StoreStateError::Removed(_) => StatusCode::GONE,
                StoreStateError::StillUsed(_) => StatusCode::INTERNAL_SERVER_ERROR,
                StoreStateError::Refused(refusal) if refusal.kind == ErrorType::NotBootstrapped => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                _ => StatusCode::BAD_REQUEST,
            },
            ApiError::RegionInvalidId | ApiError::BadInput(_) => StatusCode::BAD_REQUEST,
            ApiError::NotBootstrapped | ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = match &self {
            ApiError::StoreState(StoreStateError::Refused(refusal)) => {
                ApiError::from(refusal.clone()).to_string()
            }
            other => other.to_string(),
        };
        json(self.status(), &text)
    }
}
