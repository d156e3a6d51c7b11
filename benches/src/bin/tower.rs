//! The tower layer in a real axum server: request rates over loopback beside the same server
//! without it, in one run. For a service that writes its task to a file before it answers, as
//! `examples/video_tasks` does, and has that one's middleware; for the same with its tasks in memory;
//! and for a handler with nothing around it, which is what the layer looks worst beside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use axum::middleware::from_fn;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use idemp::{MemoryStore, Policy};
use idemp_benches::service::{self, Orders};
use tokio::net::{TcpListener, TcpStream};
use video_tasks::{bearer, problem, request_id};

/// All servers and clients use it. The allocator of glibc takes longer where memory that is kept,
/// as records are, lies between memory that is not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections that are kept alive, each with one request under way.
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(300);
/// Keys that were used before, for replays.
const USED: usize = 1000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "POST of 1 KB of JSON, answered 201 with the task, {CONNECTIONS} connections kept alive,"
    );
    println!(
        "server and clients (hyper's) on the same cores; medians of {ROUNDS} interleaved rounds\n"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let files = AtomicUsize::new(0);
    let in_a_file = || {
        let name = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
        Orders::in_file(&folder.path().join(name)).expect("a file")
    };
    let with_middleware = |router: Router| {
        router
            .layer(from_fn(bearer::known))
            .layer(from_fn(problem::tell))
            .layer(from_fn(request_id::name))
    };
    let title =
        "a service with request ids, bearer users and errors in one form, its tasks in a file";
    compare(title, in_a_file, with_middleware).await;
    let title = "the same, its tasks in memory";
    compare(title, Orders::in_memory, with_middleware).await;
    let title = "a handler with nothing around it, which does next to nothing";
    compare(title, Orders::in_memory, |router| router).await;
}

async fn compare(title: &str, orders: impl Fn() -> Orders, around: impl Fn(Router) -> Router) {
    let layered = |retention| {
        let policy = Policy::replay(retention).build().expect("it is in bounds");
        let store = MemoryStore::with(idemp::SystemClock::new(), 1 << 24);
        around(service::router(orders()).layer(service::layer(policy, store)))
    };
    let plain = serve(around(service::router(orders()))).await;
    // New keys for a second each: so the store has its steady size, and what expires makes room.
    let misses = serve(layered(Duration::from_secs(1))).await;
    let hits = serve(layered(Policy::DEFAULT_RETENTION)).await;

    let fresh = Arc::new(AtomicUsize::new(USED));
    let used = Arc::new(AtomicUsize::new(0));
    load(hits, used.clone(), Some(USED), Until::Count(USED)).await;
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..=ROUNDS {
        let round = Until::Time(ROUND);
        samples[0].push(load(plain, fresh.clone(), None, round).await);
        samples[1].push(load(misses, fresh.clone(), None, round).await);
        samples[2].push(load(hits, used.clone(), Some(USED), round).await);
    }
    let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().skip(1).map(of).collect(); // one to warm up
        values.sort_by(f64::total_cmp);
        (
            values[ROUNDS / 2],
            values[ROUNDS / 4],
            values[ROUNDS * 3 / 4],
        )
    };
    let rates = samples.each_ref().map(|them| median(them, |one| one.rate));
    let cpu = samples.map(|them| median(&them, |one| one.cpu).0);
    println!("{title}");
    let names = [
        "without the layer",
        "with it, each a new key",
        "with it, each a replay",
    ];
    for ((name, (median, low, high)), cpu) in names.iter().zip(rates).zip(cpu) {
        let ratio = median / rates[0].0;
        println!(
            "  {name:<24} {median:>7.0} requests/s  [{low:>6.0} .. {high:>6.0}] {ratio:>6.2}x  {cpu:>6.2} us"
        );
    }
    println!();
}

async fn serve(router: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Count(usize),
}

/// What a round found.
struct Sample {
    /// Requests a second.
    rate: f64,
    /// What a request costs server and client, in microseconds of a processor: what else the
    /// machine does moves it less than the rate. Zero where the system does not tell.
    cpu: f64,
}

/// The time that the threads of this process have run so far, in nanoseconds, on Linux.
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let stats = tasks.flatten().map(|task| task.path().join("schedstat"));
    let ran = |stat: String| {
        stat.split(' ')
            .next()
            .and_then(|ran| ran.parse::<f64>().ok())
    };
    let ran = stats.filter_map(|path| std::fs::read_to_string(path).ok().and_then(ran));
    ran.sum()
}

/// Sends requests with one key after the other, `wrap` keys in turn.
async fn load(
    address: std::net::SocketAddr,
    keys: Arc<AtomicUsize>,
    wrap: Option<usize>,
    until: Until,
) -> Sample {
    let (start, cpu_before) = (Instant::now(), cpu());
    let clients = (0..CONNECTIONS).map(|_| {
        let keys = keys.clone();
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.expect("it is served");
            stream.set_nodelay(true).expect("a socket");
            let (mut client, connection) =
                http1::handshake(TokioIo::new(stream)).await.expect("http");
            let connection = tokio::spawn(connection);
            let body = service::order();
            let mut done = 0;
            loop {
                match until {
                    Until::Time(round) if start.elapsed() >= round => break,
                    Until::Count(count) if done >= count.div_ceil(CONNECTIONS) => break,
                    _ => {}
                }
                let key = keys.fetch_add(1, Ordering::Relaxed);
                ask(
                    &mut client,
                    wrap.map_or(key, |wrap| key % wrap),
                    body.clone(),
                )
                .await;
                done += 1;
            }
            drop(client);
            connection.await.expect("no panic").expect("a clean end");
            done
        })
    });
    let mut done = 0;
    for client in clients.collect::<Vec<_>>() {
        done += client.await.expect("a client");
    }
    let done = done as f64;
    Sample {
        rate: done / start.elapsed().as_secs_f64(),
        cpu: (cpu() - cpu_before) / done / 1e3,
    }
}

/// One request, and its answer to the last byte.
async fn ask(client: &mut http1::SendRequest<Full<Bytes>>, key: usize, body: Bytes) {
    let request = Request::post(service::PATH)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::AUTHORIZATION,
            "Bearer 793ccc64-5717-4562-b3fc-2c963f66afa6",
        )
        .header("idempotency-key", format!("final-{key:010}"))
        .body(Full::new(body))
        .expect("a request");
    client.ready().await.expect("it is served");
    let answer = client.send_request(request).await.expect("it is served");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body = answer.into_body().collect().await.expect("a whole answer");
    assert!(body.to_bytes().starts_with(b"{\"task_id\":\"vt_"));
}
