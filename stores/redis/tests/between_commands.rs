//! Another client's writes between the commands of one claim.

mod asks;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use asks::{claim, fault, outcome, read};
use idemp::{AsyncStore, Expect, Put, Rev, Slot, StoreError, Swap, Swapped, Verdict};
use idemp_redis::{RedisFault, RedisStore};
use idemp_servers::Redis;

/// A claim is so many commands: the other client's turn is before one of them, or behind the last.
const COMMANDS: usize = 4;

/// What the other client does, by what lies there.
type Deed = fn(&Slot) -> Vec<Swap>;

/// Keeps it longer, shorter than that, or exactly as long; removes it; and begins anew.
const DEEDS: [(&str, Deed); 5] = [
    ("longer", |there| vec![replaced(there, 2 * asks::KEPT)]),
    ("as long", |there| {
        vec![replaced(there, Duration::from_millis(1))]
    }),
    ("removed", |there| vec![removed(there)]),
    ("begun anew", |there| vec![removed(there), claim("a")]),
    ("begun anew, for longer", |there| {
        let mut anew = claim("a");
        let Put::Slot(new) = &mut anew.put else {
            unreachable!("a claim puts");
        };
        new.keep_for *= 3;
        vec![removed(there), anew]
    }),
];

fn replaced(there: &Slot, keep_for: Duration) -> Swap {
    let mut swap = outcome(&claim("a"), b"another's");
    let Put::Slot(new) = &mut swap.put else {
        unreachable!("an outcome is put");
    };
    new.keep_for = keep_for;
    swap.expect = Expect::Rev(there.rev);
    swap
}

