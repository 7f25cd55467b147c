//! The time of a request's arrival and its client's deadline, in engine time: a held request does not time out.
use std::{
    convert::Infallible,
    future::Future,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{HeaderMap, Request};
use tonic::Status;
use tower::{Layer, Service};
use tracepoints::clock::{self, EngineClock, EngineInstant};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The arrival of a request, an extension of it: its headers have arrived, its body is not read yet.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// See [`clock::raw_to_ns`].
    pub raw: u64,
    /// Engine time of the arrival.
    pub at: EngineInstant,
    /// Engine time at which the client stops to wait; `None`: no limit.
    pub deadline: Option<EngineInstant>,
}

impl Arrival {
    /// Creates an arrival at this moment, without a deadline.
    pub fn now() -> Self {
        Self { raw: clock::raw(), at: EngineClock::now(), deadline: None }
    }

    /// Returns the arrival of a request, or now if it did not pass [`ArrivalLayer`].
    pub fn from_request<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or_else(Self::now)
    }

    /// Real nanoseconds since the arrival.
    pub fn elapsed_ns(&self) -> u64 {
        clock::raw_to_ns(clock::raw()).saturating_sub(clock::raw_to_ns(self.raw))
    }
}

/// Notes the arrival and removes `grpc-timeout` from the headers, so that no lower layer measures it in real
/// time.
#[derive(Clone, Debug, Default)]
pub struct ArrivalLayer;

impl<S> Layer<S> for ArrivalLayer {
    type Service = ArrivalService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ArrivalService { inner }
    }
}

/// Service that notes the arrival of each request.
#[derive(Clone, Debug)]
pub struct ArrivalService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for ArrivalService<S>
where
    S: Service<Request<B>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let mut arrival = Arrival::now();
        arrival.deadline = take_timeout(request.headers_mut()).map(|t| arrival.at + t);
        request.extensions_mut().insert(arrival);
        self.inner.call(request)
    }
}

/// Parses at most eight digits and a unit (gRPC over HTTP/2, "Timeout"); a malformed value counts as none.
fn take_timeout(headers: &mut HeaderMap) -> Option<Duration> {
    let value = headers.remove(GRPC_TIMEOUT)?;
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

/// Runs `future` until it ends or engine time passes `deadline`.
pub async fn within<T>(
    deadline: Option<EngineInstant>,
    future: impl Future<Output = T>,
) -> Result<T, Status> {
    let Some(deadline) = deadline else { return Ok(future.await) };
    tokio::select! {
        biased;
        out = future => Ok(out),
        () = passed(deadline) => Err(Status::deadline_exceeded("the client's deadline has passed")),
    }
}

/// Real time may run ahead of engine time: waits again until engine time has passed the deadline.
async fn passed(deadline: EngineInstant) {
    loop {
        let left = deadline.saturating_since(EngineClock::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.max(Duration::from_millis(10))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, value.parse().unwrap());
        let out = take_timeout(&mut headers);
        assert!(headers.is_empty(), "the header is always removed");
        out
    }

    #[test]
    fn grpc_timeouts_are_read() {
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "S", "2", "2s", "-1S", "123456789S"] {
            assert_eq!(timeout(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_deadline_ends_a_slow_call() {
        let soon = EngineClock::now() + Duration::from_millis(20);
        let ended = within(Some(soon), std::future::pending::<()>()).await;
        assert_eq!(ended.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        let late = EngineClock::now() + Duration::from_secs(600);
        assert_eq!(within(Some(late), async { 7 }).await.unwrap(), 7);
    }
}
