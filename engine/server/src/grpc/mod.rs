//! The gRPC side of a store: listening, HTTP/2 connections, when a request arrived and by when it must be answered.
mod arrival;
mod ongoing;
mod serve;
mod service_manager;

pub use arrival::{Arrival, ArrivalLayer, within};
pub use ongoing::{Ongoing, OngoingLayer};
pub use serve::{BindError, GrpcServer, Http2Options, Secured, bind};
pub use service_manager::{GrpcServiceManager, ServiceError};
