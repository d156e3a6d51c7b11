//! The Redis store: `begin` and `finish` beside two bare `SET`s of the same bytes, replays beside a
//! store that does everything by script, and how many trips each takes. The server is its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use idemp::{
    AsyncStore, Body, Decision, Expect, Fingerprint, Head, Idempotency, Key, Put, Rev, Scope, Slot,
    SlotKey, StoreError, Swap, Swapped, Timestamp, Verdict,
};
use idemp_benches::blast::{Recorder, blast};
use idemp_redis::{RedisStore, SWAP_SCRIPT};
use idemp_servers::{Redis, Reply};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Script, Value};

const CONNECTIONS: usize = 50;
const ROUNDS: usize = 9;
const OUTCOME: [u8; 100] = [7; 100];
/// How many slots the server's capacity is measured with.
const CAPACITY: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);
const DAY: u64 = 86_400_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let server = Redis::start(&[]);
    println!("{CONNECTIONS} connections to a server of its own, which keeps nothing on disk; an");
    println!(
        "outcome has 100 bytes. What is beside the store goes over the driver's connection as it"
    );
    println!("is. Medians of {ROUNDS} rounds in turn, in operations a second.\n");
    let stores = Stores::connected(&server).await;
    trips(&server, &stores).await;
    let sizes = sizes(&server, &stores).await;
    for (outstanding, pairs) in [(1, 4_000), (16, 12_000)] {
        pairs_beside_bare_sets(&server, &stores, sizes, outstanding, pairs).await;
    }
    for (outstanding, hits) in [(1, 8_000), (16, 24_000)] {
        replays_beside_a_script(&server, &stores, sizes, outstanding, hits).await;
    }
    capacity(&server, sizes).await;
}

/// One of each kind for every connection.
struct Stores {
    bare: Vec<MultiplexedConnection>,
    ours: Vec<Idempotency<RedisStore>>,
    scripts: Vec<Idempotency<ByScript>>,
}

impl Stores {
    async fn connected(server: &Redis) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        // A machine that is busy with something else is no reason to stop.
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = || client.get_multiplexed_async_connection_with_config(&patient);
        let (mut bare, mut ours, mut scripts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            bare.push(connection().await.unwrap());
            let builder = RedisStore::builder(server.url()).answer_within(PATIENCE);
            let store = builder.connect().await.unwrap();
            ours.push(Idempotency::new(store));
            let script = ByScript::new(connection().await.unwrap()).await;
            scripts.push(Idempotency::new(script));
        }
        Self {
            bare,
            ours,
            scripts,
        }
    }
}

/// How often the server read from its clients, while one of them worked alone.
async fn trips(server: &Redis, stores: &Stores) {
    const TIMES: u64 = 1000;
    let reads = || match server
        .command(&["INFO", "stats"])
        .field("total_reads_processed")
    {
        Some(number) => number.parse::<u64>().unwrap(),
        None => panic!("the server counts its reads"),
    };
    // What it takes to ask for the count.
    let before = reads();
    let asking = reads() - before;
    let idem = &stores.ours[0];
    println!("trips, as the server counts its reads ({TIMES} of each)");
    let count = |name: &str, before: u64| {
        let trips = (reads() - before - asking) as f64 / TIMES as f64;
        println!("  {name:<34} {trips:.3}");
    };
    let mut leases = Vec::new();
    let before = reads();
    for n in 0..TIMES {
        leases.push(miss(idem, &name("trips", n)).await);
    }
    count("begin, a miss", before);
    let before = reads();
    for lease in &mut leases {
        lease.finish_bytes(Body::from(&OUTCOME[..])).await.unwrap();
    }
    count("finish", before);
    let before = reads();
    for n in 0..TIMES {
        hit(idem, &name("trips", n)).await;
    }
    count("begin, a hit", before);
    println!();
}

/// The bytes of a record in progress, and of one that is completed.
async fn sizes(server: &Redis, stores: &Stores) -> [usize; 2] {
    let (scope, key) = name("sizes", 0);
    let mut lease = miss(&stores.ours[0], &(scope.clone(), key.clone())).await;
    let slot = SlotKey::new(&scope, &key);
    let key = format!("idemp:{}", std::str::from_utf8(slot.as_bytes()).unwrap());
    let length = || match server.command(&["STRLEN", &key]) {
        Reply::Number(length) if length > 0 => length as usize,
        other => panic!("no length: {other:?}"),
    };
    let begun = length();
    lease.finish_bytes(Body::from(&OUTCOME[..])).await.unwrap();
    [begun, length()]
}

