//! The queue before the one writer: who leads, who waits, and what is committed together.
//!
//! A caller that finds nobody writing leads: it commits on its own thread and waits for nothing.
//! Whoever comes meanwhile waits with a [`Ticket`], and the writer's thread then takes all that have
//! gathered into one transaction. There is no timer: a group is what came during the commit before,
//! and who comes before its own commit begins still joins it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use idemp::{Put, Swap, Swapped};

use crate::error::{Failure, QueueFull};

/// At most so many swaps in a transaction, and so many bytes of outcomes: a group is not to keep
/// those behind it waiting for long.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 4 << 20;

pub(crate) type Answer = Result<Swapped, Failure>;

pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
    patience: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Ticket>>,
    chores: Chores,
    leader: Leader,
    closed: bool,
}

/// Who has the writer.
#[derive(Default, PartialEq, Eq)]
enum Leader {
    #[default]
    Nobody,
    Caller,
    Thread,
}

/// What the writer's thread does between groups, so that no caller waits for it.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chores {
    /// Remove some of what is gone.
    pub(crate) purge: bool,
    /// Bring the last of the log into the file, so that the log begins anew.
    pub(crate) checkpoint: bool,
    /// The same, and wait for whoever is in the way: the log grows faster than it is brought in.
    pub(crate) restart: bool,
}

/// What is next for the writer's thread.
pub(crate) enum Next {
    Group(Group),
    Chores(Chores),
    Stop,
}

impl Queue {
    pub(crate) fn new(limit: usize, patience: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            limit,
            patience,
        }
    }

    /// The right to write on this thread, where nobody has it.
    pub(crate) fn lead(&self) -> Result<Option<Lead<'_>>, Failure> {
        let mut state = self.lock();
        if state.closed {
            return Err(Failure::Closed);
        }
        Ok((state.leader == Leader::Nobody).then(|| {
            state.leader = Leader::Caller;
            Lead(self)
        }))
    }

    /// Waits for a group.
    pub(crate) fn enter(&self, swap: &Swap) -> Result<Arc<Ticket>, Failure> {
        let ticket = Arc::new(Ticket::new(swap.clone()));
        let mut state = self.lock();
        if state.closed {
            return Err(Failure::Closed);
        }
        if state.waiting.len() >= self.limit {
            return Err(Failure::QueueFull(QueueFull));
        }
        state.waiting.push_back(ticket.clone());
        self.lead_on(state);
        Ok(ticket)
    }

    pub(crate) fn ask_for(&self, chores: Chores) {
        let mut state = self.lock();
        state.chores.purge |= chores.purge;
        state.chores.checkpoint |= chores.checkpoint;
        state.chores.restart |= chores.restart;
        self.lead_on(state);
    }

    /// For the writer's thread: blocks until there is something to do.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if state.leader == Leader::Thread {
                // Chores first: under load there is always another group.
                let chores = std::mem::take(&mut state.chores);
                if chores != Chores::default() {
                    return Next::Chores(chores);
                }
                let mut group = Group::default();
                group.gather(&mut state.waiting, self.patience);
                if !group.waiting.is_empty() {
                    return Next::Group(group);
                }
                state.leader = Leader::Nobody;
            }
            if state.closed && state.leader == Leader::Nobody {
                return Next::Stop;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// From now on nobody enters; who waits is still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes who waits into a group that is not committed yet. For whoever leads.
    pub(crate) fn join(&self, group: &mut Group) {
        group.gather(&mut self.lock().waiting, self.patience);
    }

    /// Where something is to be done and nobody leads, the thread shall.
    fn lead_on(&self, mut state: MutexGuard<'_, State>) {
        let idle = state.waiting.is_empty() && state.chores == Chores::default();
        if !idle && state.leader == Leader::Nobody {
            state.leader = Leader::Thread;
            drop(state);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock; were it so, the queue would still be whole.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The right to write, until it is dropped.
pub(crate) struct Lead<'a>(&'a Queue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.leader = Leader::Nobody;
        if state.closed {
            self.0.changed.notify_all();
        }
        self.0.lead_on(state);
    }
}

/// What is committed together. Who has no answer when it is dropped is told that it is unknown.
#[derive(Default)]
pub(crate) struct Group {
    waiting: Vec<Arc<Ticket>>,
    bytes: usize,
}

impl Group {
    pub(crate) fn swaps(&self) -> Vec<&Swap> {
        self.waiting.iter().map(|ticket| &ticket.swap).collect()
    }

    pub(crate) fn swap(&self, at: usize) -> Option<&Swap> {
        self.waiting.get(at).map(|ticket| &ticket.swap)
    }

    pub(crate) fn answer(mut self, answers: Vec<Answer>) {
        // All answers lie there before anybody is woken: who wakes up contends for the cores.
        let laid = std::mem::take(&mut self.waiting).into_iter().zip(answers);
        let wakers: Vec<_> = laid.map(|(ticket, answer)| ticket.lay(answer)).collect();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn gather(&mut self, waiting: &mut VecDeque<Arc<Ticket>>, patience: Duration) {
        while self.waiting.len() < GROUP && self.bytes < GROUP_BYTES {
            let Some(ticket) = waiting.pop_front() else {
                break;
            };
            // The group before it waited for another process until its own patience ended.
            if ticket.asked_at.elapsed() > patience {
                ticket.answer(Err(Failure::Waited));
                continue;
            }
            if let Put::Slot(new) = &ticket.swap.put {
                self.bytes += new.body.len();
            }
            self.waiting.push(ticket);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for ticket in &self.waiting {
            ticket.answer(Err(Failure::Waited));
        }
    }
}

/// A swap that waits for its group, and the place for its answer.
pub(crate) struct Ticket {
    swap: Swap,
    asked_at: Instant,
    place: Mutex<Place>,
}

enum Place {
    Empty(Option<Waker>),
    Answered(Answer),
    Taken,
}

impl Ticket {
    fn new(swap: Swap) -> Self {
        Self {
            swap,
            asked_at: Instant::now(),
            place: Mutex::new(Place::Empty(None)),
        }
    }

    /// Blocks until the answer is there, or for as long as `bound`.
    pub(crate) fn wait(&self, bound: Duration) -> Answer {
        thread_local! {
            static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        }
        let until = Instant::now() + bound;
        loop {
            let polled = WAKER.with(|waker| self.poll(&mut Context::from_waker(waker)));
            let left = until.saturating_duration_since(Instant::now());
            match polled {
                Poll::Ready(answer) => return answer,
                Poll::Pending if left.is_zero() => return Err(Failure::Waited),
                Poll::Pending => std::thread::park_timeout(left),
            }
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Answer> {
        let mut place = self.place();
        match std::mem::replace(&mut *place, Place::Taken) {
            Place::Answered(answer) => Poll::Ready(answer),
            Place::Empty(_) => {
                *place = Place::Empty(Some(context.waker().clone()));
                Poll::Pending
            }
            Place::Taken => Poll::Pending,
        }
    }

    fn answer(&self, answer: Answer) {
        if let Some(waker) = self.lay(answer) {
            waker.wake();
        }
    }

    /// Gives whom to wake.
    fn lay(&self, answer: Answer) -> Option<Waker> {
        match std::mem::replace(&mut *self.place(), Place::Answered(answer)) {
            Place::Empty(waker) => waker,
            Place::Answered(_) | Place::Taken => None,
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A ticket that is awaited. Dropped, it leaves its swap in the queue.
pub(crate) struct Awaited(pub(crate) Arc<Ticket>);

impl Future for Awaited {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.0.poll(context)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
