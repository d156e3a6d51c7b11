//! [`Store`] and [`AsyncStore`]: one method each.
//!
//! Whoever implements one promises the laws in [`Swap`]'s module, `slot.rs`; the conveniences live
//! on [`Idempotency`](crate::Idempotency), and no store can override a decision.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

use crate::error::StoreError;
use crate::slot::{Swap, Swapped};

/// A store that answers on the caller's thread.
pub trait Store: Send + Sync {
    /// Compares, then puts: what [`apply`](crate::apply) does, atomically and durably.
    ///
    /// # Errors
    /// A [`StoreError`] means that the outcome is unknown.
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError>;
}

/// A store that is awaited.
pub trait AsyncStore: Send + Sync {
    /// Compares, then puts: what [`apply`](crate::apply) does, atomically and durably.
    ///
    /// A future that is dropped leaves the outcome unknown, like an error.
    ///
    /// # Errors
    /// A [`StoreError`] means that the outcome is unknown.
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend;
}

/// `Send`, except on wasm, which has no threads to send to.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send> MaybeSend for T {}

/// `Send`, except on wasm, which has no threads to send to.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T> MaybeSend for T {}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        (**self).swap(swap)
    }
}

impl<S: AsyncStore> AsyncStore for Arc<S> {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        (**self).swap(swap)
    }
}

/// Makes a blocking store async by calling it in place: for stores that answer in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct InPlace<S>(pub S);

impl<S: Store> AsyncStore for InPlace<S> {
    fn swap(&self, swap: &Swap) -> impl Future<Output = Result<Swapped, StoreError>> + MaybeSend {
        std::future::poll_fn(|_| Poll::Ready(self.0.swap(swap)))
    }
}

/// Makes a blocking store async by calling it on tokio's blocking threads: for stores that wait
/// for a disk.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone, Default)]
pub struct OnBlockingThreads<S>(pub Arc<S>);

#[cfg(feature = "tokio")]
impl<S: Store + 'static> AsyncStore for OnBlockingThreads<S> {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let (store, swap) = (self.0.clone(), swap.clone());
        match tokio::task::spawn_blocking(move || store.swap(&swap)).await {
            Ok(reply) => reply,
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }
}
