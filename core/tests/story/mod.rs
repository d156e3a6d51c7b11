//! [`Story`]: one slot, one clock, and machines driven against `apply` with names that repeat.

#![allow(dead_code, unreachable_pub)] // each test target tells a part of it

use std::time::Duration;

use idemp::{
    Begin, Body, Decision, Fingerprint, Key, Lapse, LeaseCall, LeaseReply, LeaseToken, Machine,
    Owner, Policy, Replay, Resolution, Resolve, Resolved, Rev, Scope, Slot, SlotError, SlotKey,
    Stale, Step, Swapped, Timestamp, Verb, apply,
};

pub const MS: fn(u64) -> Duration = Duration::from_millis;
pub const AT: fn(u64) -> Timestamp = Timestamp::from_millis;

/// The payload that most stories are about, and another one.
pub const SAME: Fingerprint = Fingerprint::from_parts(Fingerprint::VERSION, [0x5a; 32]);
pub const OTHER: Fingerprint = Fingerprint::from_parts(Fingerprint::VERSION, [0x07; 32]);

pub const ALICE: Owner = Owner::from_bytes([0xa1; 16]);
pub const BOB: Owner = Owner::from_bytes([0xb0; 16]);
pub const CAROL: Owner = Owner::from_bytes([0xca; 16]);
pub const OPERATOR: Owner = Owner::from_bytes([0x09; 16]);

/// A lease of 100 ms, a ceiling of 250 ms, a retention of 1000 ms.
pub fn replay(lapse: Lapse) -> Policy {
    let policy = Policy::replay(MS(1000)).lease(MS(100)).ceiling(MS(250));
    policy.on_lapse(lapse).build().unwrap()
}

/// Like [`replay`], and the key is known as expired for another 500 ms.
pub fn with_tombstone() -> Policy {
    let policy = Policy::replay(MS(1000)).lease(MS(100)).ceiling(MS(250));
    policy.tombstone(MS(500)).build().unwrap()
}

/// Held for at most 1000 ms, with a lease of 100 ms and a ceiling of 250 ms.
pub fn while_active(lapse: Lapse) -> Policy {
    let policy = Policy::while_active(MS(1000)).lease(MS(100));
    policy.ceiling(MS(250)).on_lapse(lapse).build().unwrap()
}

pub fn slot_key() -> SlotKey {
    let scope = Scope::new(["tenant-7", "user-1"]).unwrap();
    SlotKey::new(&scope, &Key::new("final-1769660861").unwrap())
}

pub fn body(text: &str) -> Body {
    text.as_bytes().into()
}

/// One slot and its store's clock.
#[derive(Clone)]
pub struct Story {
    pub slot: Option<Slot>,
    pub now: u64,
    pub policy: Policy,
    /// How many questions the store was asked.
    pub trips: usize,
    drawn: u8,
}

impl Story {
    /// An empty slot at 10 s.
    pub fn under(policy: Policy) -> Self {
        Self {
            slot: None,
            now: 10_000,
            policy,
            trips: 0,
            drawn: 0,
        }
    }

    pub fn wait(&mut self, millis: u64) -> &mut Self {
        self.now += millis;
        self
    }

    pub fn fresh(&mut self) -> Rev {
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes[15] = self.drawn;
        Rev::from_bytes(bytes)
    }

    pub fn drive<M: Machine>(&mut self, machine: &mut M) -> M::Done {
        self.drive_losing_answers(0, machine)
    }

    /// The store does what it is asked; of its first answers those do not arrive whose bit is set
    /// in `lost`, the first answer's being the lowest.
    pub fn drive_losing_answers<M: Machine>(&mut self, lost: u32, machine: &mut M) -> M::Done {
        let mut lost = lost;
        let mut step = machine.start(self.fresh());
        loop {
            let Step::Ask(swap) = step else { break };
            let reply: Swapped = apply(&mut self.slot, &swap, AT(self.now));
            self.trips += 1;
            assert!(self.trips < 200, "the machine asks without end");
            let fresh = self.fresh();
            step = if lost & 1 == 1 {
                machine.start(fresh)
            } else {
                machine.on_reply(reply, fresh)
            };
            lost >>= 1;
        }
        match step {
            Step::Done(done) => done,
            Step::Ask(_) => unreachable!(),
        }
    }

    pub fn begin_as(&mut self, owner: Owner, fingerprint: Fingerprint) -> Decision {
        self.begin_under(self.policy, owner, fingerprint).unwrap()
    }

    pub fn begin_under(
        &mut self,
        policy: Policy,
        owner: Owner,
        fingerprint: Fingerprint,
    ) -> Result<Decision, SlotError> {
        self.drive(&mut Begin::new(slot_key(), fingerprint, policy, owner))
    }

    /// `begin` with the same payload, which has to be a MISS.
    pub fn lease_of(&mut self, owner: Owner) -> LeaseToken {
        match self.begin_as(owner, SAME) {
            Decision::Miss(token) => token,
            other => panic!("expected a lease, got {other:?}"),
        }
    }

    pub fn call(&mut self, token: &LeaseToken, verb: Verb) -> LeaseReply {
        self.drive(&mut LeaseCall::new(token.clone(), verb))
            .unwrap()
    }

    /// A verb that has to leave the owner its lease.
    pub fn held(&mut self, token: &LeaseToken, verb: Verb) -> LeaseToken {
        match self.call(token, verb) {
            LeaseReply::Held(token) => token,
            other => panic!("expected the lease to go on, got {other:?}"),
        }
    }

    pub fn finish(&mut self, token: &LeaseToken, outcome: &str) -> LeaseReply {
        self.call(token, Verb::Finish(body(outcome)))
    }

    pub fn resolve(&mut self, resolution: Resolution) -> Resolved {
        let policy = self.policy;
        self.drive(&mut Resolve::new(slot_key(), resolution, policy, OPERATOR))
            .unwrap()
    }

    /// The stored outcome that a duplicate gets.
    pub fn hit(&mut self) -> String {
        match self.begin_as(CAROL, SAME) {
            Decision::Hit(replay) => text(&replay),
            other => panic!("expected a replay, got {other:?}"),
        }
    }

    pub fn lease_until(&self) -> u64 {
        self.slot.as_ref().unwrap().lease_until.as_millis()
    }

    pub fn gone_at(&self) -> u64 {
        self.slot.as_ref().unwrap().gone_at.as_millis()
    }
}

pub fn text(replay: &Replay) -> String {
    String::from_utf8(replay.bytes().to_vec()).unwrap()
}

/// Stale, with the outcome of the owner that won.
pub fn winner(reply: &LeaseReply) -> Option<String> {
    match reply {
        LeaseReply::Stale(Stale { winner }) => winner.as_ref().map(text),
        other => panic!("expected stale, got {other:?}"),
    }
}
