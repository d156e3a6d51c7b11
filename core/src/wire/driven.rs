//! A call that is driven where it arrives: for a host whose store is native, too.
//!
//! One crossing instead of one for each step. The call is that of functions 3 and 4, and so is the
//! answer; the bodies that the marks stand for come and go beside them.

use super::Refused;
use super::call::{Call, Told};
use super::codec::{Reader, Writer};
use crate::body::Body;
use crate::decision::Decision;
use crate::error::{Error, StoreError};
use crate::idempotency::Idempotency;
use crate::slot::{Put, Swap, Swapped};
use crate::store::{AsyncStore, Store};

/// A call with its bodies.
pub struct Driven {
    call: Call,
    bodies: Bodies,
}

/// What a host gets back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As [`call`](super::call) gives it: 1 and what was done, or 0 and what is wrong.
    pub bytes: Vec<u8>,
    /// What mark 2 stands for, if it is among the bytes.
    pub body: Option<Body>,
}

impl Driven {
    /// Reads a call, without the fresh bytes before it. Mark 1 stands for `own`, the body of the
    /// verb or of the resolution; mark 3 for `known`, what the token says was published.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(call: &[u8], own: Body, known: Body) -> Result<Self, Refused> {
        let bodies = Bodies {
            own,
            known,
            lies: None,
        };
        let mut from = Reader::new(call);
        let mut call = Call::read(&mut from, false);
        from.end()?;
        call.embody(|mark| bodies.of(mark))?;
        Ok(Self { call, bodies })
    }

    /// Drives it to its end.
    ///
    /// # Errors
    /// [`StoreError`]: the outcome is not known.
    pub fn drive<S: Store>(self, idem: &Idempotency<S>) -> Result<Answer, StoreError> {
        let bodies = self.bodies;
        match self.call {
            Call::Begin(mut begin) => answered(Decision::or_busy(idem.drive(&mut begin)), bodies),
            Call::Lease(mut lease) => answered(idem.drive(&mut lease), bodies),
            Call::Resolve(mut resolve) => answered(idem.drive(&mut resolve), bodies),
            Call::Peek(mut peek) => answered(idem.drive(&mut peek), bodies),
        }
    }

    /// [`Driven::drive`] on a store that is awaited.
    ///
    /// # Errors
    /// [`StoreError`]: the outcome is not known.
    pub async fn drive_async<S>(self, idem: &Idempotency<S>) -> Result<Answer, StoreError>
    where
        S: AsyncStore + 'static,
    {
        let bodies = self.bodies;
        match self.call {
            Call::Begin(mut begin) => answered(
                Decision::or_busy(idem.drive_async(&mut begin).await),
                bodies,
            ),
            Call::Lease(mut lease) => answered(idem.drive_async(&mut lease).await, bodies),
            Call::Resolve(mut resolve) => answered(idem.drive_async(&mut resolve).await, bodies),
            Call::Peek(mut peek) => answered(idem.drive_async(&mut peek).await, bodies),
        }
    }
}

/// Reads a question to a store: the framed name of the slot, then a `swap`. Mark 1 stands for `own`.
///
/// # Errors
/// [`Refused`].
pub fn read_swap(question: &[u8], own: Body) -> Result<Swap, Refused> {
    let mut from = Reader::new(question);
    let mut swap = from.swap();
    from.end()?;
    if let Put::Slot(new) = &mut swap.put {
        match new.body.first() {
            None => {}
            Some(1) => new.body = own,
            Some(_) => return Err(Refused::MALFORMED),
        }
    }
    Ok(swap)
}

/// A store's answer: 1, then a `reply`. Mark 2 stands for the body.
#[must_use]
pub fn swapped(reply: &Swapped) -> Answer {
    let mut out = Writer::with(Bodies::default());
    out.byte(1);
    out.reply(reply);
    out.into_answer()
}

/// A question that was refused.
impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let mut out = Writer::new();
        out.refused(refused);
        out.into_answer()
    }
}

fn answered<T: Told>(done: Result<T, Error>, bodies: Bodies) -> Result<Answer, StoreError> {
    match done {
        Ok(told) => {
            let mut out = Writer::with(bodies);
            out.byte(1);
            told.tell(&mut out);
            Ok(out.into_answer())
        }
        Err(Error::Store(error)) => Err(error),
        Err(Error::Slot(error)) => Ok(Refused::from(error).into()),
        // No payload is made here.
        Err(Error::Payload(_)) => Ok(Refused::MALFORMED.into()),
    }
}

/// What the marks stand for.
#[derive(Default)]
pub(super) struct Bodies {
    own: Body,
    known: Body,
    lies: Option<Body>,
}

impl Bodies {
    fn of(&self, mark: u8) -> Result<Body, Refused> {
        match mark {
            1 => Ok(self.own.clone()),
            3 => Ok(self.known.clone()),
            _ => Err(Refused::MALFORMED),
        }
    }

    pub(super) fn mark(&mut self, body: &Body) -> u8 {
        if body.is_empty() {
            0
        } else if body.is(&self.own) {
            1
        } else if body.is(&self.known) {
            3
        } else {
            self.lies = Some(body.clone());
            2
        }
    }

    pub(super) fn lies(self) -> Option<Body> {
        self.lies
    }
}
