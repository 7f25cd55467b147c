//! The gRPC side of a store: listener, HTTP/2 connections, arrivals and deadlines of requests.
mod arrival;
mod request_guard;
mod serve;
mod service_manager;

pub use arrival::{Arrival, ArrivalLayer, within};
pub use request_guard::{RequestGuard, RequestGuardLayer};
pub use serve::{BindError, GrpcServer, Http2Options, Secured, bind};
pub use service_manager::{GrpcServiceManager, ServiceError};
