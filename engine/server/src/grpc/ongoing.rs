//! A request in this server: it ends when its reply has gone to HTTP/2, or when its client goes away.
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
    /// Without a reply the client's deadline has passed, or the client has gone.
    fn outcome(&self) -> Outcome {
        match Outcome::ALL.get(usize::from(self.outcome.load(Ordering::Relaxed))) {
            Some(Outcome::Unknown) | None => {
                let late = self.deadline.is_some_and(|d| EngineClock::now() >= d);
                if late { Outcome::DeadlineExceeded } else { Outcome::Cancelled }
            }
            Some(told) => *told,
        }
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        request::end_with(self.req, Ending { outcome: self.outcome(), ..self.ending });
    }
}

/// Tells that the request has left, and how, when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Ongoing(Arc<EndOnDrop>);

impl Ongoing {
    /// `ending` says what is known of the end already; `deadline` is that of the gRPC call.
    pub fn new(req: Req, ending: Ending, deadline: Option<EngineInstant>) -> Self {
        Self(Arc::new(EndOnDrop { req, ending, deadline, outcome: AtomicU8::new(Outcome::Unknown as u8) }))
    }

    /// There is a reply.
    pub fn answered(&self, outcome: Outcome) {
        self.0.outcome.store(outcome as u8, Ordering::Relaxed);
    }
}

/// Binds an [`Ongoing`] among the reply's extensions to the reply's body.
#[derive(Clone, Debug, Default)]
pub struct OngoingLayer;

impl<S> Layer<S> for OngoingLayer {
    type Service = OngoingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OngoingService { inner }
    }
}

#[derive(Clone, Debug)]
pub struct OngoingService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for OngoingService<S>
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
            Ok(match reply.extensions_mut().remove::<Ongoing>() {
                Some(ongoing) => reply.map(|body| Body::new(OngoingBody { body, _ongoing: ongoing })),
                None => reply,
            })
        })
    }
}

/// A reply's body that keeps its request ongoing while HTTP/2 still reads from it.
struct OngoingBody {
    body: Body,
    _ongoing: Ongoing,
}

impl HttpBody for OngoingBody {
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
