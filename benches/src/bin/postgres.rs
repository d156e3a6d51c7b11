//! The PostgreSQL store beside the bare engine: the same bytes in a plain table, by the same
//! driver, on the same server. 8 clients, each with a connection of its own.

#[path = "../../../stores/postgres/tests/support/trips.rs"]
mod trips;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use idemp::{AsyncStore, Decision, Fingerprint, Idempotency, Key, Scope};
use idemp_postgres::deadpool_postgres::Transaction;
use idemp_postgres::tokio_postgres::{Client, NoTls, Statement, connect};
use idemp_postgres::{Commit, PostgresStore};
use idemp_servers::Postgres;
use trips::Trips;

const CLIENTS: usize = 8;
const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(500);
const OUTCOME: [u8; 100] = [7; 100];
/// What the library's record takes at `begin` and after `finish`, printed and checked below.
const HEADS: [usize; 2] = [58, 56];

const PLAIN: &str = "
    CREATE TABLE plain (
        lease_until bigint NOT NULL, gone_at bigint NOT NULL,
        tenant text COLLATE \"C\" NOT NULL, key bytea NOT NULL, rev bytea NOT NULL,
        head bytea NOT NULL, body bytea NOT NULL, PRIMARY KEY (tenant, key));
    CREATE TABLE orders (id bigserial PRIMARY KEY, item text NOT NULL)";
const INSERT: &str = "INSERT INTO plain (lease_until, gone_at, tenant, key, rev, head, body)
     VALUES (1769660921000, 1769747261000, $1, $2, $3, $4, '')";
const UPDATE: &str = "UPDATE plain SET lease_until = 1769660862000, gone_at = 1769747262000,
     rev = $3, head = $4, body = $5 WHERE tenant = $1 AND key = $2";
const SELECT: &str = "SELECT rev, lease_until, gone_at, head, body FROM plain
     WHERE tenant = $1 AND key = $2";
const ORDER: &str = "INSERT INTO orders (item) VALUES ($1)";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let server = Postgres::start_with(&[("max_wal_size", "8GB"), ("checkpoint_timeout", "1h")]);
    server.sql(&format!("SET ROLE idemp_app; {PLAIN}"));
    let ours = |commit| {
        let store = PostgresStore::options(&server.url())
            .connections(CLIENTS)
            .commit(commit);
        Idempotency::new(store.open().unwrap())
    };
    let durable = ours(Commit::Durable);
    durable.store().migrate().await.unwrap();
    println!(
        "{}, {CLIENTS} clients, an outcome of {} bytes; medians of {ROUNDS} rounds of {} ms",
        server.sql("SELECT split_part(version(), ' on ', 1)"),
        OUTCOME.len(),
        ROUND.as_millis()
    );
    println!(
        "and, in brackets, quartiles. The reference is prepared statements on plain connections.\n"
    );
    heads(&server, &durable).await;
    trips_of_each(&server).await;

    for (commit, setting, bar) in [(Commit::Durable, "on", 0.75), (Commit::Relaxed, "off", 0.6)] {
        let plain = Plain::connect(&server.url(), setting).await;
        let idem = ours(commit);
        race(
            &server,
            &format!("begin + finish, synchronous_commit {setting} (to reach: {bar})"),
            ("INSERT + UPDATE", async |client| {
                plain[client].pair(&name()).await
            }),
            ("idemp, begin + finish", async |_| {
                pair(&idem, &name()).await
            }),
        )
        .await;
    }
    replays(&server, &durable).await;
    let plain = Plain::connect(&server.url(), "on").await;
    let plain = plain.map(tokio::sync::Mutex::new);
    for (title, ours, form) in [
        (
            "an order and its outcome in one transaction (to reach: 0.85)",
            "idemp, locking: begin_in + INSERT + finish_in",
            Form::Locking,
        ),
        (
            "the same with a lease that is written",
            "idemp, within: begin_in + INSERT + finish_in",
            Form::Within,
        ),
    ] {
        race(
            &server,
            title,
            ("INSERT + INSERT + UPDATE", async |client| {
                plain[client].lock().await.order(&name()).await
            }),
            (ours, async |_| order(&durable, form, &name()).await),
        )
        .await;
    }
}