fn removed(there: &Slot) -> Swap {
    Swap {
        put: Put::Remove,
        expect: Expect::Rev(there.rev),
        ..read("a")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_loses_tells_a_slot_and_a_time_at_which_it_lay_there() {
    let server = Redis::start(&[]);
    let other = RedisStore::connect(server.url()).await.unwrap();
    for (name, deed) in DEEDS {
        for turn in 0..=COMMANDS {
            server.command(&["FLUSHALL"]);
            other.swap(&claim("a")).await.unwrap();
            let before = slot(&other).await.unwrap();
            let done = Acts::new(&other, deed(&before));
            let (store, at) = slowed(&server, turn, done.clone()).await;
            let reply = store.swap(&claim("a")).await.unwrap();
            let acted = done.replies();
            let after = slot(&other).await;
            let what = format!("{name}, before command {turn}: {reply:?}");
            assert!(at.count() > turn, "{what}");
            match &reply.verdict {
                Verdict::Lost(Some(slot)) if *slot == before => {
                    assert!(reply.now <= acted[0].now, "{what}");
                }
                Verdict::Lost(slot) => {
                    assert_eq!(*slot, after, "{what}");
                    assert!(reply.now >= acted[acted.len() - 1].now, "{what}");
                }
                // The slot was removed, and is claimed behind that.
                Verdict::Won => {
                    assert_eq!(name, "removed", "{what}");
                    assert!(reply.now >= acted[0].now, "{what}");
                    let ours = after.expect("it won");
                    assert_eq!(ours.gone_at, reply.now + asks::KEPT, "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_wins_tells_when_it_did_or_that_it_does_not_know() {
    let server = Redis::start(&[]);
    let other = RedisStore::connect(server.url()).await.unwrap();
    for (name, deed) in DEEDS {
        for turn in 1..=COMMANDS {
            server.command(&["FLUSHALL"]);
            let ours = claim("a");
            let there = Acts::on_what_lies_there(&other, deed);
            let (store, at) = slowed(&server, turn, there.clone()).await;
            let reply = store.swap(&ours).await;
            let acted = there.replies();
            let what = format!("{name}, before command {turn}: {reply:?}");
            assert!(at.count() >= turn, "{what}");
            let seen = there.seen().expect("ours was there");
            assert_eq!(seen.rev, asks::rev(&ours), "{what}");
            match reply {
                Ok(reply) => {
                    assert_eq!(reply.verdict, Verdict::Won, "{what}");
                    assert_eq!(seen.gone_at, reply.now + asks::KEPT, "{what}");
                    assert_eq!(turn, COMMANDS, "{what}");
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Unavailable(_)), "{what}");
                    assert!(matches!(fault(&error), RedisFault::Overtaken), "{what}");
                    let last = acted.last().expect("the other client acted");
                    assert_eq!(last.verdict, Verdict::Won, "{what}");
                }
            }
            // Nothing of the other client's is undone.
            let left = slot(&other).await.map(|slot| slot.rev);
            assert_eq!(left, there.left(), "{what}");
        }
    }
}

async fn slot(store: &RedisStore) -> Option<Slot> {
    match store.swap(&read("a")).await.unwrap().verdict {
        Verdict::Lost(slot) => slot,
        Verdict::Won => panic!("a read wins nothing"),
    }
}

type DeedOf = dyn Fn(&Slot) -> Vec<Swap> + Send + Sync;

/// What the other client does when it is its turn, once.
#[derive(Clone)]
struct Acts {
    store: RedisStore,
    deed: Arc<DeedOf>,
    done: Arc<Mutex<Option<Done>>>,
}

struct Done {
    seen: Slot,
    swaps: Vec<Swap>,
    replies: Vec<Swapped>,
}

impl Acts {
    fn new(store: &RedisStore, swaps: Vec<Swap>) -> Self {
        Self::on_what_lies_there(store, move |_| swaps.clone())
    }

    fn on_what_lies_there(
        store: &RedisStore,
        deed: impl Fn(&Slot) -> Vec<Swap> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store: store.clone(),
            deed: Arc::new(deed),
            done: Arc::default(),
        }
    }

    async fn act(&self) {
        let seen = slot(&self.store).await.expect("something lies there");
        let swaps = (self.deed)(&seen);
        let mut replies = Vec::new();
        for swap in &swaps {
            let reply = self.store.swap(swap).await.unwrap();
            assert_eq!(reply.verdict, Verdict::Won, "the other client has its way");
            replies.push(reply);
        }
        let done = Done {
            seen,
            swaps,
            replies,
        };
        *self.done.lock().unwrap() = Some(done);
    }

    fn seen(&self) -> Option<Slot> {
        self.done
            .lock()
            .unwrap()
            .as_ref()
            .map(|done| done.seen.clone())
    }

    fn replies(&self) -> Vec<Swapped> {
        let done = self.done.lock().unwrap();
        done.as_ref().expect("it acted").replies.clone()
    }

    /// The revision that it left there.
    fn left(&self) -> Option<Rev> {
        let done = self.done.lock().unwrap();
        let last = done.as_ref()?.swaps.last()?;
        Some(asks::rev(last)).filter(|rev| *rev != Rev::NIL)
    }
}

/// How many commands of the claim were passed on.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<usize>>);

impl Count {
    fn count(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

/// A store whose commands come to the server one at a time, and another client's deed before the
/// one of that number, counted from a `SET` on.
async fn slowed(server: &Redis, turn: usize, acts: Acts) -> (RedisStore, Count) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let to = server.addr();
    let passed = Count::default();
    let runtime = tokio::runtime::Handle::current();
    let counted = passed.clone();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let act = || runtime.block_on(acts.act());
        // An error is the end of the connection.
        let _ = pass(client, to, turn, &counted, act);
    });
    let url = server.url_at(addr);
    (RedisStore::connect(url).await.unwrap(), passed)
}

fn pass(
    client: TcpStream,
    to: SocketAddr,
    turn: usize,
    passed: &Count,
    act: impl Fn(),
) -> std::io::Result<()> {
    let mut replies_to = client.try_clone()?;
    let mut client = BufReader::new(client);
    let mut server = TcpStream::connect(to)?;
    let mut replies = BufReader::new(server.try_clone()?);
    let mut set = false;
    loop {
        let command = element(&mut client)?;
        set |= command.starts_with(b"*7\r\n$3\r\nSET\r\n");
        if set && passed.count() == turn {
            act();
        }
        server.write_all(&command)?;
        let reply = element(&mut replies)?;
        if set {
            *passed.0.lock().unwrap() += 1;
            // The reply to the last command waits for what comes behind it.
            if passed.count() == turn && turn == COMMANDS {
                act();
                *passed.0.lock().unwrap() += 1;
            }
        }
        replies_to.write_all(&reply)?;
    }
}

/// One element of the protocol, whole.
fn element(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let length = || {
        std::str::from_utf8(&bytes[1..])
            .unwrap()
            .trim()
            .parse::<i64>()
    };
    match bytes[0] {
        b'$' => {
            if let Ok(length @ 0..) = length() {
                let mut rest = vec![0; length as usize + 2];
                from.read_exact(&mut rest)?;
                bytes.extend(rest);
            }
        }
        b'*' | b'%' => {
            let each = if bytes[0] == b'%' { 2 } else { 1 };
            for _ in 0..length().unwrap_or(0) * each {
                bytes.extend(element(from)?);
            }
        }
        _ => {}
    }
    Ok(bytes)
}