async fn pairs_beside_bare_sets(
    server: &Redis,
    stores: &Stores,
    sizes: [usize; 2],
    outstanding: usize,
    pairs: usize,
) {
    let values = sizes.map(|size| Arc::from(vec![7; size]));
    let bare: Vec<_> = bare(stores, &values);
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let names = names(&format!("pair-{outstanding}-{round}"), pairs);
        for turn in 0..samples.len() {
            let which = (round + turn) % samples.len();
            samples[which].push(match which {
                0 => run(server, &bare, outstanding, &names, false).await,
                1 => run(server, &stores.ours, outstanding, &names, false).await,
                _ => run(server, &stores.scripts, outstanding, &names, false).await,
            });
        }
    }
    println!("begin + finish, {outstanding} outstanding a connection");
    let kinds = [
        "SET PX + SET PX, the same bytes",
        "idemp-redis",
        "by script alone",
    ];
    table(kinds, samples);
}

async fn replays_beside_a_script(
    server: &Redis,
    stores: &Stores,
    sizes: [usize; 2],
    outstanding: usize,
    hits: usize,
) {
    let names = names(&format!("hit-{outstanding}"), hits);
    let values = sizes.map(|size| Arc::from(vec![7; size]));
    let bare = bare(stores, &values);
    run(server, &bare, 16, &names, false).await;
    run(server, &stores.ours, 16, &names, false).await;
    run(server, &stores.scripts, 16, &names, false).await;
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in 0..samples.len() {
            let which = (round + turn) % samples.len();
            samples[which].push(match which {
                0 => run(server, &stores.scripts, outstanding, &names, true).await,
                1 => run(server, &stores.ours, outstanding, &names, true).await,
                _ => run(server, &bare, outstanding, &names, true).await,
            });
        }
    }
    println!("replay, {outstanding} outstanding a connection");
    table(["by script alone", "idemp-redis", "GET"], samples);
}

/// What the server alone can do: the bytes that each client sends, sent again by one that does
/// nothing with the replies, and the server's processor time for them.
async fn capacity(server: &Redis, sizes: [usize; 2]) {
    let client = |recorder: &Recorder| redis::Client::open(server.url_at(recorder.addr())).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let recorders = [(); 3].map(|()| Recorder::to(server.addr()));
    let bare = Bare {
        connection: client(&recorders[0])
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap(),
        values: sizes.map(|size| Arc::from(vec![7; size])),
    };
    let builder = RedisStore::builder(server.url_at(recorders[1].addr())).answer_within(PATIENCE);
    let ours = Idempotency::new(builder.connect().await.unwrap());
    let connection = client(&recorders[2])
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let script = Idempotency::new(ByScript::new(connection).await);
    let names: Vec<Name> = (0..CAPACITY).map(|n| name("capacity", n)).collect();
    let sent = [
        record_bare(&recorders[0], &bare, &names).await,
        record(&recorders[1], &ours, &names).await,
        record(&recorders[2], &script, &names).await,
    ];
    println!(
        "the server alone, by its processor time: the same bytes from a client that throws the"
    );
    println!("replies away, us an operation, and how many times the script's rate that is");
    let mut samples = [[(); 3]; 3].map(|steps| steps.map(|()| Vec::new()));
    for _ in 0..ROUNDS {
        for (kind, sent) in sent.iter().enumerate() {
            server.command(&["FLUSHALL"]);
            for (step, bytes) in sent.iter().enumerate() {
                let before = server_processor_time(server);
                blast(server.addr(), bytes);
                let taken = server_processor_time(server) - before;
                samples[kind][step].push(taken * 1e6 / CAPACITY as f64);
            }
        }
    }
    let medians = samples.map(|steps| {
        steps.map(|mut taken| {
            taken.sort_by(f64::total_cmp);
            taken[taken.len() / 2]
        })
    });
    println!(
        "  {:<32} {:>15} {:>15} {:>15}",
        "", "claim", "finish", "replay"
    );
    let kinds = ["SET PX, SET PX, GET", "idemp-redis", "by script alone"];
    for (kind, taken) in kinds.iter().zip(medians) {
        print!("  {kind:<32}");
        for (taken, script) in taken.iter().zip(medians[2]) {
            print!(" {taken:>8.2} {:>5.2}x", script / taken);
        }
        println!();
    }
}

