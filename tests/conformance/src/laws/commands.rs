//! Law 2 at random: commands whose every answer has to be that of the definition, at the time
//! that the store said it was.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use idemp::{
    AsyncStore, Body, Expect, Head, NewSlot, Policy, Put, Rev, Slot, SlotKey, Swap, Swapped,
    Verdict, apply,
};
use tokio::task::JoinSet;

use super::atomic::all;
use super::replaced::judge;
use crate::draws::{Draws, nightly};
use crate::subject::Subject;
use crate::world::{Held, Seen, World, ask, name, told, verdict};

/// 20,000 commands in all.
const LANES: u64 = 8;
const KEYS: u64 = 16;
const COMMANDS: u64 = 125;

fn phases() -> u64 {
    if nightly() { 200 } else { 20 }
}

pub(crate) async fn as_defined<S: Subject>(world: &World<S>) -> Held {
    let seed = Draws::seed();
    play(world, seed).await.map_err(|Seen(seen)| {
        Seen(format!(
            "{seen}\n  to draw the same again: {}={seed}",
            Draws::SEED
        ))
    })
}

/// In each phase some lanes give commands side by side, each to keys of its own; time only goes on.
/// Between two phases the clock may be set back.
async fn play<S: Subject>(world: &World<S>, seed: u64) -> Held {
    let openings = [world.store.clone(), world.open().await];
    let mut draws = Draws::from(seed);
    let mut lanes: Vec<Lane> = (0..LANES)
        .map(|lane| Lane::new(lane, draws.next()))
        .collect();
    let limits = world.subject.limits();
    for _ in 0..phases() {
        let mut running = JoinSet::new();
        for mut lane in lanes.drain(..) {
            let store = openings[lane.number as usize % 2].clone();
            running.spawn(async move {
                for _ in 0..COMMANDS {
                    lane.command(&*store).await?;
                }
                Ok(lane)
            });
        }
        if !limits.stands_apart {
            // While they are at it.
            for _ in 0..10 {
                world.step(draws.one_of(&[1, 1, 2, 3, 10, 1_000])).await;
                tokio::task::yield_now().await;
            }
        }
        lanes = all(running).await?;
        let far = [1, 2, 5, 10, 1_000, 59_999, 60_000, 3_600_000, 90_000_000];
        if !limits.never_steps_back && draws.below(3) == 0 {
            let asked = Instant::now();
            let now = world.now().await?;
            world.step(-draws.one_of(&far)).await;
            let latest = now + asked.elapsed() + Duration::from_millis(5);
            for place in lanes.iter_mut().flat_map(|lane| &mut lane.places) {
                let gone = place
                    .slot
                    .as_ref()
                    .is_some_and(|slot| slot.gone_at <= latest);
                place.may_be_purged |= gone;
            }
        } else if !limits.stands_apart {
            world.step(draws.one_of(&far)).await;
        }
    }
    Ok(())
}

/// Some keys, and what has to lie under them.
struct Lane {
    number: u64,
    draws: Draws,
    places: Vec<Place>,
}

struct Place {
    name: SlotKey,
    slot: Option<Slot>,
    /// The slot was gone, and then the clock was set back: it may be there again or not.
    may_be_purged: bool,
    /// Revisions that have lain there.
    past: Vec<Rev>,
    /// What was said since the place was last empty: enough to see what went wrong.
    story: VecDeque<String>,
}

impl Lane {
    fn new(number: u64, seed: u64) -> Self {
        let place = |key| Place {
            name: name(&format!("lane-{number}-{key}")),
            slot: None,
            may_be_purged: false,
            past: Vec::new(),
            story: VecDeque::new(),
        };
        Self {
            number,
            draws: Draws::from(seed),
            places: (0..KEYS).map(place).collect(),
        }
    }

    async fn command(&mut self, store: &impl AsyncStore) -> Held {
        let at = self.draws.below(KEYS).min(self.draws.below(KEYS)) as usize;
        let swap = self.draw(at);
        let reply = ask(store, &swap).await?;
        let place = &mut self.places[at];
        if place.story.len() == 12 {
            place.story.pop_front();
        }
        let line = format!("at {}: {} -> ", reply.now.as_millis(), told(&swap));
        place.story.push_back(line + &verdict(&reply.verdict));
        place.judge(&swap, &reply)?;
        match &swap.put {
            Put::Slot(new) if reply.verdict == Verdict::Won => place.past.push(new.rev),
            Put::Remove if reply.verdict == Verdict::Won => place.story.clear(),
            _ => {}
        }
        Ok(())
    }

    fn draw(&mut self, at: usize) -> Swap {
        let slot = self.places[at].name.clone();
        let draws = &mut self.draws;
        let lying = |place: &Place| place.slot.as_ref().map(|slot| slot.rev);
        let place = &self.places[at];
        let strange = Rev::from_bytes(draws.bytes(16).try_into().unwrap_or([9; 16]));
        let expect = match draws.below(100) {
            0..30 => Expect::Vacant,
            30..75 => Expect::Rev(lying(place).unwrap_or(strange)),
            75..83 if !place.past.is_empty() => Expect::Rev(draws.one_of(&place.past)),
            83..88 => {
                let other = draws.below(KEYS) as usize;
                Expect::Rev(lying(&self.places[other]).unwrap_or(strange))
            }
            88..92 => Expect::Rev(Rev::NIL),
            92.. => return Swap::read(slot),
            _ => Expect::Rev(strange),
        };
        let put = match draws.below(6) {
            0 => Put::Remove,
            _ => Put::Slot(NewSlot {
                rev: Rev::from_bytes(draws.bytes(16).try_into().unwrap_or([8; 16])),
                lease_for: span(draws),
                keep_for: span(draws),
                head: {
                    let length = draws.one_of(&[0, 1, 53, 60, 101, Head::MAX_BYTES]);
                    Head::from_bytes(&draws.bytes(length)).unwrap_or_default()
                },
                body: {
                    let length = draws.one_of(&[0, 0, 1, 16, 100, 511, 512, 2_000]);
                    Body::from(draws.bytes(length))
                },
            }),
        };
        Swap { slot, expect, put }
    }
}

fn span(draws: &mut Draws) -> Duration {
    match draws.below(40) {
        0 => Policy::MAX,
        1 => Policy::MAX * 2,
        _ => Duration::from_millis(draws.one_of(&[
            0, 0, 1, 2, 3, 5, 10, 20, 50, 1_000, 1_001, 59_999, 60_000, 3_600_000, 86_400_000,
        ])),
    }
}

impl Place {
    fn judge(&mut self, swap: &Swap, reply: &Swapped) -> Held {
        if self.may_be_purged {
            let (mut kept, mut purged) = (self.slot.clone(), None);
            let as_kept = apply(&mut kept, swap, reply.now) == *reply;
            let as_purged = apply(&mut purged, swap, reply.now) == *reply;
            self.may_be_purged = as_kept && as_purged && reply.verdict != Verdict::Won;
            if as_purged {
                self.slot = if as_kept { kept } else { purged };
                return Ok(());
            }
        }
        judge(&mut self.slot, swap, reply).map_err(|Seen(seen)| {
            let story: String = self
                .story
                .iter()
                .map(|line| format!("\n    {line}"))
                .collect();
            Seen(format!("{seen}\n  what was said to this key:{story}"))
        })
    }
}
