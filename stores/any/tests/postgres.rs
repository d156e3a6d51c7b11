//! A URL of a server opens it.

mod twice;

use idemp_servers::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_postgresql_opens_its_table_and_makes_it_first() {
    twice::creates_once(&Postgres::shared().url()).await;
}
