//! The shared vectors of `apply`, answered by the SQL functions at the very millisecond.

mod support;

use idemp::{AsyncStore as _, Slot, Swap, Swapped, Timestamp};
use idemp_postgres::tokio_postgres::Client;
use serde::Deserialize;
use support::Place;

#[derive(Deserialize)]
struct Applied {
    name: String,
    slot: Option<Slot>,
    now: Timestamp,
    swap: Swap,
    slot_after: Option<Slot>,
    reply: Swapped,
}

fn vectors() -> Vec<Applied> {
    let text = include_str!("../../../tests/vectors/apply.json");
    serde_json::from_str(text).unwrap()
}

/// Sets the clock of the table, and what lies in it, as the superuser.
async fn arrange(superuser: &Client, table: &str, case: &Applied) {
    let now = at(case.now);
    let clock = format!(
        "TRUNCATE {table};
         CREATE OR REPLACE FUNCTION {table}_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ SELECT {now} $$"
    );
    superuser.batch_execute(&clock).await.unwrap();
    let Some(slot) = &case.slot else { return };
    let (tenant, key) = columns(&case.swap);
    let insert = format!(
        "INSERT INTO {table} (tenant, key, rev, lease_until, gone_at, purge_after, head, body)
         VALUES ($1, $2, $3, {0}, {1}, {1}, $4, $5)",
        at(slot.lease_until),
        at(slot.gone_at),
    );
    let rev = &slot.rev.as_bytes()[..];
    let (head, body) = (slot.head.as_bytes(), &*slot.body);
    let row: [&(dyn idemp_postgres::tokio_postgres::types::ToSql + Sync); 5] =
        [&tenant, &key, &rev, &head, &body];
    superuser.execute(&insert, &row).await.unwrap();
}

/// A time as SQL.
fn at(time: Timestamp) -> String {
    format!(
        "('epoch'::timestamptz + '{}ms'::interval)",
        time.as_millis()
    )
}

/// The two columns of the primary key, as the README tells them.
fn columns(swap: &Swap) -> (String, Vec<u8>) {
    let tenant = swap.slot.scope_parts()[0].to_string();
    let name = swap.slot.as_bytes();
    let mut key = vec![name[0]];
    key.extend_from_slice(&name[3 + tenant.len()..]);
    (tenant, key)
}

async fn lies_there(superuser: &Client, table: &str) -> Option<Slot> {
    let millis = |column: &str| format!("(extract(epoch FROM {column}) * 1000)::bigint");
    let times = ["lease_until", "gone_at", "purge_after"].map(millis);
    let select = format!("SELECT rev, head, body, {} FROM {table}", times.join(", "));
    let row = superuser.query_opt(&select, &[]).await.unwrap()?;
    let at = |column: usize| Timestamp::from_millis(row.get::<_, i64>(column) as u64);
    assert!(at(5) <= at(4), "the purge would come too late");
    Some(Slot {
        rev: idemp::Rev::from_bytes(row.get::<_, &[u8]>(0).try_into().unwrap()),
        lease_until: at(3),
        gone_at: at(4),
        head: idemp::Head::from_bytes(row.get(1)).unwrap(),
        body: row.get::<_, &[u8]>(2).into(),
    })
}

#[tokio::test]
async fn the_store_answers_every_vector_as_apply_does() {
    let place = Place::new();
    let store = place.store().await;
    let superuser = support::connect(&place.server.superuser_url()).await;
    let vectors = vectors();
    assert!(vectors.len() >= 240);
    for case in vectors {
        arrange(&superuser, &place.table, &case).await;
        assert_eq!(
            store.swap(&case.swap).await.unwrap(),
            case.reply,
            "{}",
            case.name
        );
        let after = lies_there(&superuser, &place.table).await;
        assert_eq!(after, case.slot_after, "{}", case.name);
    }
}

#[tokio::test]
async fn inside_a_transaction_it_answers_the_same_and_a_rollback_leaves_nothing() {
    let place = Place::new();
    let store = place.store().await;
    let superuser = support::connect(&place.server.superuser_url()).await;
    let mut client = place.client().await;
    for case in vectors() {
        arrange(&superuser, &place.table, &case).await;
        for commits in [false, true] {
            let transaction = client.transaction().await.unwrap();
            let reply = store.within(&transaction).swap(&case.swap).await.unwrap();
            assert_eq!(reply, case.reply, "{}", case.name);
            if commits {
                transaction.commit().await.unwrap();
                let after = lies_there(&superuser, &place.table).await;
                assert_eq!(after, case.slot_after, "{}", case.name);
            } else {
                transaction.rollback().await.unwrap();
                let after = lies_there(&superuser, &place.table).await;
                assert_eq!(after, case.slot, "{}", case.name);
            }
        }
    }
}
