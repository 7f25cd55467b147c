//! Guards that end a request when its reply was handed to HTTP/2, or when its client goes away.
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
};
use hyper::body::{Frame, SizeHint};
use tower::{Layer, Service};
use tracepoints::{Ending, EngineClock, Outcome, Req, clock::EngineInstant, request};

#[derive(Debug)]
struct EndOnDrop {
    req: Req,
    ending: Ending,
    deadline: Option<EngineInstant>,
    /// One of [`Outcome::ALL`]; `Unknown` until there is a reply.
    outcome: AtomicU8,
}

impl EndOnDrop {
    /// Returns the outcome. A request without a reply ended because its deadline passed or its client went
    /// away.
    fn outcome(&self) -> Outcome {
        match Outcome::ALL.get(usize::from(self.outcome.load(Ordering::Relaxed))) {
            Some(Outcome::Unknown) | None => {
                let late = self.deadline.is_some_and(|d| EngineClock::now() >= d);
                if late { Outcome::DeadlineExceeded } else { Outcome::Cancelled }
            }
            Some(outcome) => *outcome,
        }
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        request::end_with(self.req, Ending { outcome: self.outcome(), ..self.ending });
    }
}

/// Reports the end of the request and its outcome when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct RequestGuard(Arc<EndOnDrop>);

impl RequestGuard {
    /// `ending` contains the facts about the end that are known now; `deadline` is the deadline of the gRPC call.
    pub fn new(req: Req, ending: Ending, deadline: Option<EngineInstant>) -> Self {
        Self(Arc::new(EndOnDrop { req, ending, deadline, outcome: AtomicU8::new(Outcome::Unknown as u8) }))
    }

    /// Notes the outcome of the reply.
    pub fn answered(&self, outcome: Outcome) {
        self.0.outcome.store(outcome as u8, Ordering::Relaxed);
    }
}

/// Moves a [`RequestGuard`] from the reply's extensions into the reply's body.
#[derive(Clone, Debug, Default)]
pub struct RequestGuardLayer;

impl<S> Layer<S> for RequestGuardLayer {
    type Service = RequestGuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestGuardService { inner }
    }
}

/// Service that moves guards into the bodies of replies.
#[derive(Clone, Debug)]
pub struct RequestGuardService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for RequestGuardService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reply = self.inner.call(request);
        Box::pin(async move {
            let mut reply = reply.await?;
            Ok(match reply.extensions_mut().remove::<RequestGuard>() {
                Some(guard) => reply.map(|body| Body::new(GuardedBody { body, _guard: guard })),
                None => reply,
            })
        })
    }
}

/// A reply's body that keeps its request's guard until HTTP/2 has read all of it.
struct GuardedBody {
    body: Body,
    _guard: RequestGuard,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
