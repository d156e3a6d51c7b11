//! Calls that wait for the disk: futures that the thread of JavaScript polls, when one of its own
//! promises says that something has happened.
//!
//! A call takes no thread while it waits. Calls that a commit ends together are told of by one
//! promise: the first of them settles it, and JavaScript then takes all that are ready.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use napi::bindgen_prelude::{Object, Result};
use napi::{Env, JsDeferred};

use crate::crossing::Told;

type Call = Pin<Box<dyn Future<Output = Told> + Send>>;
type Tick = JsDeferred<(), fn(Env) -> Result<()>>;

/// The calls that have not ended.
#[derive(Default)]
pub(crate) struct Calls {
    open: Mutex<Open>,
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Open {
    calls: HashMap<u32, (Call, Waker)>,
    last: u32,
}

/// Which of them have been woken, and whom to tell.
#[derive(Default)]
struct Ready(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    calls: VecDeque<u32>,
    tick: Option<Tick>,
}

impl Calls {
    /// Its answer, or that it goes on.
    pub(crate) fn start(&self, call: impl Future<Output = Told> + Send + 'static) -> Told {
        let mut open = lock(&self.open);
        let number = open.next();
        let waker = Waker::from(Arc::new(Woke {
            call: number,
            ready: self.ready.clone(),
        }));
        let mut call: Call = Box::pin(call);
        match poll(&mut call, &waker) {
            Poll::Ready(told) => told,
            Poll::Pending => {
                open.calls.insert(number, (call, waker));
                Told::later(number)
            }
        }
    }

    /// The answer to one that has ended, if one has.
    pub(crate) fn take(&self) -> Told {
        let mut open = lock(&self.open);
        loop {
            let Some(number) = self.ready.lock().calls.pop_front() else {
                return Told::none();
            };
            let Some((call, waker)) = open.calls.get_mut(&number) else {
                continue;
            };
            if let Poll::Ready(told) = poll(call, waker) {
                open.calls.remove(&number);
                return told.to(number);
            }
        }
    }

    /// A promise that is kept when one has been woken; none where one has.
    pub(crate) fn tick<'a>(&self, env: &'a Env) -> Result<Option<Object<'a>>> {
        let mut woken = self.ready.lock();
        if !woken.calls.is_empty() {
            return Ok(None);
        }
        let (tick, promise) = env.create_deferred()?;
        woken.tick = Some(tick);
        Ok(Some(promise))
    }
}

/// One that panics has ended, too.
fn poll(call: &mut Call, waker: &Waker) -> Poll<Told> {
    let context = &mut Context::from_waker(waker);
    catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)))
        .unwrap_or_else(|_| Poll::Ready(Told::store_panicked()))
}

impl Open {
    /// Not 0, and of no call that is open.
    fn next(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.calls.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        lock(&self.0)
    }
}

struct Woke {
    call: u32,
    ready: Arc<Ready>,
}

impl Wake for Woke {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.ready.lock();
        woken.calls.push_back(self.call);
        let tick = woken.tick.take();
        drop(woken);
        if let Some(tick) = tick {
            tick.resolve(|_| Ok(()));
        }
    }
}

/// Nothing that is kept behind these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_call_that_fails_when_it_is_taken_has_ended_with_an_unknown_outcome() {
        let calls = Calls::default();
        let mut polls = 0;
        let begun = calls.start(poll_fn(move |context| {
            polls += 1;
            assert!(polls == 1, "a store that panics");
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let taken = calls.take();
        assert_eq!(
            taken.parts(),
            (begun.parts().0, Some(2)),
            "the store failed"
        );
        assert_eq!(calls.take().parts(), (0, None), "and no call is left");
    }
}