/// The bytes of the claims, of the finishes and of the replays, for every name.
async fn record<S: AsyncStore + 'static>(
    recorder: &Recorder,
    idem: &Idempotency<S>,
    names: &[Name],
) -> [Vec<u8>; 3] {
    let _connecting = recorder.take();
    let mut leases = Vec::with_capacity(names.len());
    for name in names {
        leases.push(miss(idem, name).await);
    }
    let claims = recorder.take();
    for mut lease in leases {
        lease.finish_bytes(Body::from(&OUTCOME[..])).await.unwrap();
    }
    let finishes = recorder.take();
    for name in names {
        hit(idem, name).await;
    }
    [claims, finishes, recorder.take()]
}

async fn record_bare(recorder: &Recorder, bare: &Bare, names: &[Name]) -> [Vec<u8>; 3] {
    let _connecting = recorder.take();
    let mut sets = [Vec::new(), Vec::new()];
    for name in names {
        for (value, sets) in bare.values.iter().zip(&mut sets) {
            bare.set(name, value).await;
            sets.extend(recorder.take());
        }
    }
    for name in names {
        bare.replay(name).await;
    }
    let [first, second] = sets;
    [first, second, recorder.take()]
}

fn bare(stores: &Stores, values: &[Arc<[u8]>; 2]) -> Vec<Bare> {
    let bare = |connection: &MultiplexedConnection| Bare {
        connection: connection.clone(),
        values: values.clone(),
    };
    stores.bare.iter().map(bare).collect()
}

fn table<const N: usize>(names: [&str; N], samples: [Vec<Sample>; N]) {
    let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let first = median(&samples[0], |sample| sample.rate);
    for (name, samples) in names.iter().zip(&samples) {
        let rate = median(samples, |sample| sample.rate);
        let client = median(samples, |sample| sample.client);
        let server = median(samples, |sample| sample.server);
        println!(
            "  {name:<32} {rate:>9.0}/s {:>6.2}x   {client:>6.1} us client, {server:>5.1} us server",
            rate / first
        );
    }
    println!();
}

type Name = (Scope, Key);

fn name(of: &str, n: u64) -> Name {
    let user = format!("user-{:04}", n % 1000);
    let key = format!("final-{of}-{n:08}");
    (Scope::new([user]).unwrap(), Key::new(key).unwrap())
}

fn names(of: &str, count: usize) -> Arc<[Name]> {
    (0..count as u64).map(|n| name(of, n)).collect()
}

/// A client of one connection, put to one piece of work.
trait Work: Clone + Send + Sync + 'static {
    fn pair(&self, name: &Name) -> impl Future<Output = ()> + Send;
    fn replay(&self, name: &Name) -> impl Future<Output = ()> + Send;
}

impl<S: AsyncStore + 'static> Work for Idempotency<S> {
    async fn pair(&self, name: &Name) {
        let outcome = Body::from(&OUTCOME[..]);
        miss(self, name).await.finish_bytes(outcome).await.unwrap();
    }

    async fn replay(&self, name: &Name) {
        hit(self, name).await;
    }
}

/// Two `SET`s and nothing decided.
#[derive(Clone)]
struct Bare {
    connection: MultiplexedConnection,
    values: [Arc<[u8]>; 2],
}

impl Bare {
    async fn set(&self, (scope, key): &Name, value: &[u8]) {
        let slot = SlotKey::new(scope, key);
        let mut set = redis::cmd("SET");
        set.arg([b"bare:", slot.as_bytes()].concat()).arg(value);
        set.arg("PX").arg(DAY);
        let done = self.connection.clone().send_packed_command(&set).await;
        assert_eq!(done.unwrap(), Value::Okay);
    }
}

impl Work for Bare {
    async fn pair(&self, name: &Name) {
        for value in &self.values {
            self.set(name, value).await;
        }
    }

    async fn replay(&self, (scope, key): &Name) {
        let slot = SlotKey::new(scope, key);
        let mut get = redis::cmd("GET");
        get.arg([b"bare:", slot.as_bytes()].concat());
        let found = self.connection.clone().send_packed_command(&get).await;
        assert!(matches!(found.unwrap(), Value::BulkString(_)));
    }
}

