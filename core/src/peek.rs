//! [`Peek`]: what lies in a slot, for somebody who wants to know and not to claim: a page that was
//! loaded again, an operator.

use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::error::SlotError;
use crate::head::{Record, State};
use crate::key::SlotKey;
use crate::machine::{Machine, Step};
use crate::policy::Policy;
use crate::slot::{Rev, Swap, Swapped, Verdict};
use crate::token::LeaseToken;

/// Asks what lies in a slot, and changes nothing. A [`Machine`].
///
/// It knows no fingerprint, and its answer holds a token that acts for the owner. So it is for
/// whoever may end the owner's work: never answer a stranger's request with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peek {
    pub(crate) slot: SlotKey,
    pub(crate) policy: Policy,
}

/// What lies in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peeked {
    /// What became of the key so far.
    pub state: Progress,
    /// Whether a lease is live.
    pub live: bool,
    /// What was published or, where it is completed, the outcome.
    pub body: Option<Body>,
    /// Acts for the owner, under the policy of the [`Peek`].
    pub token: LeaseToken,
}

/// What became of a key so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// An owner has a lease, live or lapsed.
    InProgress,
    /// It was done, and the outcome is stored.
    Completed,
    /// It was done, and the outcome could not be stored.
    Unstorable,
    /// Its owner gave it back after a failure.
    Released,
    /// What came of it is not known.
    Unknown,
    /// It was done, and its outcome is not replayed any more.
    Expired,
}

impl Peek {
    /// Looks into `slot`. The token in the answer goes by `policy`.
    #[must_use]
    pub fn new(slot: SlotKey, policy: Policy) -> Self {
        Self { slot, policy }
    }
}

type Looked = Result<Option<Peeked>, SlotError>;

impl Machine for Peek {
    type Done = Looked;

    fn start(&mut self, _fresh: Rev) -> Step<Looked> {
        Step::Ask(Swap::read(self.slot.clone()))
    }

    fn on_reply(&mut self, reply: Swapped, _fresh: Rev) -> Step<Looked> {
        let now = reply.now;
        let slot = match reply.verdict {
            Verdict::Lost(Some(slot)) => slot,
            Verdict::Lost(None) | Verdict::Won => return Step::Done(Ok(None)),
        };
        let record = match Record::decode(&slot.head) {
            Ok(record) => record,
            Err(error) => return Step::Done(Err(error)),
        };
        let state = match record.state {
            State::Completed | State::Unstorable if record.is_expired(&slot, now) => {
                Progress::Expired
            }
            State::Completed => Progress::Completed,
            State::Unstorable => Progress::Unstorable,
            State::InProgress => Progress::InProgress,
            State::Released => Progress::Released,
            State::Unknown => Progress::Unknown,
        };
        let told = record.published || state == Progress::Completed;
        Step::Done(Ok(Some(Peeked {
            state,
            live: state == Progress::InProgress && now < slot.lease_until,
            body: told.then(|| slot.body.clone()),
            token: LeaseToken::found(slot, &record, self.slot.clone(), self.policy, now),
        })))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::FakeClock;
    use crate::{Begin, Fingerprint, Key, LeaseCall, MemoryStore, Owner, Scope, Slot, Store, Verb};

    struct Room {
        store: MemoryStore,
        clock: FakeClock,
        fresh: u8,
    }

    impl Room {
        fn new() -> Self {
            let clock = FakeClock::default();
            Self {
                store: MemoryStore::with(clock.clone(), 10),
                clock,
                fresh: 0,
            }
        }

        fn run<M: Machine>(&mut self, mut machine: M) -> M::Done {
            let mut rev = || {
                self.fresh += 1;
                Rev::from_bytes([self.fresh; 16])
            };
            let mut step = machine.start(rev());
            loop {
                match step {
                    Step::Done(done) => break done,
                    Step::Ask(swap) => {
                        step = machine.on_reply(self.store.swap(&swap).unwrap(), rev());
                    }
                }
            }
        }

        fn peek(&mut self) -> Option<Peeked> {
            self.run(Peek::new(slot(), Policy::default())).unwrap()
        }

        fn say(&mut self, token: &LeaseToken, verb: Verb) {
            let _ = self.run(LeaseCall::new(token.clone(), verb)).unwrap();
        }
    }

    fn slot() -> SlotKey {
        SlotKey::new(&Scope::new(["s"]).unwrap(), &Key::new("k").unwrap())
    }

    fn begin(room: &mut Room) -> LeaseToken {
        let fingerprint = Fingerprint::of_json(b"{}");
        let owner = Owner::from_bytes([9; 16]);
        let begin = Begin::new(slot(), fingerprint, Policy::default(), owner);
        match room.run(begin).unwrap() {
            crate::Decision::Miss(token) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_tells_every_state_and_claims_nothing() {
        let mut room = Room::new();
        assert_eq!(room.peek(), None);
        assert_eq!(room.peek(), None, "a look leaves nothing behind");
        let token = begin(&mut room);
        let seen = room.peek().unwrap();
        assert_eq!((seen.state, seen.live), (Progress::InProgress, true));
        assert_eq!(seen.body, None);
        room.say(&token, Verb::Publish(b"task"[..].into()));
        let seen = room.peek().unwrap();
        assert_eq!(seen.body.as_deref(), Some(&b"task"[..]));
        room.clock.advance(Duration::from_secs(60));
        assert!(!room.peek().unwrap().live, "the lease has lapsed");
        room.say(&token, Verb::Release);
        let seen = room.peek().unwrap();
        assert_eq!((seen.state, seen.live), (Progress::Released, false));
        room.say(&token, Verb::Finish(b"done"[..].into()));
        let seen = room.peek().unwrap();
        assert_eq!(seen.state, Progress::Completed);
        assert_eq!(seen.body.as_deref(), Some(&b"done"[..]));
        room.clock.advance(Policy::DEFAULT_RETENTION);
        assert_eq!(room.peek(), None);
    }

    #[test]
    fn its_token_acts_for_the_owner() {
        let mut room = Room::new();
        let _ = begin(&mut room);
        let active = Policy::while_active(Duration::from_secs(9))
            .build()
            .unwrap();
        let found = room.run(Peek::new(slot(), active)).unwrap().unwrap();
        room.say(&found.token, Verb::Finish(Body::default()));
        assert_eq!(room.peek(), None, "ended under the policy of the look");
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_vacancy() {
        let mut room = Room::new();
        let _ = begin(&mut room);
        let Verdict::Lost(Some(lies)) = room.store.swap(&Swap::read(slot())).unwrap().verdict
        else {
            panic!("it lies there");
        };
        let damaged = Slot {
            head: crate::Head::from_bytes(b"?").unwrap(),
            ..lies
        };
        let reply = Swapped {
            now: crate::Timestamp::from_millis(1),
            verdict: Verdict::Lost(Some(damaged)),
        };
        let mut peek = Peek::new(slot(), Policy::default());
        let _ = peek.start(Rev::NIL);
        let step = peek.on_reply(reply, Rev::NIL);
        assert!(matches!(step, Step::Done(Err(_))));
    }
}
