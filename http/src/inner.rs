//! Calls of the inner service: [`Oneshot`] waits until it is ready, [`CatchUnwind`] bears a panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// One request to a service, once it is ready.
    #[project = OneshotProjection]
    pub(crate) enum Oneshot<I, R>
    where
        I: Service<R>,
    {
        Waiting { inner: I, request: Option<R> },
        Called { #[pin] future: I::Future },
    }
}

impl<I: Service<R>, R> Oneshot<I, R> {
    pub(crate) fn new(inner: I, request: R) -> Self {
        Self::Waiting {
            inner,
            request: Some(request),
        }
    }
}

impl<I: Service<R>, R> Future for Oneshot<I, R> {
    type Output = Result<I::Response, I::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let future = match self.as_mut().project() {
                OneshotProjection::Called { future } => return future.poll(cx),
                OneshotProjection::Waiting { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    inner.call(request.take().expect("polled after its end"))
                }
            };
            self.set(Self::Called { future });
        }
    }
}

pin_project! {
    /// A future whose panic is a value. The panic hook has reported it by then.
    pub(crate) struct CatchUnwind<F> { #[pin] future: F }
}

impl<F> CatchUnwind<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future }
    }
}

/// The future panicked. What it panicked with is dropped.
#[derive(Debug)]
pub(crate) struct Panicked;

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // After a panic the future is never polled again, only dropped.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
