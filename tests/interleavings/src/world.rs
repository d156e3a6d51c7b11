//! [`World`]: clients with real machines, slots changed by the real `apply`, messages that come
//! late, and time. Every step is judged by the [`Contract`].

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use idemp::{
    Begin, Decision, Expect, Fingerprint, LeaseCall, LeaseReply, LeaseToken, Machine, Owner,
    Policy, Resolution, Resolve, Resolved, Rev, Slot, SlotError, SlotKey, Step, Swap, Swapped,
    Timestamp, Verb, Verdict,
};

use crate::contract::{Act, Breach, Contract, Deed, Note, OwnerId, Payload, Stands, Terms};
use crate::mutant::{Message, Mutant};

/// What can happen at most.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The slots.
    pub places: Vec<SlotKey>,
    /// The policies that clients come with.
    pub policies: Vec<Policy>,
    /// The payloads that clients come with.
    pub payloads: Vec<Payload>,
    /// How many clients.
    pub clients: usize,
    /// How often each of them begins.
    pub begins: u8,
    /// How often each lease is renewed or published under.
    pub extras: u8,
    /// Events of the whole run.
    pub budget: Budget,
    /// How much time passes in a moment, in milliseconds.
    pub moment: u64,
    /// Time may pass until a retention ends.
    pub ends: bool,
    /// What is wrong with the protocol.
    pub mutant: Mutant,
    /// A store that is asked the same, and has to answer the same.
    pub mirror: Option<Mirror>,
}

/// How a store answers at a time; `None` where it fails.
pub type Ask = dyn Fn(&Swap, Timestamp) -> Option<Swapped> + Send + Sync;

/// A store to compare `apply` with.
#[derive(Clone)]
pub struct Mirror(pub Arc<Ask>);

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mirror")
    }
}

/// How often the rarer events may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The store does it, and the client gets an error.
    pub lost: u8,
    /// The client gets an error, and the message arrives later or never.
    pub late: u8,
    /// A client forgets everything.
    pub crashes: u8,
    /// Time passes.
    pub time: u8,
    /// A verb that has ended is repeated.
    pub repeats: u8,
    /// A token is handed to another client.
    pub handed: u8,
    /// An operator settles a slot.
    pub resolved: u8,
    /// The store's clock is set back.
    pub set_back: u8,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It takes effect; the client gets an error and asks again.
    AnswerLost,
    /// The client gets an error and asks again; the message is still on its way.
    Late,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A client begins.
    Begin {
        /// Which client.
        client: usize,
        /// Which slot.
        place: usize,
        /// Which payload.
        payload: Payload,
        /// Which of the policies.
        policy: usize,
        /// What becomes of its first message.
        fate: Fate,
    },
    /// A client uses its lease.
    Act {
        /// Which client.
        client: usize,
        /// What for.
        act: Act,
        /// What becomes of its first message.
        fate: Fate,
    },
    /// A client's message arrives.
    Deliver {
        /// Whose.
        client: usize,
        /// What becomes of it.
        fate: Fate,
    },
    /// A client repeats the verb that ended its lease.
    Repeat {
        /// Which client.
        client: usize,
    },
    /// A client forgets everything.
    Crash {
        /// Which client.
        client: usize,
    },
    /// A client's token goes to another one, as text.
    Hand {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// A message that was given up arrives.
    DeliverLate {
        /// Which of them.
        index: usize,
    },
    /// An operator settles a slot.
    Resolve {
        /// Which slot.
        place: usize,
        /// With an outcome.
        completed: bool,
    },
    /// Time passes.
    Moment,
    /// Time passes until the lease lapses.
    Lapse {
        /// On which slot.
        place: usize,
    },
    /// Time passes until the retention ends.
    Gone {
        /// On which slot.
        place: usize,
    },
    /// The store forgets what is gone.
    Purge {
        /// Which slot.
        place: usize,
    },
    /// The store's clock is set back by some moments.
    SetBack {
        /// How many.
        moments: u64,
    },
}