/// Runs both in turns, and prints operations a second.
async fn race(
    server: &Postgres,
    title: &str,
    plain: (&str, impl AsyncFn(usize)),
    ours: (&str, impl AsyncFn(usize)),
) {
    let (mut reference, mut measured) = (Vec::new(), Vec::new());
    rate(&plain.1, ROUND).await;
    rate(&ours.1, ROUND).await;
    // Without statistics, and they come when autovacuum comes by, plans are not what they are.
    server.sql("ANALYZE");
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            reference.push(rate(&plain.1, ROUND).await);
            measured.push(rate(&ours.1, ROUND).await);
        } else {
            measured.push(rate(&ours.1, ROUND).await);
            reference.push(rate(&plain.1, ROUND).await);
        }
    }
    let mut ratios: Vec<f64> = measured
        .iter()
        .zip(&reference)
        .map(|(a, b)| a / b)
        .collect();
    println!("{title}");
    for (name, rates) in [(plain.0, &mut reference), (ours.0, &mut measured)] {
        let [low, median, high] = quartiles(rates);
        println!("  {name:<44} {median:>8.0}/s  [{low:>7.0} .. {high:>7.0}]");
    }
    let [low, median, high] = quartiles(&mut ratios);
    println!(
        "  {:<44} {median:>8.2}    [{low:>7.2} .. {high:>7.2}]\n",
        "times the rate, round by round"
    );
}

fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| values[((values.len() - 1) as f64 * part) as usize])
}

