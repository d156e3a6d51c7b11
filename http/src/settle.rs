//! What becomes of the slot when the work is done: [`Settlement`].

use std::time::Duration;

use idemp::http::Disposition;
use idemp::{AsyncLease, AsyncStore, Body, LeaseError, Stale};
use tokio::time::{sleep, timeout};

/// How the owner ends its lease.
#[derive(Debug, Clone)]
pub(crate) enum Settlement {
    /// Retries get this response.
    Store(Body),
    /// It is done, and the response cannot be stored.
    Unstorable,
    Release,
    Forget,
    Fence,
    /// The handler has said it.
    Said,
}

impl Settlement {
    /// Where there is no response to store.
    pub(crate) fn without_response(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Remember => Self::Unstorable,
            Disposition::Release => Self::Release,
            Disposition::Forget => Self::Forget,
            Disposition::Fence => Self::Fence,
        }
    }

    /// Whether retries are to get the outcome of this execution.
    pub(crate) fn is_outcome(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Unstorable)
    }

    /// Ends the lease. An owner that comes too late changes nothing, and is told.
    ///
    /// Where the store fails or does not answer in time, this returns all the same: the client is
    /// not to wait for it. It is tried again in the background while the lease lives, so that an
    /// outcome is not lost to a moment's failure.
    pub(crate) async fn settle<S: AsyncStore + 'static>(
        self,
        mut lease: AsyncLease<S>,
        limit: Duration,
    ) -> Option<Stale> {
        match self.end(&mut lease, limit).await {
            End::Done => None,
            End::Stale(stale) => Some(stale),
            End::Failed => {
                tokio::spawn(self.insist(lease, limit));
                None
            }
        }
    }

    async fn insist<S: AsyncStore + 'static>(self, mut lease: AsyncLease<S>, limit: Duration) {
        let mut pause = Duration::from_millis(100);
        while lease.remaining() > pause {
            sleep(pause).await;
            match self.end(&mut lease, limit).await {
                End::Done | End::Stale(_) => return,
                End::Failed => pause *= 2,
            }
        }
    }

    async fn end<S: AsyncStore + 'static>(
        &self,
        lease: &mut AsyncLease<S>,
        limit: Duration,
    ) -> End {
        let ended = timeout(limit, async {
            match self {
                Self::Store(response) => lease.finish_bytes(response.clone()).await,
                Self::Unstorable => lease.finish_unstorable().await,
                Self::Release => lease.release().await,
                Self::Forget => lease.forget().await,
                Self::Fence => lease.mark_unknown().await,
                Self::Said => Ok(()),
            }
        });
        match ended.await {
            Ok(Ok(())) => End::Done,
            Ok(Err(LeaseError::Stale(stale))) => End::Stale(stale),
            Ok(Err(error)) if error.is_retryable() => End::Failed,
            // Asking again would not help. The observer was told.
            Ok(Err(_)) => End::Done,
            Err(_) => End::Failed,
        }
    }
}

enum End {
    Done,
    Stale(Stale),
    /// It may be tried again.
    Failed,
}
