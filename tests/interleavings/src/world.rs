//! [`World`]: clients with real machines, slots changed by the real `apply`, messages that come
//! late, and time. Every step is judged by the [`Contract`].

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use idemp::{
    Begin, Decision, Expect, LeaseCall, LeaseReply, LeaseToken, Policy, Resolution, Resolve,
    Resolved, Rev, Slot, Step, Swapped, Timestamp, Verdict,
};

use crate::client::{
    AMachine, Answer, Client, Doing, Errand, Held, fingerprint, hash_message, owner_token, verb,
};
use crate::contract::{Act, Breach, Contract, Deed, Note, OwnerId, Payload, Stands, Terms};
use crate::event::{Budget, Event, Fate, Mirror, Setup};
use crate::mutant::{Message, Mutant};
use crate::told::{Sight, Told, decision_name, deed_name, name, reply_name};

/// Everything there is at one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// The store's clock.
    pub now: u64,
    /// The slots.
    pub places: Vec<Arc<Place>>,
    pub(crate) clients: Vec<Arc<Client>>,
    pub(crate) late: Vec<Arc<Message>>,
    pub(crate) budget: Budget,
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
        Arc::make_mut(&mut self.clients[client]).rehash();
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

fn unreadable(answer: &Answer) -> Stands {
    Err(Breach {
        promise: "L2",
        what: format!("there was no answer: {answer:?}"),
    })
}
