//! [`Client`]: what a client knows: a machine on its way, a lease, or nothing.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;

use idemp::{
    Begin, Decision, Fingerprint, LeaseCall, LeaseReply, LeaseToken, Machine, Owner, Resolve,
    Resolved, Rev, Slot, SlotError, Step, Swap, Swapped, Verb,
};

use crate::contract::{Act, Deed, Note, OwnerId, Payload};
use crate::mutant::{Message, Mutant};

#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    pub(crate) doing: Doing,
    pub(crate) begun: u8,
    pub(crate) extras: u8,
    pub(crate) asks: u32,
    /// Of all the above.
    pub(crate) hash: u64,
}

#[derive(Debug, Clone, Default)]
#[allow(clippy::large_enum_variant)] // a client is shared between worlds, not copied
pub(crate) enum Doing {
    #[default]
    Idle,
    Asking(Errand, Message),
    Holding(Held),
    Ended(Held, Act),
}

#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) place: usize,
    pub(crate) payload: Payload,
    pub(crate) owner: OwnerId,
    pub(crate) token: LeaseToken,
}

/// A machine on its way, with the revision of its last ask.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) machine: AMachine,
    pub(crate) last: Option<Rev>,
    /// The lease that it is about.
    pub(crate) held: Option<Held>,
}

#[derive(Debug, Clone)]
pub(crate) enum AMachine {
    Begin(Begin),
    Call(LeaseCall),
    Resolve(Resolve),
}

#[derive(Debug)]
pub(crate) enum Answer {
    Begin(Result<Decision, SlotError>),
    Call(Result<LeaseReply, SlotError>),
    Resolve(Result<Resolved, SlotError>),
}

impl AMachine {
    pub(crate) fn step(&mut self, reply: Option<Swapped>, fresh: Rev) -> Step<Answer> {
        fn run<M: Machine>(
            machine: &mut M,
            reply: Option<Swapped>,
            fresh: Rev,
            answer: fn(M::Done) -> Answer,
        ) -> Step<Answer> {
            let step = match reply {
                None => machine.start(fresh),
                Some(reply) => machine.on_reply(reply, fresh),
            };
            match step {
                Step::Ask(swap) => Step::Ask(swap),
                Step::Done(done) => Step::Done(answer(done)),
            }
        }
        match self {
            Self::Begin(machine) => run(machine, reply, fresh, Answer::Begin),
            Self::Call(machine) => run(machine, reply, fresh, Answer::Call),
            Self::Resolve(machine) => run(machine, reply, fresh, Answer::Resolve),
        }
    }
}

/// The fingerprint of a payload.
pub(crate) fn fingerprint(payload: Payload) -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [payload; 32])
}

/// The token of an owner.
pub(crate) fn owner_token(owner: OwnerId) -> Owner {
    let mut bytes = [0x0e; 16];
    bytes[14..].copy_from_slice(&owner.to_be_bytes());
    Owner::from_bytes(bytes)
}

/// The verb of an act.
pub(crate) fn verb(act: Act) -> Verb {
    let body = |note: Note| note.to_be_bytes()[..].into();
    match act {
        Act::Finish(note) => Verb::Finish(body(note)),
        Act::FinishUnstorable => Verb::FinishUnstorable,
        Act::Fence => Verb::Fence,
        Act::Renew => Verb::Renew,
        Act::Publish(note) => Verb::Publish(body(note)),
        Act::Release => Verb::Release,
        Act::Forget => Verb::Forget,
    }
}

impl Client {
    /// After every change.
    pub(crate) fn rehash(&mut self) {
        let mut hash = DefaultHasher::new();
        (self.begun, self.extras, self.asks).hash(&mut hash);
        match &self.doing {
            Doing::Idle => 0u8.hash(&mut hash),
            Doing::Asking(errand, message) => {
                1u8.hash(&mut hash);
                // Without what was published, which a token does not carry in its text: the
                // question that is under way holds it.
                let written = match &errand.machine {
                    AMachine::Begin(machine) => serde_json::to_writer(Into(&mut hash), machine),
                    AMachine::Call(machine) => serde_json::to_writer(Into(&mut hash), machine),
                    AMachine::Resolve(machine) => serde_json::to_writer(Into(&mut hash), machine),
                };
                written.is_ok().hash(&mut hash);
                errand.last.hash(&mut hash);
                hash_message(message, &mut hash);
            }
            Doing::Holding(held) => {
                2u8.hash(&mut hash);
                held.hash(&mut hash);
            }
            Doing::Ended(held, act) => {
                (3u8, act).hash(&mut hash);
                held.hash(&mut hash);
            }
        }
        self.hash = hash.finish();
    }
}

impl Held {
    fn hash(&self, hash: &mut DefaultHasher) {
        (self.place, self.payload, self.owner).hash(hash);
        let written = serde_json::to_writer(Into(hash), &self.token);
        written.is_ok().hash(hash);
        self.token.published().map(|body| body.to_vec()).hash(hash);
    }
}

impl Errand {
    pub(crate) fn new(machine: AMachine, held: Option<Held>) -> Self {
        Self {
            machine,
            last: None,
            held,
        }
    }
}

impl Message {
    pub(crate) fn new(
        place: usize,
        swap: Swap,
        deed: Deed,
        read_at: u64,
        read: Option<Slot>,
    ) -> Self {
        Self {
            place,
            swap,
            deed,
            read_at,
            read,
            compared: false,
        }
    }

    pub(crate) fn leaving(
        mutant: Mutant,
        place: usize,
        mut swap: Swap,
        deed: Deed,
        read_at: u64,
        read: Option<Slot>,
    ) -> Self {
        mutant.leaves(&mut swap, &deed);
        // Only one of the mutants looks at what was read.
        let read = read.filter(|_| mutant == Mutant::TakeOverByOwner);
        Self::new(place, swap, deed, read_at, read)
    }
}

pub(crate) fn hash_message(message: &Message, hash: &mut DefaultHasher) {
    (
        message.place,
        message.deed,
        message.read_at,
        message.compared,
    )
        .hash(hash);
    match message.swap.expect {
        idemp::Expect::Vacant => 0u8.hash(hash),
        idemp::Expect::Rev(rev) => (1u8, rev).hash(hash),
    }
    match &message.swap.put {
        idemp::Put::Remove => 0u8.hash(hash),
        idemp::Put::Slot(new) => {
            (1u8, new.rev, new.lease_for, new.keep_for).hash(hash);
            (new.head.as_bytes(), &new.body[..]).hash(hash);
        }
    }
    if let Some(read) = &message.read {
        (read.rev, read.head.as_bytes()).hash(hash);
    }
}

/// Feeds what is written to a hash.
struct Into<'a, H: Hasher>(&'a mut H);

impl<H: Hasher> io::Write for Into<'_, H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
