//! Row level security: a tenant sees its own rows, and nobody sees rows by accident.

mod support;

use std::time::Duration;

use idemp::{AsyncStore as _, Expect, Scope, SlotKey, StoreError, Swap, Verdict};
use idemp_postgres::PostgresStore;
use idemp_postgres::tokio_postgres::Client;
use support::*;

/// A role that may use the table and does not own it, and a store by it.
async fn by_a_service(place: &Place) -> (PostgresStore, Client) {
    place.store().await;
    let role = format!("service_{}", place.table);
    place.sql(&format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS;
         GRANT SELECT, INSERT, UPDATE, DELETE ON KEYS TO {role}"
    ));
    (service(place), connect(&url_of_service(place)).await)
}

/// A store by the role of [`by_a_service`], with connections of its own.
fn service(place: &Place) -> PostgresStore {
    let options = PostgresStore::options(&url_of_service(place));
    options.table(&place.table).open().unwrap()
}

fn url_of_service(place: &Place) -> String {
    let (table, server) = (&place.table, place.server.addr());
    format!("postgres://service_{table}@{server}/idemp")
}

fn of(tenant: &str) -> SlotKey {
    SlotKey::new(&Scope::new([tenant, "POST /orders"]).unwrap(), &key("k"))
}

async fn rows(client: &Client, place: &Place, tenant: Option<&str>) -> Vec<String> {
    let tenant = tenant.unwrap_or("");
    let set = "SELECT set_config('idemp.tenant', $1, false)";
    client.execute(set, &[&tenant]).await.unwrap();
    let select = format!("SELECT tenant FROM {} ORDER BY tenant", place.table);
    let rows = client.query(&select, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_same_key_of_two_tenants_is_two_records_and_neither_sees_the_other() {
    let place = Place::new();
    let (store, client) = by_a_service(&place).await;
    for tenant in ["tenant-1", "tenant-2"] {
        let reply = ask(
            &store,
            of(tenant),
            Expect::Vacant,
            put(fresh(), tenant.as_bytes()),
        )
        .await;
        assert_eq!(reply.verdict, Verdict::Won);
    }
    for tenant in ["tenant-1", "tenant-2"] {
        assert_eq!(
            *read(&store, of(tenant)).await.unwrap().body,
            *tenant.as_bytes()
        );
        assert_eq!(rows(&client, &place, Some(tenant)).await, [tenant]);
    }
    assert!(rows(&client, &place, Some("tenant-3")).await.is_empty());
}

#[tokio::test]
async fn without_a_tenant_nothing_is_seen_changed_or_inserted() {
    let place = Place::new();
    let (store, service) = by_a_service(&place).await;
    ask(&store, of("tenant-1"), Expect::Vacant, put(fresh(), b"")).await;
    let owner = place.client().await;
    for client in [&service, &owner] {
        // Never set, and set to nothing.
        let fresh = format!("SELECT count(*) FROM {}", place.table);
        assert_eq!(
            client
                .query_one(&fresh, &[])
                .await
                .unwrap()
                .get::<_, i64>(0),
            0
        );
        assert!(rows(client, &place, None).await.is_empty());
        for (statement, done) in [
            ("UPDATE KEYS SET gone_at = 'epoch'", Ok(0)),
            ("DELETE FROM KEYS", Ok(0)),
            (
                "INSERT INTO KEYS VALUES ('epoch', 'epoch', 'epoch', '', '', '', '', '')",
                Err("42501"),
            ),
            (
                "INSERT INTO KEYS VALUES ('epoch', 'epoch', 'epoch', 'tenant-1', '', '', '', '')",
                Err("42501"),
            ),
        ] {
            let statement = statement.replace("KEYS", &place.table);
            let result = client.execute(&statement, &[]).await;
            let result = result.map_err(|error| error.code().unwrap().code().to_string());
            assert_eq!(result, done.map_err(str::to_string), "{statement}");
        }
    }
    assert!(read(&store, of("tenant-1")).await.is_some());
}

#[tokio::test]
async fn a_tenant_can_neither_write_nor_hit_upon_the_rows_of_another() {
    let place = Place::new();
    let (store, client) = by_a_service(&place).await;
    ask(&store, of("tenant-1"), Expect::Vacant, put(fresh(), b"")).await;
    assert!(rows(&client, &place, Some("tenant-2")).await.is_empty());
    // A key that the other tenant has and one that it has not: the same answer.
    for tenant in ["tenant-1", "tenant-9"] {
        let insert = format!(
            "INSERT INTO {0} SELECT 'epoch', 'epoch', 'epoch', $1, key, '', '', '' FROM (VALUES ('\\x01'::bytea)) k (key)",
            place.table
        );
        let error = client.execute(&insert, &[&tenant]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501");
    }
    let own = format!(
        "INSERT INTO {} VALUES ('epoch', 'epoch', 'epoch', 'tenant-2', '', '', '', '')",
        place.table
    );
    client.execute(&own, &[]).await.unwrap();
    let away = format!("UPDATE {} SET tenant = 'tenant-1'", place.table);
    let error = client.execute(&away, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}

#[tokio::test]
async fn the_tenant_of_a_question_is_forgotten_with_it() {
    let place = Place::new();
    let (store, _) = by_a_service(&place).await;
    ask(&store, of("tenant-1"), Expect::Vacant, put(fresh(), b"")).await;
    // A connection of the pool, after a question; and a transaction, after one.
    let mut connection = store.pool().get().await.unwrap();
    assert!(rows_as_they_are(&connection, &place).await.is_empty());
    let transaction = connection.transaction().await.unwrap();
    for tenant in ["tenant-1", "tenant-2"] {
        ask(
            &store.within(&transaction),
            of(tenant),
            Expect::Vacant,
            put(fresh(), b""),
        )
        .await;
        assert!(
            rows_as_they_are(transaction.client(), &place)
                .await
                .is_empty()
        );
    }
    // The caller's own setting stays as it was.
    transaction
        .execute("SET LOCAL idemp.tenant = 'tenant-2'", &[])
        .await
        .unwrap();
    assert!(
        read(&store.within(&transaction), of("tenant-1"))
            .await
            .is_some()
    );
    assert_eq!(
        rows_as_they_are(transaction.client(), &place).await,
        ["tenant-2"]
    );
}

async fn rows_as_they_are(client: &Client, place: &Place) -> Vec<String> {
    let select = format!("SELECT tenant FROM {}", place.table);
    let rows = client.query(&select, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_purge_takes_what_is_gone_of_every_tenant_and_sees_nothing_that_is_not() {
    let place = Place::new();
    let (store, client) = by_a_service(&place).await;
    let soon = Duration::from_millis(1);
    for n in 0..10 {
        let gone = put_for(fresh(), soon, soon, b"gone");
        ask(&store, of(&format!("gone-{n}")), Expect::Vacant, gone).await;
        ask(
            &store,
            of(&format!("live-{n}")),
            Expect::Vacant,
            put(fresh(), b"live"),
        )
        .await;
    }
    // With the purge's setting a role sees what the purge sees.
    client
        .batch_execute("SET idemp.purge = 'on'")
        .await
        .unwrap();
    let all_gone = async || rows(&client, &place, None).await.len() == 10;
    until("all are gone", all_gone).await;
    assert!(
        rows(&client, &place, None)
            .await
            .iter()
            .all(|tenant| tenant.starts_with("gone"))
    );
    let touch = format!("UPDATE {} SET gone_at = gone_at", place.table);
    assert!(
        client.execute(&touch, &[]).await.is_err(),
        "it may delete, and nothing else"
    );

    assert_eq!(store.purge(4).await.unwrap(), 4);
    assert_eq!(store.purge(100).await.unwrap(), 6);
    assert_eq!(store.purge(100).await.unwrap(), 0);
    assert_eq!(place.sql("SELECT count(*) FROM KEYS"), "10");
    for n in 0..10 {
        assert!(read(&store, of(&format!("live-{n}"))).await.is_some());
    }
}

#[tokio::test]
async fn a_record_whose_finish_came_late_is_kept_for_its_whole_retention() {
    let place = Place::new();
    let (store, _) = by_a_service(&place).await;
    let (first, second) = (fresh(), fresh());
    let soon = Duration::from_millis(50);
    let begun = ask(
        &store,
        of("t"),
        Expect::Vacant,
        put_for(first, soon, soon, b""),
    )
    .await;
    let finished = ask(&store, of("t"), Expect::Rev(first), put(second, b"outcome")).await;
    assert_eq!(
        (begun.verdict, finished.verdict),
        (Verdict::Won, Verdict::Won)
    );
    let past = async || place.sql("SELECT purge_after < KEYS_now() FROM KEYS") == "t";
    until("the purge could look at it", past).await;
    assert_eq!(store.purge(100).await.unwrap(), 0);
    assert_eq!(read(&store, of("t")).await.unwrap().rev, second);
}

#[tokio::test]
async fn several_purgers_and_a_new_lease_share_the_work() {
    let place = Place::new();
    let (store, _) = by_a_service(&place).await;
    place.sql(
        "INSERT INTO KEYS SELECT 'epoch', 'epoch', 'epoch', 't' || n, '\\x01', '\\x01', '', '' FROM generate_series(1, 2000) n",
    );
    // A transaction holds some of them: the purgers pass over those, and do not wait.
    let mut superuser = connect(&place.server.superuser_url()).await;
    let holds = superuser.transaction().await.unwrap();
    let lock = format!(
        "SELECT FROM {} WHERE tenant LIKE 't1%' FOR UPDATE",
        place.table
    );
    let held = holds.execute(&lock, &[]).await.unwrap();
    let purgers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut purged = 0;
            loop {
                match store.purge(100).await.unwrap() {
                    0 => return purged,
                    batch => purged += batch,
                }
            }
        })
    });
    let mut purged = 0;
    for purger in purgers.collect::<Vec<_>>() {
        purged += purger.await.unwrap();
    }
    assert!(held > 1000);
    assert_eq!(purged, 2000 - held, "each is deleted and counted once");
    holds.rollback().await.unwrap();
    assert_eq!(store.purge(5000).await.unwrap(), held);
}

#[tokio::test]
async fn a_role_without_grants_is_told_what_it_lacks() {
    let place = Place::new();
    place.store().await;
    place.sql("CREATE ROLE stranger LOGIN");
    let url = format!("postgres://stranger@{}/idemp", place.server.addr());
    let store = PostgresStore::options(&url)
        .table(&place.table)
        .open()
        .unwrap();
    let error = store.swap(&Swap::read(of("t"))).await.unwrap_err();
    let StoreError::Unusable(Some(cause)) = error else {
        panic!("{error:?}")
    };
    assert!(
        cause.to_string().contains("grant select, insert"),
        "{cause}"
    );
}

/// What a claim reads before the tenant is set is not seen: then a function looks again. So the plan
/// decides how long it takes, and never what comes of it.
#[tokio::test]
async fn whatever_the_plan_a_claim_finds_the_record_of_its_tenant() {
    const JOINS: [&str; 3] = ["nestloop", "hashjoin", "mergejoin"];
    for join in JOINS {
        let place = Place::new();
        let (store, _) = by_a_service(&place).await;
        for (tenant, body) in [("tenant-1", b"1"), ("tenant-2", b"2")] {
            let claim = put(fresh(), body);
            assert_eq!(
                ask(&store, of(tenant), Expect::Vacant, claim).await.verdict,
                Verdict::Won
            );
        }
        for other in JOINS.iter().filter(|other| **other != join) {
            place.sql(&format!("ALTER ROLE service_KEYS SET enable_{other} = off"));
        }
        let planned = service(&place);
        for (tenant, body) in [("tenant-1", b"1"), ("tenant-2", b"2"), ("tenant-1", b"1")] {
            let claim = put(fresh(), b"3");
            let reply = ask(&planned, of(tenant), Expect::Vacant, claim).await;
            let Verdict::Lost(Some(slot)) = reply.verdict else {
                panic!("{join}: a record that was there was claimed, or not shown");
            };
            assert_eq!(*slot.body, *body, "{join}");
        }
        let reply = ask(&planned, of("tenant-3"), Expect::Vacant, put(fresh(), b"3")).await;
        assert_eq!(reply.verdict, Verdict::Won, "{join}");
    }
}
