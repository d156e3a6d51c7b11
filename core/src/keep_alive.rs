//! [`KeepAlive`]: renews a lease while the work runs.

use tokio::task::JoinHandle;

use crate::asynchronous::LeaseHandle;
use crate::error::LeaseError;
use crate::store::AsyncStore;

/// Renews until it is dropped, the lease is lost, or its ceiling is reached.
pub(crate) struct KeepAlive(JoinHandle<()>);

impl KeepAlive {
    pub(crate) fn start<S: AsyncStore + 'static>(lease: LeaseHandle<S>) -> Self {
        let third = lease.token().policy().lease() / 3;
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(third);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await; // the first is at once
            loop {
                ticks.tick().await;
                if lease.held().settled {
                    break;
                }
                // A renewal that failed leaves two thirds of a lease to try again, and even after
                // a lapse nobody may have taken over.
                if let Err(LeaseError::Stale(_) | LeaseError::Ceiling) = lease.renew().await {
                    break;
                }
            }
        }))
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.0.abort();
    }
}
