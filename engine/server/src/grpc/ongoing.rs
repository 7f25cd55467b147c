//! A request in this server: it ends when its reply has gone to HTTP/2, or when its client goes away.
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
};
use hyper::body::{Frame, SizeHint};
use tower::{Layer, Service};
use tracepoints::{Req, request};

#[derive(Debug)]
struct EndOnDrop(Req);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        request::end(self.0);
    }
}

/// Tells the session that the request has left when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Ongoing(Arc<EndOnDrop>);

impl Ongoing {
    pub fn new(req: Req) -> Self {
        Self(Arc::new(EndOnDrop(req)))
    }

    pub fn req(&self) -> Req {
        self.0.0
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
