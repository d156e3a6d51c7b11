//! [`Limits`]: what a store cannot do, and says so.

/// What a store cannot do. Every limit takes a test away or turns it round, so say only what is
/// truly so: the default is a store that can do everything.
///
/// ```
/// use idemp_conformance::Limits;
///
/// let limits = Limits::default().without_bound().of_bodies_up_to(512 * 1024);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Limits {
    pub(crate) never_steps_back: bool,
    pub(crate) stands_apart: bool,
    pub(crate) without_bound: bool,
    pub(crate) one_process: bool,
    pub(crate) body_bytes: Option<usize>,
}

impl Limits {
    /// The clock cannot be moved backwards.
    #[must_use]
    pub fn never_steps_back(mut self) -> Self {
        self.never_steps_back = true;
        self
    }

    /// The clock cannot be moved at all: the suite waits for real time, in short spans.
    #[must_use]
    pub fn clock_stands_apart(mut self) -> Self {
        self.stands_apart = true;
        self.never_steps_back()
    }

    /// The store takes as many records as its disk or server does, and
    /// [`Room::capacity`](crate::Room::capacity) means nothing to it.
    #[must_use]
    pub fn without_bound(mut self) -> Self {
        self.without_bound = true;
        self
    }

    /// The records live in the memory of one process. There is no law about two, then.
    #[must_use]
    pub fn of_one_process(mut self) -> Self {
        self.one_process = true;
        self
    }

    /// A body has at most so many bytes. A larger one has to be refused by an error that asking
    /// again does not help against
    /// ([`StoreError::is_retryable`](idemp::StoreError::is_retryable)), and to leave no trace.
    #[must_use]
    pub fn of_bodies_up_to(mut self, bytes: usize) -> Self {
        self.body_bytes = Some(bytes);
        self
    }
}
