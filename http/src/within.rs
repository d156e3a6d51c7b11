//! [`within`]: a time limit that costs nothing where it is not needed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// The future did not end in time.
#[derive(Debug)]
pub(crate) struct Late;

pin_project! {
    /// See [`within`].
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        limit: Duration,
        #[pin]
        timer: Option<Sleep>,
    }
}

/// Gives the future so much time, counted from when it is first awaited. Unlike tokio's `timeout`
/// it makes a timer, and asks the clock, only for a future that is not ready at once.
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    let timer = None;
    Within {
        future,
        limit,
        timer,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Result<F::Output, Late>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep(*this.limit)));
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(Err(Late))
    }
}
