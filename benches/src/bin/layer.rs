//! What the tower layer adds to a request, without a socket: allocations, and time.
//!
//! For instructions, which do not vary with what else the machine does, run one case alone:
//!
//! ```text
//! cargo build --release -p idemp-benches --bin layer
//! valgrind --tool=callgrind --toggle-collect='layer::answer' target/release/layer miss
//! ```
//!
//! and divide by the number of requests that it prints. The cases are `plain`, `miss`, `hit`.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use idemp::{Clock, MemoryStore, Policy, Timestamp};
use idemp_benches::{Race, service};
use mimalloc::MiMalloc;
use tower_service::Service;

/// The allocator of the benchmark over loopback, counting what each thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: every call is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ASKED.try_with(|asked| {
            let (times, bytes) = asked.get();
            asked.set((times + 1, bytes + layout.size()));
        });
        // SAFETY: as it came.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as it came.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests that warm a case up, and that are then measured.
const REQUESTS: usize = 10_000;
/// Keys that were used before, for replays.
const USED: usize = 1000;

fn main() {
    // The layer wants a runtime at hand, though nothing here waits.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    if let Some(name) = std::env::args().nth(1) {
        let case = cases().into_iter().find(|case| case.name == name);
        let mut case = case.expect("`plain`, `miss` or `hit`");
        case.measure();
        return println!("{REQUESTS} requests");
    }
    println!("POST of 1 KB of JSON, answered 201, called in place: what a request allocates");
    for mut case in cases() {
        let (times, bytes) = case.measure();
        let (times, bytes) = (times / REQUESTS, bytes / REQUESTS);
        println!("  {:<8} {times:>4} times {bytes:>8} bytes", case.name);
    }
    let mut race = Race::new("\nhow long it takes, with the making of the request");
    for mut case in cases() {
        race.contender(case.name, move || {
            let request = case.request();
            answer(&mut case.service, request);
        });
    }
    race.run().print();
}

struct Case {
    name: &'static str,
    service: Router,
    /// Counts the requests, to make their keys of.
    asked: usize,
    /// So many keys take turns.
    keys: usize,
}

fn cases() -> [Case; 3] {
    let layered = |retention| {
        let policy = Policy::replay(retention).build().expect("it is in bounds");
        let store = MemoryStore::with(Ticks::default(), 1 << 20);
        service::router(service::Orders::in_memory()).layer(service::layer(policy, store))
    };
    let case = |name, service, keys| {
        let mut case = Case {
            name,
            service,
            asked: 0,
            keys,
        };
        for _ in 0..REQUESTS {
            let request = case.request();
            answer(&mut case.service, request);
        }
        case
    };
    [
        case(
            "plain",
            service::router(service::Orders::in_memory()),
            usize::MAX,
        ),
        // So short that the store has its steady size, and what expires makes room.
        case("miss", layered(Duration::from_secs(1)), usize::MAX),
        case("hit", layered(Policy::DEFAULT_RETENTION), USED),
    ]
}

impl Case {
    fn request(&mut self) -> Request<Body> {
        let key = self.asked % self.keys;
        self.asked += 1;
        Request::post(service::PATH)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", format!("final-{key:010}"))
            .body(service::order().into())
            .expect("a request")
    }

    /// What the requests asked the allocator for: how often, and for how many bytes.
    fn measure(&mut self) -> (usize, usize) {
        let mut sum = (0, 0);
        for _ in 0..REQUESTS {
            let request = self.request();
            let before = ASKED.get();
            measured(&mut self.service, request);
            let after = ASKED.get();
            sum = (sum.0 + after.0 - before.0, sum.1 + after.1 - before.1);
        }
        sum
    }
}

/// A name for the profiler: what makes ready for it does not count.
#[inline(never)]
fn measured(service: &mut Router, request: Request<Body>) {
    answer(service, request);
}

/// One request, and its answer to the last byte. Nothing in it waits.
fn answer(service: &mut Router, request: Request<Body>) {
    let response = ready(service.call(request)).expect("it never fails");
    assert_eq!(response.status(), StatusCode::CREATED);
    let body = ready(response.into_body().collect()).expect("a whole answer");
    assert!(body.to_bytes().starts_with(b"{\"task_id\":\"vt_"));
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// A clock that moves with the questions it is asked, so that every run is the same.
#[derive(Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::Relaxed) / 16)
    }
}
