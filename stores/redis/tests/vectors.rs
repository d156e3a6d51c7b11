//! The shared vectors of `apply`, against a real server.
//!
//! A server's clock cannot be set, so each case is moved in time: its `now` becomes a moment that
//! comes soon. What lies there is laid with its deadlines, and the question is put. The server's
//! answer says what its time was; `apply`, at that time, says what the answer has to be. A case
//! whose deadlines lie that close together is one of a few that the server's time may have passed
//! by; the definition is held against it all the same.

mod asks;

use idemp::{AsyncStore, Slot, SlotKey, Swap, Timestamp, Verdict, apply};
use idemp_redis::RedisStore;
use idemp_servers::Redis;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    slot: Option<Slot>,
    now: Timestamp,
    swap: Swap,
}

#[tokio::test]
async fn a_server_answers_the_vectors_as_the_definition_does() {
    let text = include_str!("../../../tests/vectors/apply.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() > 50, "the vectors are there");
    let server = Redis::shared();
    let mut late = 0;
    for case in &cases {
        let store = RedisStore::connect(server.url()).await.unwrap();
        late += u32::from(run(server, &store, case).await);
    }
    assert!(
        late * 4 < cases.len() as u32,
        "most cases met their moment: {late}"
    );
}

/// Runs a case; `true` where the server's time was another one than the case's in what matters.
async fn run(server: &Redis, store: &RedisStore, case: &Case) -> bool {
    let soon = store
        .swap(&Swap::read(case.swap.slot.clone()))
        .await
        .unwrap()
        .now;
    let shift = soon.as_millis() as i64 + 20 - case.now.as_millis() as i64;
    let moved = |at: Timestamp| Timestamp::from_millis(at.as_millis().saturating_add_signed(shift));
    let before = case.slot.clone().map(|slot| Slot {
        lease_until: moved(slot.lease_until),
        gone_at: moved(slot.gone_at),
        ..slot
    });
    lay(server, &case.swap.slot, before.as_ref());
    let at = moved(case.now);
    // The moment itself: the server is asked until its time has come.
    while store
        .swap(&Swap::read(asks::name("the time")))
        .await
        .unwrap()
        .now
        < at
    {}
    let reply = store.swap(&case.swap).await.unwrap();
    let mut after = before.clone();
    let expected = apply(&mut after, &case.swap, reply.now);
    assert_eq!(reply, expected, "{}", case.name);
    let left = store
        .swap(&Swap::read(case.swap.slot.clone()))
        .await
        .unwrap();
    let after = after.filter(|slot| left.now < slot.gone_at);
    assert_eq!(left.verdict, Verdict::Lost(after), "{}", case.name);
    server.command(&["FLUSHALL"]);
    let met = |now| apply(&mut before.clone(), &case.swap, now).verdict;
    met(reply.now) != met(at)
}

/// Puts a slot there with its deadlines, in the form that the store reads.
fn lay(server: &Redis, name: &SlotKey, slot: Option<&Slot>) {
    let Some(slot) = slot else { return };
    let before = slot.gone_at.as_millis() as i64 - slot.lease_until.as_millis() as i64;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let head = slot.head.as_bytes();
    let value = [
        &[1][..],
        slot.rev.as_bytes(),
        &before.to_le_bytes(),
        &[head.len() as u8],
        head,
        &slot.body,
    ]
    .concat();
    let key = [b"idemp:", name.as_bytes()].concat();
    // Hex, since the tests' own client speaks text.
    const LAY: &str = "
        local function bytes(hex)
            return (hex:gsub('..', function(two) return string.char(tonumber(two, 16)) end))
        end
        return redis.call('SET', bytes(ARGV[1]), bytes(ARGV[2]), 'PXAT', ARGV[3])";
    let gone_at = slot.gone_at.as_millis().to_string();
    server.command(&["EVAL", LAY, "0", &hex(&key), &hex(&value), &gone_at]);
}
