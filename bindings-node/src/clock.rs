//! A clock that tests move: Rust calls no function of JavaScript to ask for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idemp::Timestamp;
use napi_derive::napi;

/// Stands still until it is set.
#[napi]
#[derive(Clone)]
pub struct Clock(Arc<AtomicU64>);

#[napi]
impl Clock {
    /// At this time, in milliseconds since the Unix epoch.
    #[napi(constructor)]
    pub fn new(now: f64) -> Self {
        Self(Arc::new(AtomicU64::new(now as u64)))
    }

    /// From now on it is this time.
    #[napi]
    pub fn set(&self, now: f64) {
        self.0.store(now as u64, Ordering::SeqCst);
    }
}

impl idemp::Clock for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}
