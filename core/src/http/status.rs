//! What becomes of the slot when the handler has answered: [`StatusTable`].

use thiserror::Error;

/// What becomes of the slot after an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The response is stored, and every retry gets it.
    Remember,
    /// The key is free again, for the same payload only: the work may have begun.
    Release,
    /// The key is free for any payload: the request was refused before anything was done.
    Forget,
    /// Retries are told that the outcome is unknown, until somebody resolves it.
    Fence,
}

/// The disposition by status, for one route.
///
/// | the handler | by default |
/// |---|---|
/// | answers 2xx or 3xx | [`Remember`](Disposition::Remember) |
/// | answers 4xx | [`Forget`](Disposition::Forget) |
/// | answers 5xx | [`Release`](Disposition::Release) |
/// | panics or throws | [`Release`](Disposition::Release) |
/// | answers 1xx, or a status outside of 100 to 599 | [`Fence`](Disposition::Fence), always |
///
/// A 1xx is no final response, and a number outside of 100 to 599 is no status: neither can be
/// replayed, and the work may be done.
///
/// ```
/// use idemp::http::{Disposition, StatusTable};
///
/// let table = StatusTable::builder()
///     .class(5, Disposition::Fence)
///     .status(503, Disposition::Release)
///     .build()?;
/// assert_eq!(table.disposition(500), Disposition::Fence);
/// assert_eq!(table.disposition(503), Disposition::Release);
/// assert_eq!(table.disposition(201), Disposition::Remember);
/// # Ok::<(), idemp::http::StatusTableError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusTable {
    /// For 2xx, 3xx, 4xx and 5xx.
    classes: [Disposition; 4],
    /// The later of two entries for one status counts.
    statuses: Vec<(u16, Disposition)>,
    thrown: Disposition,
}

impl StatusTable {
    /// Starts from the defaults.
    pub fn builder() -> StatusTableBuilder {
        StatusTableBuilder {
            table: Self::default(),
            error: None,
        }
    }

    /// What becomes of the slot after an answer with this status.
    #[must_use]
    pub fn disposition(&self, status: u16) -> Disposition {
        let single = self.statuses.iter().rev().find(|(s, _)| *s == status);
        match single {
            Some((_, disposition)) => *disposition,
            None if is_final(status) => self.classes[usize::from(status / 100) - 2],
            None => Disposition::Fence,
        }
    }

    /// What becomes of the slot after a handler that panicked or threw.
    #[must_use]
    pub fn disposition_of_throw(&self) -> Disposition {
        self.thrown
    }
}

impl Default for StatusTable {
    fn default() -> Self {
        use Disposition::{Forget, Release, Remember};
        Self {
            classes: [Remember, Remember, Forget, Release],
            statuses: Vec::new(),
            thrown: Release,
        }
    }
}

/// Makes a [`StatusTable`]. A single status beats its class, whichever is set first; of two
/// settings of the same, the later counts.
#[derive(Debug, Clone)]
#[must_use]
pub struct StatusTableBuilder {
    table: StatusTable,
    error: Option<StatusTableError>,
}

impl StatusTableBuilder {
    /// Sets a whole class by its first digit, 2 to 5.
    pub fn class(mut self, class: u8, disposition: Disposition) -> Self {
        match usize::from(class).checked_sub(2) {
            Some(i @ 0..=3) => self.table.classes[i] = disposition,
            _ => _ = self.error.get_or_insert(StatusTableError::Class { class }),
        }
        self
    }

    /// Sets one status, 200 to 599.
    pub fn status(mut self, status: u16, disposition: Disposition) -> Self {
        if is_final(status) {
            self.table.statuses.push((status, disposition));
        } else {
            self.error
                .get_or_insert(StatusTableError::Status { status });
        }
        self
    }

    /// Sets what a handler that panics or throws leaves behind. It has given no response, so
    /// there is nothing to remember; and [`Forget`](Disposition::Forget) is right only where it
    /// never throws after it has done something.
    pub fn throws(mut self, disposition: Disposition) -> Self {
        if disposition == Disposition::Remember {
            self.error
                .get_or_insert(StatusTableError::NothingToRemember);
        }
        self.table.thrown = disposition;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`StatusTableError`]: the first setting that makes no sense.
    pub fn build(self) -> Result<StatusTable, StatusTableError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.table),
        }
    }
}

/// Why a status table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StatusTableError {
    /// Not a class of final responses.
    #[error("{class} is not a class of final responses, which go from 2 to 5")]
    Class {
        /// What was given.
        class: u8,
    },
    /// Not the status of a final response.
    #[error("{status} is not the status of a final response, which go from 200 to 599")]
    Status {
        /// What was given.
        status: u16,
    },
    /// A handler that throws gives no response.
    #[error("a handler that throws leaves no response to remember")]
    NothingToRemember,
}

/// Whether this is the status of a final response (RFC 9110, section 15).
pub(super) fn is_final(status: u16) -> bool {
    (200..=599).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::Disposition::{Fence, Forget, Release, Remember};
    use super::*;

    #[test]
    fn every_status_has_the_written_default() {
        let table = StatusTable::default();
        for status in 0..=u16::MAX {
            let expected = match status {
                200..=399 => Remember,
                400..=499 => Forget,
                500..=599 => Release,
                _ => Fence,
            };
            assert_eq!(table.disposition(status), expected, "{status}");
        }
        assert_eq!(table.disposition_of_throw(), Release);
    }

    #[test]
    fn a_single_status_beats_its_class_in_either_order() {
        for builder in [
            StatusTable::builder()
                .class(4, Remember)
                .status(404, Release),
            StatusTable::builder()
                .status(404, Release)
                .class(4, Remember),
        ] {
            let table = builder.build().unwrap();
            assert_eq!(table.disposition(404), Release);
            assert_eq!(table.disposition(403), Remember);
            assert_eq!(table.disposition(500), Release);
        }
    }

    #[test]
    fn the_later_of_two_settings_counts() {
        let table = StatusTable::builder()
            .status(404, Release)
            .status(404, Fence)
            .class(5, Forget)
            .class(5, Fence)
            .throws(Forget)
            .throws(Fence)
            .build()
            .unwrap();
        assert_eq!(table.disposition(404), Fence);
        assert_eq!(table.disposition(599), Fence);
        assert_eq!(table.disposition_of_throw(), Fence);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for class in [0, 1, 6, 255] {
            let built = StatusTable::builder().class(class, Remember).build();
            assert_eq!(built, Err(StatusTableError::Class { class }));
        }
        for status in [0, 100, 101, 199, 600, 65535] {
            let built = StatusTable::builder().status(status, Remember).build();
            assert_eq!(built, Err(StatusTableError::Status { status }));
        }
        let built = StatusTable::builder().throws(Remember).build();
        assert_eq!(built, Err(StatusTableError::NothingToRemember));
    }

    #[test]
    fn the_first_mistake_is_reported() {
        let built = StatusTable::builder()
            .class(9, Fence)
            .status(1, Fence)
            .build();
        assert_eq!(built, Err(StatusTableError::Class { class: 9 }));
    }
}