/// Operations a second of all clients together.
async fn rate(work: &impl AsyncFn(usize), span: Duration) -> f64 {
    let done = AtomicU64::new(0);
    let start = Instant::now();
    let client = async |client: usize| {
        while start.elapsed() < span {
            work(client).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::join!(
        client(0),
        client(1),
        client(2),
        client(3),
        client(4),
        client(5),
        client(6),
        client(7)
    );
    done.into_inner() as f64 / start.elapsed().as_secs_f64()
}

async fn replays(server: &Postgres, idem: &Idempotency<PostgresStore>) {
    const NAMES: usize = 1000;
    let plain = Plain::connect(&server.url(), "on").await;
    let names: Vec<Name> = (0..NAMES).map(|_| name()).collect();
    for name in &names {
        pair(idem, name).await;
        plain[0].pair(name).await;
        // The first reader tidies up the page; what it writes is not a replay's.
        assert!(begin(idem, name).await.is_hit());
    }
    let turn = AtomicU64::new(0);
    let next = || &names[turn.fetch_add(1, Ordering::Relaxed) as usize % NAMES];
    let position = || {
        server
            .sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
            .parse::<u64>()
            .unwrap()
    };
    server.sql("CHECKPOINT");
    // The server's own work, such as a note of what is running, falls into some of these.
    let mut least = u64::MAX;
    for _ in 0..5 {
        let before = position();
        for name in &names {
            assert!(begin(idem, name).await.is_hit());
        }
        least = least.min(position() - before);
    }
    println!("{NAMES} replays wrote {least} bytes of log\n");
    race(
        server,
        "replay (to reach: 0.75)",
        ("SELECT by primary key", async |client| {
            plain[client].get(next()).await
        }),
        ("idemp, begin (a hit)", async |_| {
            assert!(begin(idem, next()).await.is_hit())
        }),
    )
    .await;
}

/// Checks that the reference writes as much as the store.
async fn heads(server: &Postgres, idem: &Idempotency<PostgresStore>) {
    let name = name();
    let Decision::Miss(mut lease) = begin(idem, &name).await else {
        panic!("a miss")
    };
    let head = || server.sql("SELECT octet_length(head) FROM idempotency_keys");
    let begun = head();
    lease.finish_bytes(&OUTCOME[..]).await.unwrap();
    println!(
        "a head takes {begun} bytes at begin and {} after finish\n",
        head()
    );
    assert_eq!([begun, head()], HEADS.map(|bytes| bytes.to_string()));
}

async fn trips_of_each(server: &Postgres) {
    let trips = Trips::to(server.addr()).await;
    let store = PostgresStore::options(&server.url_at(trips.addr)).connections(1);
    let idem = Idempotency::new(store.open().unwrap());
    pair(&idem, &name()).await; // connects and prepares
    order(&idem, Form::Locking, &name()).await;
    trips.taken();
    let name = name();
    let lease = begin(&idem, &name).await;
    let begin_took = trips.taken();
    let Decision::Miss(mut lease) = lease else {
        panic!("a miss")
    };
    lease.finish_bytes(&OUTCOME[..]).await.unwrap();
    let finish_took = trips.taken();
    assert!(begin(&idem, &name).await.is_hit());
    let replay_took = trips.taken();
    order(&idem, Form::Locking, &self::name()).await;
    println!(
        "trips, counted: begin {begin_took}, finish {finish_took}, replay {replay_took}; an order in one transaction {} \
         (BEGIN, begin_in, INSERT, finish_in, COMMIT)\n",
        trips.taken()
    );
}

type Name = (Scope, Key);

fn name() -> Name {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    // Keys of clients come in no order.
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let scope = Scope::new([format!("tenant-{:02}", n % 64), "POST /orders".into()]);
    (scope.unwrap(), Key::new(format!("final-{n:020}")).unwrap())
}

fn payload() -> Fingerprint {
    Fingerprint::from_parts(Fingerprint::VERSION, [1; 32])
}

async fn begin(
    idem: &Idempotency<PostgresStore>,
    (scope, key): &Name,
) -> Decision<idemp::AsyncLease<PostgresStore>> {
    idem.begin_async(scope, key, &payload()).await.unwrap()
}

async fn pair(idem: &Idempotency<PostgresStore>, name: &Name) {
    let Decision::Miss(mut lease) = begin(idem, name).await else {
        panic!("a miss")
    };
    lease.finish_bytes(&OUTCOME[..]).await.unwrap();
}

/// Of the store inside a transaction.
#[derive(Clone, Copy)]
enum Form {
    Locking,
    Within,
}

async fn order(idem: &Idempotency<PostgresStore>, form: Form, name: &Name) {
    let mut connection = idem.store().pool().get().await.unwrap();
    let transaction = connection.transaction().await.unwrap();
    match form {
        Form::Locking => {
            let inside = idem.store().locking(&transaction);
            order_in(idem, &inside, &transaction, name).await;
        }
        Form::Within => {
            let inside = idem.store().within(&transaction);
            order_in(idem, &inside, &transaction, name).await;
        }
    }
    transaction.commit().await.unwrap();
}

async fn order_in(
    idem: &Idempotency<PostgresStore>,
    inside: &impl AsyncStore,
    transaction: &Transaction<'_>,
    (scope, key): &Name,
) {
    let begun = idem.begin_in(inside, scope, key, &payload()).await;
    let Decision::Miss(lease) = begun.unwrap() else {
        panic!("a miss")
    };
    let insert = transaction.prepare_cached(ORDER).await.unwrap();
    transaction.execute(&insert, &[&"a bicycle"]).await.unwrap();
    idem.finish_bytes_in(inside, &lease, &OUTCOME[..])
        .await
        .unwrap();
}

/// A connection that writes the same bytes and decides nothing.
struct Plain {
    client: Client,
    insert: Statement,
    update: Statement,
    select: Statement,
    order: Statement,
}

impl Plain {
    async fn connect(url: &str, synchronous_commit: &str) -> [Self; CLIENTS] {
        let mut all = Vec::new();
        for _ in 0..CLIENTS {
            let (client, connection) = connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let set = format!("SET synchronous_commit = {synchronous_commit}");
            client.batch_execute(&set).await.unwrap();
            let (insert, update) = (client.prepare(INSERT).await, client.prepare(UPDATE).await);
            let (select, order) = (client.prepare(SELECT).await, client.prepare(ORDER).await);
            all.push(Self {
                insert: insert.unwrap(),
                update: update.unwrap(),
                select: select.unwrap(),
                order: order.unwrap(),
                client,
            });
        }
        all.try_into()
            .unwrap_or_else(|_| unreachable!("so many were pushed"))
    }

    async fn pair(&self, (scope, key): &Name) {
        let (tenant, key) = (scope.parts().next().unwrap(), padded(key));
        let (rev, begun, ended) = (&[1u8; 16][..], &[1u8; HEADS[0]][..], &[1u8; HEADS[1]][..]);
        self.client
            .execute(&self.insert, &[&tenant, &key, &rev, &begun])
            .await
            .unwrap();
        let outcome = &OUTCOME[..];
        self.client
            .execute(&self.update, &[&tenant, &key, &rev, &ended, &outcome])
            .await
            .unwrap();
    }

    async fn get(&self, (scope, key): &Name) {
        let (tenant, key) = (scope.parts().next().unwrap(), padded(key));
        let row = self
            .client
            .query_one(&self.select, &[&tenant, &key])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &[u8]>(4), OUTCOME);
    }

    async fn order(&mut self, (scope, key): &Name) {
        let (tenant, key) = (scope.parts().next().unwrap(), padded(key));
        let (rev, begun, ended) = (&[1u8; 16][..], &[1u8; HEADS[0]][..], &[1u8; HEADS[1]][..]);
        let transaction = self.client.transaction().await.unwrap();
        transaction
            .execute(&self.insert, &[&tenant, &key, &rev, &begun])
            .await
            .unwrap();
        transaction
            .execute(&self.order, &[&"a bicycle"])
            .await
            .unwrap();
        let outcome = &OUTCOME[..];
        transaction
            .execute(&self.update, &[&tenant, &key, &rev, &ended, &outcome])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
}

/// As long as the store's key, which holds the second part of the scope.
fn padded(key: &Key) -> Vec<u8> {
    [b"\x02\x00\x0cPOST /orders", key.as_str().as_bytes()].concat()
}
