//! [`Builder`]: what an [`Idempotency`] is made of.

use std::sync::Arc;

use crate::entropy::Entropy;
use crate::event::Observer;
use crate::idempotency::{Idempotency, Shared};
use crate::policy::Policy;
use crate::time::Clock;

/// Makes an [`Idempotency`].
pub struct Builder<S> {
    policy: Policy,
    shared: Shared<S>,
}

impl<S> Builder<S> {
    /// With the default policy and the system's clock and randomness.
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    #[must_use]
    pub fn new(store: S) -> Self {
        Self::with(
            store,
            crate::entropy::SystemEntropy,
            crate::time::SystemClock::new(),
        )
    }

    /// With this randomness and this monotonic clock: for tests, and where there is no system.
    #[must_use]
    pub fn with(store: S, entropy: impl Entropy + 'static, clock: impl Clock + 'static) -> Self {
        let shared = Shared {
            store,
            entropy: Box::new(entropy),
            clock: Box::new(clock),
            observer: None,
            label: None,
            user_part: 0,
            #[cfg(feature = "tokio")]
            owners: Default::default(),
            #[cfg(feature = "tokio")]
            wakers: Default::default(),
        };
        Self {
            policy: Policy::default(),
            shared,
        }
    }

    /// The policy; by default, replay for 24 hours.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Who is told the events; by default, nobody.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.shared.observer = Some(Box::new(observer));
        self
    }

    /// Finds what an event calls `task` in an outcome or in interim state: usually an id that may
    /// stand in a log.
    #[must_use]
    pub fn label(
        mut self,
        label: impl Fn(&[u8]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.shared.label = Some(Box::new(label));
        self
    }

    /// Which part of the scope an event calls `user`; by default the first, 0.
    #[must_use]
    pub fn user_part(mut self, index: usize) -> Self {
        self.shared.user_part = index;
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Idempotency<S> {
        Idempotency {
            shared: Arc::new(self.shared),
            policy: self.policy,
        }
    }
}