/// Does the work for every name, so much of it at a time on every connection; what
/// came of it.
async fn run<W: Work>(
    server: &Redis,
    clients: &[W],
    outstanding: usize,
    names: &Arc<[Name]>,
    hits: bool,
) -> Sample {
    let processor = (own_processor_time(), server_processor_time(server));
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for client in clients
        .iter()
        .flat_map(|one| std::iter::repeat_n(one, outstanding))
    {
        let (client, next, names) = (client.clone(), next.clone(), names.clone());
        workers.spawn(async move {
            while let Some(name) = names.get(next.fetch_add(1, Relaxed)) {
                match hits {
                    true => client.replay(name).await,
                    false => client.pair(name).await,
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    let taken = started.elapsed().as_secs_f64();
    let each = 1e6 / names.len() as f64;
    Sample {
        rate: names.len() as f64 / taken,
        client: (own_processor_time() - processor.0) * each,
        server: (server_processor_time(server) - processor.1) * each,
    }
}

/// Operations a second, and the microseconds of processor time that one takes on either side:
/// those say the same on a machine that is busy with something else.
#[derive(Clone, Copy)]
struct Sample {
    rate: f64,
    client: f64,
    server: f64,
}

/// Seconds, by the system's ticks of 10 ms.
fn own_processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_the_name = stat.rsplit(')').next().unwrap_or("");
    let ticks = behind_the_name.split(' ').skip(12).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap_or(0.0))
        .sum::<f64>()
        / 100.0
}

fn server_processor_time(server: &Redis) -> f64 {
    let info = server.command(&["INFO", "cpu"]);
    let seconds = |name| info.field(name).and_then(|text| text.parse::<f64>().ok());
    seconds("used_cpu_user").unwrap_or(0.0) + seconds("used_cpu_sys").unwrap_or(0.0)
}

fn payload() -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [1; 32])
}

async fn miss<S: AsyncStore + 'static>(
    idem: &Idempotency<S>,
    (scope, key): &Name,
) -> idemp::AsyncLease<S> {
    match idem.begin_async(scope, key, &payload()).await.unwrap() {
        Decision::Miss(lease) => lease,
        _ => panic!("a new key is a miss"),
    }
}

async fn hit<S: AsyncStore + 'static>(idem: &Idempotency<S>, (scope, key): &Name) {
    let decision = idem.begin_async(scope, key, &payload()).await.unwrap();
    assert!(decision.is_hit());
}

/// The store as one would write it first: every swap is the same script.
#[derive(Clone)]
struct ByScript {
    connection: MultiplexedConnection,
    hash: Arc<str>,
}

impl ByScript {
    async fn new(connection: MultiplexedConnection) -> Self {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(SWAP_SCRIPT);
        connection.clone().send_packed_command(&load).await.unwrap();
        let hash = Script::new(SWAP_SCRIPT).get_hash().into();
        Self { connection, hash }
    }
}

impl AsyncStore for ByScript {
    async fn swap(&self, swap: &Swap) -> Result<Swapped, StoreError> {
        let Put::Slot(new) = &swap.put else {
            panic!("nothing is removed here");
        };
        let expect = match &swap.expect {
            Expect::Vacant => &b""[..],
            Expect::Rev(rev) => &rev.as_bytes()[..],
        };
        let head = new.head.as_bytes();
        let mut eval = redis::cmd("EVALSHA");
        eval.arg(&*self.hash).arg(1);
        eval.arg([b"script:", swap.slot.as_bytes()].concat());
        eval.arg(expect)
            .arg([&[1], &new.rev.as_bytes()[..]].concat());
        eval.arg(new.lease_for.as_millis() as u64);
        eval.arg(new.keep_for.as_millis() as u64);
        eval.arg([&[head.len() as u8], head, &new.body].concat())
            .arg("");
        let reply = self.connection.clone().send_packed_command(&eval).await;
        Ok(match reply.unwrap() {
            Value::Int(now) => Swapped {
                now: Timestamp::from_millis(now as u64),
                verdict: Verdict::Won,
            },
            Value::Array(parts) => defeated(&parts),
            other => panic!("no reply of the script: {other:?}"),
        })
    }
}

fn defeated(parts: &[Value]) -> Swapped {
    let [
        Value::Int(now),
        Value::Int(gone_at),
        Value::BulkString(value),
    ] = parts
    else {
        panic!("no reply of the script: {parts:?}");
    };
    let before = i64::from_le_bytes(value[17..25].try_into().unwrap());
    let (head, body) = value[26..].split_at(usize::from(value[25]));
    let slot = Slot {
        rev: Rev::from_bytes(value[1..17].try_into().unwrap()),
        lease_until: Timestamp::from_millis((gone_at - before) as u64),
        gone_at: Timestamp::from_millis(*gone_at as u64),
        head: Head::from_bytes(head).unwrap(),
        body: Body::from(body),
    };
    Swapped {
        now: Timestamp::from_millis(*now as u64),
        verdict: Verdict::Lost(Some(slot)),
    }
}