/// What was seen: a search that never sees a take-over shows nothing about take-overs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each is its name
pub enum Sight {
    FirstAttempt,
    SameLeaseAgain,
    TakeOver,
    ReleasedAndRetried,
    Replay,
    Conflict,
    InProgress,
    Unknown,
    LateFinishAccepted,
    FinishRepeated,
    Stale,
    StaleWithWinner,
    LateMessageDefeated,
    LateMessageWon,
    Resolved,
}

impl Sight {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every one, with its name.
    pub const ALL: [(Self, &str); 15] = [
        (Self::FirstAttempt, "first attempt"),
        (Self::SameLeaseAgain, "same lease again after a lost answer"),
        (Self::TakeOver, "take-over"),
        (Self::ReleasedAndRetried, "released and retried"),
        (Self::Replay, "replay"),
        (Self::Conflict, "conflict"),
        (Self::InProgress, "in progress"),
        (Self::Unknown, "unknown"),
        (Self::LateFinishAccepted, "late finish, accepted"),
        (Self::FinishRepeated, "finish repeated"),
        (Self::Stale, "late owner, stale"),
        (
            Self::StaleWithWinner,
            "late owner, given the winner's outcome",
        ),
        (Self::LateMessageDefeated, "late message, defeated"),
        (Self::LateMessageWon, "late message, in effect"),
        (Self::Resolved, "resolved by an operator"),
    ];
}

/// What a step tells, where somebody listens.
#[derive(Debug, Default)]
pub struct Told {
    /// How often each [`Sight`] was seen.
    pub sights: [u64; Sight::COUNT],
    /// What happened, in words.
    pub words: Option<String>,
}

impl Told {
    fn saw(&mut self, sight: Sight) {
        self.sights[sight as usize] += 1;
    }

    fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(all) = &mut self.words {
            let _ = write!(all, "{}{}", if all.is_empty() { "" } else { "; " }, words());
        }
    }
}

/// Everything there is at one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// The store's clock.
    pub now: u64,
    /// The slots.
    pub places: Vec<Arc<Place>>,
    clients: Vec<Arc<Client>>,
    late: Vec<Arc<Message>>,
    budget: Budget,
    /// Counts revisions where tokens travel; otherwise an owner counts its own.
    drawn: Option<u32>,
}

/// A slot, and what the contract knows of its key.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// What lies in the store.
    pub slot: Option<Slot>,
    /// What has to.
    pub contract: Contract,
}

#[derive(Debug, Clone, Default)]
struct Client {
    doing: Doing,
    begun: u8,
    extras: u8,
    asks: u32,
    /// Of all the above.
    hash: u64,
}

#[derive(Debug, Clone, Default)]
#[allow(clippy::large_enum_variant)] // a client is shared between worlds, not copied
enum Doing {
    #[default]
    Idle,
    Asking(Errand, Message),
    Holding(Held),
    Ended(Held, Act),
}

#[derive(Debug, Clone)]
struct Held {
    place: usize,
    payload: Payload,
    owner: OwnerId,
    token: LeaseToken,
}

/// A machine on its way, with the revision of its last ask.
#[derive(Debug, Clone)]
struct Errand {
    machine: AMachine,
    last: Option<Rev>,
    /// The lease that it is about.
    held: Option<Held>,
}

#[derive(Debug, Clone)]
enum AMachine {
    Begin(Begin),
    Call(LeaseCall),
    Resolve(Resolve),
}

#[derive(Debug)]
enum Answer {
    Begin(Result<Decision, SlotError>),
    Call(Result<LeaseReply, SlotError>),
    Resolve(Result<Resolved, SlotError>),
}

impl AMachine {
    fn step(&mut self, reply: Option<Swapped>, fresh: Rev) -> Step<Answer> {
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
pub fn fingerprint(payload: Payload) -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [payload; 32])
}

/// The token of an owner.
pub fn owner_token(owner: OwnerId) -> Owner {
    let mut bytes = [0x0e; 16];
    bytes[14..].copy_from_slice(&owner.to_be_bytes());
    Owner::from_bytes(bytes)
}

