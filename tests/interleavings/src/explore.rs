//! [`explore`]: every state that can be reached, the nearest ones first.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::contract::{Breach, Stands};
use crate::event::{Event, Setup};
use crate::probe::probe;
use crate::told::{Sight, Told};
use crate::world::World;

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// How many different states.
    pub states: usize,
    /// How many steps from one to another.
    pub transitions: u64,
    /// The most steps from the start to a state, on the shortest way.
    pub depth: u32,
    /// How often each [`Sight`] was seen.
    pub sights: [u64; Sight::COUNT],
    /// The first broken promise, and the shortest way to it.
    pub broken: Option<(Breach, Vec<String>)>,
}

impl Found {
    /// How often a sight was seen.
    pub fn saw(&self, sight: Sight) -> u64 {
        self.sights[sight as usize]
    }
}

/// Hashes are spread already.
type Seen = HashSet<u64, BuildHasherDefault<TakenAsIs>>;

/// Visits every state, breadth first, until a promise is broken. A state is remembered by 64 bits
/// of its hash; the worlds of the next round only are held whole.
pub fn explore(setup: &Setup) -> Found {
    let mut told = Told::default();
    let mut found = Found {
        states: 1,
        transitions: 0,
        depth: 0,
        sights: [0; Sight::COUNT],
        broken: None,
    };
    let root = World::new(setup);
    let (mut seen, mut probed) = (Seen::default(), Seen::default());
    seen.insert(root.fingerprint());
    // The step that led to a state first, and the state that it led from.
    let mut ways: Vec<(u32, Option<Event>)> = vec![(0, None)];
    let mut next = VecDeque::from([(0u32, 0u32, root)]);
    'search: while let Some((index, depth, world)) = next.pop_front() {
        found.depth = depth;
        for event in world.events(setup) {
            found.transitions += 1;
            let mut after = world.clone();
            let mut stands = after.step(setup, event, &mut told);
            if stands.is_ok() {
                if !seen.insert(after.fingerprint()) {
                    continue;
                }
                stands = probe_once(setup, &after, &mut probed);
            }
            ways.push((index, Some(event)));
            if let Err(breach) = stands {
                let last = ways.len() - 1;
                found.broken = Some((breach, retell(setup, &ways, last)));
                break 'search;
            }
            found.states += 1;
            let here = u32::try_from(ways.len() - 1).expect("fewer than four billion states");
            next.push_back((here, depth + 1, after));
        }
    }
    found.sights = told.sights;
    found
}

fn probe_once(setup: &Setup, world: &World, probed: &mut Seen) -> Stands {
    for place in &world.places {
        let mut hash = DefaultHasher::new();
        world.now.hash(&mut hash);
        place.fingerprint(&mut hash);
        if probed.insert(hash.finish()) {
            // What was only asked for a probe was not seen.
            probe(setup, place, world.now, &mut Told::default())?;
        }
    }
    Ok(())
}

/// The way to a state in words, ending with what broke.
fn retell(setup: &Setup, ways: &[(u32, Option<Event>)], last: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut at = last;
    while let (from, Some(event)) = ways[at] {
        events.push(event);
        at = from as usize;
    }
    let mut world = World::new(setup);
    let mut lines = Vec::new();
    for event in events.into_iter().rev() {
        let mut told = Told {
            words: Some(String::new()),
            ..Told::default()
        };
        let stands = world.step(setup, event, &mut told);
        lines.extend(told.words);
        if stands.is_err() {
            return lines;
        }
    }
    let mut told = Told {
        words: Some(String::new()),
        ..Told::default()
    };
    for place in &world.places {
        if probe(setup, place, world.now, &mut told).is_err() {
            lines.extend(told.words.take());
            break;
        }
    }
    lines
}

#[derive(Default)]
struct TakenAsIs(u64);

impl Hasher for TakenAsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
