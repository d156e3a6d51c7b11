//! The order and its outcome are committed together, or not at all.
//!
//! `DATABASE_URL=postgres://… cargo run -p idemp-postgres --example same_transaction`

use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
use idemp_postgres::PostgresStore;

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let url = std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a database")?;
    for (request, answer) in ["first", "retry", "other"].iter().zip(orders(&url).await?) {
        println!("{request}  {answer}");
    }
    Ok(())
}

/// An order, its retry, and another order under the same key.
pub(crate) async fn orders(url: &str) -> Result<[String; 3], Failed> {
    let store = PostgresStore::open(url)?;
    store.migrate().await?;
    let orders = "CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text NOT NULL)";
    store.pool().get().await?.batch_execute(orders).await?;

    let idem = Idempotency::new(store);
    let key = std::process::id().to_string(); // in earnest: from the request
    Ok([
        create_order(&idem, &key, "a bicycle").await?,
        create_order(&idem, &key, "a bicycle").await?,
        create_order(&idem, &key, "a boat").await?,
    ])
}

async fn create_order(
    idem: &Idempotency<PostgresStore>,
    key: &str,
    item: &str,
) -> Result<String, Failed> {
    let scope = Scope::new(["tenant-7", "POST /orders"])?;
    let request = Fingerprint::of_json(serde_json::to_string(item)?.as_bytes());

    let mut connection = idem.store().pool().get().await?;
    let transaction = connection.transaction().await?;
    let inside = idem.store().locking(&transaction);
    match idem
        .begin_in(&inside, &scope, &Key::new(key)?, &request)
        .await?
    {
        Decision::Miss(lease) => {
            let insert = "INSERT INTO orders (item) VALUES ($1) RETURNING id";
            let id: i64 = transaction.query_one(insert, &[&item]).await?.get(0);
            let answer = format!("order {id}: {item}");
            idem.finish_in(&inside, &lease, &answer).await?;
            transaction.commit().await?;
            Ok(answer)
        }
        // Where nothing was written the transaction ends with a rollback, by itself.
        Decision::Hit(replay) => Ok(replay.json()?),
        Decision::Conflict => Ok("409: the key was used with another payload".into()),
        other => Ok(format!(
            "409: in progress, retry after {:?}",
            other.retry_after()
        )),
    }
}