/// The verb of an act.
pub fn verb(act: Act) -> Verb {
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

impl World {
    /// Nothing happened so far.
    pub fn new(setup: &Setup) -> Self {
        let travels = setup.budget.handed > 0;
        Self {
            now: 1_000,
            places: vec![Arc::default(); setup.places.len()],
            clients: vec![Arc::default(); setup.clients],
            late: Vec::new(),
            budget: setup.budget,
            drawn: travels.then_some(0),
        }
    }

    /// Tells two worlds apart in which different things can happen or be said.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (self.now, self.budget, self.drawn).hash(&mut hash);
        for place in &self.places {
            place.fingerprint(&mut hash);
        }
        for client in &self.clients {
            client.hash.hash(&mut hash);
        }
        let late = self.late.iter().map(|message| {
            let mut hash = DefaultHasher::new();
            hash_message(message, &mut hash);
            hash.finish()
        });
        let mut late: Vec<u64> = late.collect();
        late.sort_unstable();
        late.hash(&mut hash);
        hash.finish()
    }

    /// What can happen next.
    pub fn events(&self, setup: &Setup) -> Vec<Event> {
        let mut events = Vec::new();
        let budget = &self.budget;
        // Whoever begins first, and with whatever payload: call it Alice, and the payload the first.
        let nobody_yet = self.clients.iter().all(|client| client.begun == 0);
        let payloads = &setup.payloads[..if nobody_yet { 1 } else { setup.payloads.len() }];
        let mut fates = vec![Fate::Answered];
        fates.extend((budget.lost > 0).then_some(Fate::AnswerLost));
        fates.extend((budget.late > 0).then_some(Fate::Late));
        for (client, state) in self.clients.iter().enumerate() {
            if nobody_yet && client > 0 {
                break;
            }
            // A client that will not begin again may as well never be heard of again.
            let matters = state.begun < setup.begins && !matches!(state.doing, Doing::Idle);
            if matters && budget.crashes > 0 {
                events.push(Event::Crash { client });
            }
            match &state.doing {
                Doing::Idle | Doing::Ended(..) if state.begun < setup.begins => {
                    for place in 0..setup.places.len() {
                        for &payload in payloads {
                            for policy in 0..setup.policies.len() {
                                events.extend(fates.iter().map(|&fate| Event::Begin {
                                    client,
                                    place,
                                    payload,
                                    policy,
                                    fate,
                                }));
                            }
                        }
                    }
                }
                Doing::Asking(..) => {
                    events.extend(fates.iter().map(|&fate| Event::Deliver { client, fate }));
                }
                Doing::Holding(held) => {
                    let note = held.owner << 3 | held.token.attempt() as Note;
                    let mut acts = vec![Act::Finish(note), Act::Release];
                    // A later attempt that forgets releases.
                    acts.extend((held.token.attempt() == 1).then_some(Act::Forget));
                    if setup.policies.iter().any(|p| Terms::from(p).fences()) {
                        acts.extend([Act::Fence, Act::FinishUnstorable]);
                    }
                    if state.extras < setup.extras {
                        acts.extend([Act::Renew, Act::Publish(note)]);
                    }
                    for act in acts {
                        events.extend(fates.iter().map(|&fate| Event::Act { client, act, fate }));
                    }
                    if budget.handed > 0 {
                        let idle = |to: &usize| matches!(self.clients[*to].doing, Doing::Idle);
                        let others = (0..setup.clients).filter(idle);
                        events.extend(others.map(|to| Event::Hand { from: client, to }));
                    }
                }
                Doing::Idle | Doing::Ended(..) => {}
            }
            if matches!(state.doing, Doing::Ended(..)) {
                events.push(Event::Repeat { client });
            }
        }
        events.extend((0..self.late.len()).map(|index| Event::DeliverLate { index }));
        for (place, state) in self.places.iter().enumerate() {
            let Some(slot) = &state.slot else { continue };
            if budget.resolved > 0 {
                events.extend([false, true].map(|completed| Event::Resolve { place, completed }));
            }
            let gone = slot.gone_at.as_millis() <= self.now;
            if gone {
                events.push(Event::Purge { place });
            } else if budget.time > 0 {
                if self.now < slot.lease_until.as_millis() {
                    events.push(Event::Lapse { place });
                }
                events.extend(setup.ends.then_some(Event::Gone { place }));
            }
        }
        // On an empty slot nothing waits for time to pass.
        if budget.time > 0 && self.places.iter().any(|place| place.slot.is_some()) {
            events.push(Event::Moment);
        }
        if budget.set_back > 0 {
            events.extend((1..4).map(|moments| Event::SetBack { moments }));
        }
        events
    }

    /// Lets one thing happen; an error where a promise was broken.
    pub fn step(&mut self, setup: &Setup, event: Event, told: &mut Told) -> Stands {
        match event {
            Event::Begin {
                client,
                place,
                payload,
                policy,
                fate,
            } => {
                let state = Arc::make_mut(&mut self.clients[client]);
                let owner = (client as OwnerId) << 6 | (OwnerId::from(state.begun) + 1);
                state.begun += 1;
                (state.asks, state.extras) = (0, 0);
                told.say(|| format!("{} begins with payload {payload}", name(client)));
                let policy = setup.policies[policy];
                self.begin(setup, client, owner, place, payload, &policy, fate, told)
            }
            Event::Act { client, act, fate } => {
                let state = Arc::make_mut(&mut self.clients[client]);
                if matches!(act, Act::Renew | Act::Publish(_)) {
                    state.extras += 1;
                }
                match std::mem::take(&mut state.doing) {
                    Doing::Holding(held) => self.call(setup, client, held, act, fate, told),
                    other => {
                        state.doing = other;
                        Ok(())
                    }
                }
            }
            Event::Repeat { client } => {
                let state = Arc::make_mut(&mut self.clients[client]);
                match std::mem::take(&mut state.doing) {
                    Doing::Ended(held, act) => {
                        self.budget.repeats = self.budget.repeats.saturating_sub(1);
                        self.call(setup, client, held, act, Fate::Answered, told)
                    }
                    other => {
                        state.doing = other;
                        Ok(())
                    }
                }
            }
            Event::Deliver { client, fate } => {
                told.say(|| format!("{}'s question arrives", name(client)));
                self.deliver(setup, client, fate, told)
            }
            Event::Crash { client } => {
                told.say(|| format!("{} crashes", name(client)));
                self.budget.crashes -= 1;
                self.idle(client, setup);
                Ok(())
            }
            Event::Hand { from, to } => {
                if let Doing::Holding(held) = &self.clients[from].doing {
                    let mut held = held.clone();
                    held.token =
                        LeaseToken::from_text(&held.token.to_text()).map_err(|error| Breach {
                            promise: "S11",
                            what: error.to_string(),
                        })?;
                    told.say(|| format!("{} hands its token to {}", name(from), name(to)));
                    self.budget.handed -= 1;
                    Arc::make_mut(&mut self.clients[to]).doing = Doing::Holding(held);
                    self.rehash(to);
                }
                Ok(())
            }
            Event::DeliverLate { index } => {
                let mut message = Arc::unwrap_or_clone(self.late.remove(index));
                told.say(|| format!("a late message arrives ({})", deed_name(&message.deed)));
                let reply = self.swap(setup, &mut message, true, told)?;
                told.saw(match reply.map(|reply| reply.verdict) {
                    Some(Verdict::Won) => Sight::LateMessageWon,
                    _ => Sight::LateMessageDefeated,
                });
                Ok(())
            }
            Event::Resolve { place, completed } => self.resolve(setup, place, completed, told),
            Event::Moment => {
                self.budget.time -= 1;
                self.now += setup.moment;
                told.say(|| "a moment passes".into());
                Ok(())
            }
            Event::Lapse { place } => {
                self.budget.time -= 1;
                self.wait_until(place, |slot| slot.lease_until);
                told.say(|| "the lease lapses".into());
                Ok(())
            }
            Event::Gone { place } => {
                self.budget.time -= 1;
                self.wait_until(place, |slot| slot.gone_at);
                told.say(|| "the retention ends".into());
                Ok(())
            }
            Event::Purge { place } => {
                told.say(|| "the store purges what is gone".into());
                let place = Arc::make_mut(&mut self.places[place]);
                place.slot = None;
                if setup.mutant == Mutant::None {
                    place.contract.purged(self.now)?;
                }
                Ok(())
            }
            Event::SetBack { moments } => {
                told.say(|| "the store's clock is set back".into());
                self.budget.set_back -= 1;
                self.now = self.now.saturating_sub(moments * setup.moment).max(1);
                for place in &mut self.places {
                    Arc::make_mut(place).contract.clock_went_back();
                }
                Ok(())
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn begin(
        &mut self,
        setup: &Setup,
        client: usize,
        owner: OwnerId,
        place: usize,
        payload: Payload,
        policy: &Policy,
        fate: Fate,
        told: &mut Told,
    ) -> Stands {
        let key = setup.places[place].clone();
        let machine = Begin::new(key, fingerprint(payload), *policy, owner_token(owner));
        let terms = Terms::from(policy);
        let deed = Deed::Begin {
            payload,
            owner,
            terms,
        };
        let errand = Errand::new(AMachine::Begin(machine), None);
        self.start(setup, client, errand, place, deed, fate, told)
    }

    /// What a client would be told that begins on this slot at this time: by `owner`, or by a
    /// stranger.
    pub fn what_if(
        setup: &Setup,
        place: &Place,
        now: u64,
        payload: Payload,
        owner: Option<OwnerId>,
        told: &mut Told,
    ) -> Stands {
        const STRANGER: OwnerId = 0x7000;
        let mut world = Self {
            now,
            places: vec![Arc::new(place.clone())],
            clients: vec![Arc::default()],
            late: Vec::new(),
            budget: Budget::default(),
            drawn: None,
        };
        let owner = owner.unwrap_or(STRANGER);
        let (policy, fate) = (setup.policies[0], Fate::Answered);
        world.begin(setup, 0, owner, 0, payload, &policy, fate, told)?;
        while matches!(world.clients[0].doing, Doing::Asking(..)) {
            world.deliver(setup, 0, fate, told)?;
        }
        Ok(())
    }

    fn wait_until(&mut self, place: usize, when: fn(&Slot) -> Timestamp) {
        if let Some(slot) = &self.places[place].slot {
            self.now = self.now.max(when(slot).as_millis());
        }
    }

    fn call(
        &mut self,
        setup: &Setup,
        client: usize,
        held: Held,
        act: Act,
        fate: Fate,
        told: &mut Told,
    ) -> Stands {
        let place = held.place;
        let deed = Deed::Act {
            payload: held.payload,
            owner: held.owner,
            attempt: held.token.attempt(),
            terms: Terms::from(held.token.policy()),
            act,
        };
        told.say(|| format!("{} asks to {}", name(client), deed_name(&deed)));
        let machine = AMachine::Call(LeaseCall::new(held.token.clone(), verb(act)));
        let errand = Errand::new(machine, Some(held));
        self.start(setup, client, errand, place, deed, fate, told)
    }

    /// An operator is quick: it reads and settles in one step.
    fn resolve(&mut self, setup: &Setup, place: usize, completed: bool, told: &mut Told) -> Stands {
        self.budget.resolved -= 1;
        told.say(|| "an operator resolves".into());
        let (policy, note) = (setup.policies[0], Note::MAX);
        let terms = Terms::from(&policy);
        let outcome = completed.then_some(note);
        let resolution = match outcome {
            Some(note) => Resolution::Completed(note.to_be_bytes()[..].into()),
            None => Resolution::Vacant,
        };
        let key = setup.places[place].clone();
        let id = owner_token(OwnerId::MAX - OwnerId::from(self.budget.resolved));
        let mut machine = AMachine::Resolve(Resolve::new(key, resolution, policy, id));
        let mut draw = 0;
        let mut fresh = || {
            draw += 1;
            let mut bytes = *id.as_bytes();
            bytes[0] = draw;
            Rev::from_bytes(bytes)
        };
        let mut step = machine.step(None, fresh());
        let mut won = false;
        loop {
            match step {
                Step::Done(Answer::Resolve(Ok(resolved))) => {
                    told.say(|| format!("→ {resolved:?}"));
                    if resolved == Resolved::Done {
                        told.saw(Sight::Resolved);
                    }
                    let contract = &self.places[place].contract;
                    return contract.answered_resolve(self.now, won, resolved);
                }
                Step::Done(other) => return unreadable(&other),
                Step::Ask(swap) => {
                    let deed = Deed::Resolve { outcome, terms };
                    let mut message = Message::new(place, swap, deed, self.now, None);
                    let Some(reply) = self.swap(setup, &mut message, true, told)? else {
                        return Ok(());
                    };
                    won = reply.verdict == Verdict::Won;
                    step = machine.step(Some(reply), fresh());
                }
            }
        }
    }

    /// The first question leaves at once: what it says depends on nothing that may still happen.
    #[allow(clippy::too_many_arguments)]
    fn start(
        &mut self,
        setup: &Setup,
        client: usize,
        mut errand: Errand,
        place: usize,
        deed: Deed,
        fate: Fate,
        told: &mut Told,
    ) -> Stands {
        let fresh = self.fresh(setup, client, &deed, &mut errand);
        match errand.machine.step(None, fresh) {
            Step::Ask(swap) => {
                let message = Message::leaving(setup.mutant, place, swap, deed, self.now, None);
                let doing = Doing::Asking(errand, message);
                Arc::make_mut(&mut self.clients[client]).doing = doing;
                self.deliver(setup, client, fate, told)
            }
            Step::Done(answer) => {
                self.done(setup, client, &errand, &deed, place, answer, None, told)
            }
        }
    }

    fn deliver(&mut self, setup: &Setup, client: usize, fate: Fate, told: &mut Told) -> Stands {
        let state = Arc::make_mut(&mut self.clients[client]);
        let Doing::Asking(mut errand, mut message) = std::mem::take(&mut state.doing) else {
            return Ok(());
        };
        let (place, deed) = (message.place, message.deed);
        let mut read = None;
        let mut won = None;
        let reply = match fate {
            Fate::Answered => match self.swap(setup, &mut message, false, told)? {
                None => {
                    told.say(|| format!("the store compares for {}", name(client)));
                    let doing = Doing::Asking(errand, message);
                    Arc::make_mut(&mut self.clients[client]).doing = doing;
                    self.rehash(client);
                    return Ok(());
                }
                Some(reply) => {
                    won = Some(reply.verdict == Verdict::Won);
                    if let Verdict::Lost(slot) = &reply.verdict {
                        read.clone_from(slot);
                    }
                    Some(reply)
                }
            },
            Fate::AnswerLost => {
                self.budget.lost -= 1;
                told.say(|| "it takes effect, and the answer is lost".into());
                self.swap(setup, &mut message, true, told)?;
                None
            }
            Fate::Late => {
                self.budget.late -= 1;
                told.say(|| "the message is still on its way when the client gives it up".into());
                if message.swap.expect != Expect::Rev(Rev::NIL) {
                    self.late.push(Arc::new(message));
                }
                None
            }
        };
        let fresh = self.fresh(setup, client, &deed, &mut errand);
        match errand.machine.step(reply, fresh) {
            Step::Ask(swap) => {
                if read.is_some() {
                    told.say(|| format!("{} reads the slot and will ask again", name(client)));
                }
                let message = Message::leaving(setup.mutant, place, swap, deed, self.now, read);
                let doing = Doing::Asking(errand, message);
                Arc::make_mut(&mut self.clients[client]).doing = doing;
                self.rehash(client);
                Ok(())
            }
            Step::Done(answer) => {
                self.done(setup, client, &errand, &deed, place, answer, won, told)
            }
        }
    }

    /// The message reaches the store.
    fn swap(
        &mut self,
        setup: &Setup,
        message: &mut Message,
        at_once: bool,
        told: &mut Told,
    ) -> Result<Option<Swapped>, Breach> {
        let place = Arc::make_mut(&mut self.places[message.place]);
        let now = self.now;
        let mut reply = setup.mutant.swap(&mut place.slot, message, now);
        if reply.is_none() && at_once {
            reply = setup.mutant.swap(&mut place.slot, message, now);
        }
        if let Some(Mirror(ask)) = &setup.mirror {
            let mirrored = ask(&message.swap, Timestamp::from_millis(now));
            if mirrored != reply {
                return Err(Breach {
                    promise: "law 2",
                    what: format!("the store answered {mirrored:?}, `apply` {reply:?}"),
                });
            }
        }
        if reply
            .as_ref()
            .is_some_and(|reply| reply.verdict == Verdict::Won)
        {
            let lapsed = place.contract.is_lapsed(now);
            let slot = place.slot.as_ref();
            place
                .contract
                .took_effect(&message.deed, now, message.read_at, slot)?;
            if let Deed::Act {
                act: Act::Finish(_),
                ..
            } = message.deed
                && lapsed
            {
                told.saw(Sight::LateFinishAccepted);
            }
        }
        if setup.mutant == Mutant::None {
            place.contract.is_kept_by(place.slot.as_ref(), now)?;
        }
        Ok(reply)
    }

    #[allow(clippy::too_many_arguments)]
    fn done(
        &mut self,
        setup: &Setup,
        client: usize,
        errand: &Errand,
        deed: &Deed,
        place: usize,
        answer: Answer,
        won: Option<bool>,
        told: &mut Told,
    ) -> Stands {
        let now = self.now;
        let contract = &mut Arc::make_mut(&mut self.places[place]).contract;
        let next = match (answer, *deed) {
            (Answer::Begin(Ok(decision)), Deed::Begin { payload, owner, .. }) => {
                told.say(|| format!("→ {}", decision_name(&decision)));
                let won = won == Some(true);
                contract.answered_begin(deed, now, won, &decision)?;
                told.saw(match &decision {
                    Decision::Miss(_) if !won => Sight::SameLeaseAgain,
                    Decision::Miss(token) if token.attempt() == 1 => Sight::FirstAttempt,
                    Decision::Miss(_) if contract.lapses() > 0 => Sight::TakeOver,
                    Decision::Miss(_) => Sight::ReleasedAndRetried,
                    Decision::Hit(_) => Sight::Replay,
                    Decision::Conflict => Sight::Conflict,
                    Decision::InProgress(_) => Sight::InProgress,
                    Decision::Unknown | Decision::Expired => Sight::Unknown,
                });
                match decision {
                    Decision::Miss(token) => Doing::Holding(Held {
                        place,
                        payload,
                        owner,
                        token,
                    }),
                    _ => Doing::Idle,
                }
            }
            (Answer::Call(Ok(reply)), Deed::Act { act, .. }) => {
                told.say(|| format!("→ {}", reply_name(&reply)));
                if let Some(won) = won {
                    contract.answered_act(deed, now, won, &reply)?;
                }
                match (&reply, act) {
                    (LeaseReply::Stale(stale), _) if stale.winner.is_some() => {
                        told.saw(Sight::StaleWithWinner);
                    }
                    (LeaseReply::Stale(_), _) => told.saw(Sight::Stale),
                    (LeaseReply::Ended, Act::Finish(_)) if won == Some(false) => {
                        told.saw(Sight::FinishRepeated);
                    }
                    _ => {}
                }
                match (reply, &errand.held) {
                    (LeaseReply::Held(token), Some(held)) => Doing::Holding(Held {
                        token,
                        ..held.clone()
                    }),
                    (LeaseReply::Ceiling, Some(held)) => Doing::Holding(held.clone()),
                    (LeaseReply::Ended, Some(held)) if self.budget.repeats > 0 => {
                        Doing::Ended(held.clone(), act)
                    }
                    _ => Doing::Idle,
                }
            }
            (answer, _) => return unreadable(&answer),
        };
        match next {
            Doing::Idle => self.idle(client, setup),
            next => {
                Arc::make_mut(&mut self.clients[client]).doing = next;
                self.rehash(client);
            }
        }
        Ok(())
    }

    fn idle(&mut self, client: usize, _setup: &Setup) {
        let state = Arc::make_mut(&mut self.clients[client]);
        *state = Client {
            begun: state.begun,
            ..Client::default()
        };
        self.rehash(client);
    }

    fn fresh(&mut self, setup: &Setup, client: usize, deed: &Deed, errand: &mut Errand) -> Rev {
        let owner = match *deed {
            Deed::Begin { owner, .. } | Deed::Act { owner, .. } => owner,
            Deed::Resolve { .. } => OwnerId::MAX,
        };
        let state = Arc::make_mut(&mut self.clients[client]);
        state.asks += 1;
        let number = match &mut self.drawn {
            Some(drawn) => {
                *drawn += 1;
                *drawn
            }
            None => state.asks,
        };
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&owner.to_be_bytes());
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        let rev = setup.mutant.fresh(Rev::from_bytes(bytes), errand.last);
        errand.last = Some(rev);
        rev
    }

    fn rehash(&mut self, client: usize) {
        let state = Arc::make_mut(&mut self.clients[client]);
        let mut hash = DefaultHasher::new();
        (state.begun, state.extras, state.asks).hash(&mut hash);
        match &state.doing {
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
        state.hash = hash.finish();
    }
}

impl Place {
    /// Tells two places apart.
    pub fn fingerprint(&self, hash: &mut impl Hasher) {
        self.contract.hash(hash);
        match &self.slot {
            None => 0u8.hash(hash),
            Some(slot) => {
                (1u8, slot.rev, slot.lease_until, slot.gone_at).hash(hash);
                (slot.head.as_bytes(), &slot.body[..]).hash(hash);
            }
        }
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
    fn new(machine: AMachine, held: Option<Held>) -> Self {
        Self {
            machine,
            last: None,
            held,
        }
    }
}

impl Message {
    fn new(place: usize, swap: Swap, deed: Deed, read_at: u64, read: Option<Slot>) -> Self {
        Self {
            place,
            swap,
            deed,
            read_at,
            read,
            compared: false,
        }
    }

    fn leaving(
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

fn hash_message(message: &Message, hash: &mut DefaultHasher) {
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

fn unreadable(answer: &Answer) -> Stands {
    Err(Breach {
        promise: "L2",
        what: format!("there was no answer: {answer:?}"),
    })
}

fn name(client: usize) -> &'static str {
    ["Alice", "Bob", "Carol", "Dave", "Erin"][client.min(4)]
}

fn deed_name(deed: &Deed) -> String {
    match deed {
        Deed::Begin { payload, .. } => format!("begin with payload {payload}"),
        Deed::Act { act, attempt, .. } => {
            let act = match act {
                Act::Finish(_) => "finish",
                Act::FinishUnstorable => "finish without a storable outcome",
                Act::Fence => "fence",
                Act::Renew => "renew",
                Act::Publish(_) => "publish",
                Act::Release => "release",
                Act::Forget => "forget",
            };
            format!("{act} attempt {attempt}")
        }
        Deed::Resolve { .. } => "resolve".into(),
    }
}

fn decision_name(decision: &Decision) -> String {
    match decision {
        Decision::Miss(token) => format!("MISS, attempt {}", token.attempt()),
        Decision::Hit(_) => "HIT".into(),
        Decision::Conflict => "CONFLICT".into(),
        Decision::InProgress(_) => "IN_PROGRESS".into(),
        Decision::Unknown => "UNKNOWN".into(),
        Decision::Expired => "EXPIRED".into(),
    }
}

fn reply_name(reply: &LeaseReply) -> &'static str {
    match reply {
        LeaseReply::Held(_) => "the lease goes on",
        LeaseReply::Ended => "done",
        LeaseReply::Ceiling => "the ceiling is reached",
        LeaseReply::Stale(stale) if stale.winner.is_some() => "stale, with the winner's outcome",
        LeaseReply::Stale(_) => "stale",
    }
}
