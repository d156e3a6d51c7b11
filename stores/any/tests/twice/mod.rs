//! One creation, asked for by two stores of the same URL.

#![allow(unreachable_pub)] // a module of several programs

use idemp::{Decision, Fingerprint, Idempotency, Key, Scope};
use idemp_stores::FromUrl;

/// Creates under a key and replays it; the second time on a store that was opened anew.
pub async fn creates_once(url: &str) {
    let scope = Scope::new(["tenant-7"]).unwrap();
    let key = Key::digest([url]).unwrap();
    let request = Fingerprint::of_json(b"{}");
    let idem = Idempotency::from_url(url).await.unwrap();
    let Decision::Miss(mut lease) = idem.begin_async(&scope, &key, &request).await.unwrap() else {
        panic!("it is new");
    };
    lease.finish("vt_1").await.unwrap();
    drop((lease, idem));
    let again = Idempotency::from_url(url).await.unwrap();
    let Decision::Hit(replay) = again.begin_async(&scope, &key, &request).await.unwrap() else {
        panic!("it is known");
    };
    assert_eq!(replay.json::<String>().unwrap(), "vt_1");
}
