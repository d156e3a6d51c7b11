//! [`Detached`]: a future that is run to its end, whoever drops it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in the task that awaits it, and where that goes away, in a task of its own. So an
/// ordinary request costs no task, and keeps its task-local values. One that was never polled has
/// done nothing, and is only dropped.
pub(crate) struct Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    /// Where it had to wait. Its count is shared by all threads, so it is not taken for nothing.
    runtime: Option<Handle>,
}

impl<F> Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Some(Box::pin(future)),
            runtime: None,
        }
    }
}

impl<F> Future for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;

    /// # Panics
    /// Where it has to wait outside of a tokio runtime.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled, so that one that panics is not run again.
        let mut future = self.future.take().expect("polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.runtime.get_or_insert_with(Handle::current);
            self.future = Some(future);
        }
        polled
    }
}

impl<F> Drop for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        if let (Some(future), Some(runtime)) = (self.future.take(), &self.runtime) {
            runtime.spawn(future);
        }
    }
}
