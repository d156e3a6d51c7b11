//! A URL of a server opens it.

mod twice;

use idemp_servers::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_redis_opens_the_server() {
    twice::creates_once(&Redis::shared().url()).await;
}
