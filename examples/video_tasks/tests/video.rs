//! The `Idempotency-Key` header: one video task for one order.

mod running;

use std::time::Duration;

use http::StatusCode;
use running::{Running, assert_problem, config, start};
use serde_json::json;
use video_tasks::app::Config;
use video_tasks::client::{Call, Reply};

const PATH: &str = "/api/video-tasks";
const KEY: &str = "final-1769660861-8d3f";
const ORDER: &str = r#"{"prompt":"A lighthouse","duration":5}"#;

fn order(user: &str, key: &str, body: &str) -> Call {
    Call::post(PATH, body).user(user).key(key)
}

async fn count(service: &Running, user: &str) -> u64 {
    let list = service.send(&Call::get(PATH).user(user)).await;
    list.json()["count"].as_u64().unwrap()
}

#[track_caller]
fn assert_replay(reply: &Reply, first: &Reply) {
    assert_eq!((reply.status, &reply.body), (first.status, &first.body));
    assert_eq!(reply.header("idempotent-replayed"), "true");
    for name in ["location", "content-type", "content-length"] {
        assert_eq!(reply.header(name), first.header(name), "{name}");
    }
    let (id, first_id) = (reply.header("x-request-id"), first.header("x-request-id"));
    assert!(!id.is_empty() && id != first_id);
}

#[tokio::test]
async fn a_create_is_201_with_the_task_and_where_it_is() {
    let service = start(config()).await;
    let reply = service.send(&order("alice", KEY, ORDER)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let task_id = reply.text("task_id");
    let digits = task_id.strip_prefix("vt_").unwrap();
    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(reply.text("status"), "pending");
    assert_eq!(reply.header("idempotent-replayed"), "");
    let shown = service
        .send(&Call::get(reply.header("location")).user("alice"))
        .await;
    assert_eq!(shown.body, reply.body);
}

#[tokio::test]
async fn the_same_key_and_payload_again_is_the_same_answer_and_nothing_is_created() {
    let service = start(config()).await;
    let first = service.send(&order("alice", KEY, ORDER)).await;
    for _ in 0..3 {
        assert_replay(&service.send(&order("alice", KEY, ORDER)).await, &first);
    }
    assert_eq!(count(&service, "alice").await, 1);
}

#[tokio::test]
async fn the_same_payload_written_differently_is_the_same_payload() {
    let service = start(config()).await;
    let first = service.send(&order("alice", KEY, ORDER)).await;
    let body = "\n{ \"duration\":\t5.0, \"prompt\": \"A \\u006cighthouse\" } ";
    assert_replay(&service.send(&order("alice", KEY, body)).await, &first);
    assert_eq!(count(&service, "alice").await, 1);
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_fraction_of_zero_the_first_time_too() {
    let service = start(config()).await;
    let first = service
        .send(&order(
            "alice",
            KEY,
            r#"{"prompt":"A lighthouse","duration":5.0}"#,
        ))
        .await;
    assert_eq!(first.status, 201);
    assert_eq!(first.json()["duration"], 5);
    assert_replay(&service.send(&order("alice", KEY, ORDER)).await, &first);
}

#[tokio::test]
async fn the_same_key_with_another_payload_is_a_conflict_and_changes_nothing() {
    let service = start(config()).await;
    let first = service.send(&order("alice", KEY, ORDER)).await;
    let other = r#"{"prompt":"A lighthouse","duration":50}"#;
    let refused = service.send(&order("alice", KEY, other)).await;
    assert_problem(&refused, 409, "IDEMPOTENCY_KEY_CONFLICT");
    assert_eq!(
        refused.json()["details"],
        json!({ "idempotencyKey": "final-1769660861..." })
    );
    assert_replay(&service.send(&order("alice", KEY, ORDER)).await, &first);
    assert_eq!(count(&service, "alice").await, 1);
}

#[tokio::test]
async fn the_key_of_one_user_says_nothing_to_another() {
    let service = start(config()).await;
    let alice = service.send(&order("alice", KEY, ORDER)).await;
    let bob = service.send(&order("bob", KEY, ORDER)).await;
    assert_eq!(bob.status, 201);
    assert_eq!(bob.header("idempotent-replayed"), "");
    assert_ne!(alice.text("task_id"), bob.text("task_id"));
    let path = format!("{PATH}/{}", alice.text("task_id"));
    assert_problem(
        &service.send(&Call::get(path).user("bob")).await,
        404,
        "NOT_FOUND",
    );
}

#[tokio::test]
async fn where_the_limit_is_reached_a_replay_is_answered_and_a_refusal_leaves_its_key_free() {
    let service = start(config()).await;
    let mut placed = Vec::new();
    for key in ["a", "b", "c"] {
        let reply = service.send(&order("alice", key, ORDER)).await;
        assert_eq!(reply.status, 201);
        placed.push(reply);
    }
    let refused = service.send(&order("alice", "d", ORDER)).await;
    assert_problem(&refused, 429, "TOO_MANY_ACTIVE_TASKS");
    assert_eq!(refused.header("retry-after"), "5");
    assert_replay(&service.send(&order("alice", "a", ORDER)).await, &placed[0]);
    // The limit is of this user, and a refusal is not replayed.
    assert_eq!(service.send(&order("bob", "a", ORDER)).await.status, 201);
    assert_eq!(service.send(&order("alice", "d", ORDER)).await.status, 429);

    let path = format!("{PATH}/{}/complete", placed[1].text("task_id"));
    for _ in 0..2 {
        let completed = service.send(&Call::post(&path, "").user("alice")).await;
        assert_eq!(completed.text("status"), "completed");
    }
    // The key is not bound to the payload that was refused.
    let changed = r#"{"prompt":"A lighthouse","duration":6}"#;
    let served = service.send(&order("alice", "d", changed)).await;
    assert_eq!(served.status, 201, "{:?}", served.body);
    assert_eq!(service.send(&order("alice", "e", ORDER)).await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_creates_at_once_with_one_key_create_one_task() {
    for vendor_takes in [Duration::ZERO, Duration::from_millis(50)] {
        let service = start(Config {
            vendor_takes,
            ..config()
        })
        .await;
        let replies = service
            .together((0..50).map(|_| order("alice", KEY, ORDER)))
            .await;
        let (created, waiting): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.status == 201);
        let executed: Vec<&&Reply> = created
            .iter()
            .filter(|reply| reply.header("idempotent-replayed").is_empty())
            .collect();
        assert_eq!(executed.len(), 1);
        for reply in &created {
            assert_eq!(reply.body, executed[0].body);
        }
        for reply in waiting {
            assert_problem(reply, 409, "IDEMPOTENCY_IN_PROGRESS");
            assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        let again = service.send(&order("alice", KEY, ORDER)).await;
        assert_replay(&again, executed[0]);
        assert_eq!(count(&service, "alice").await, 1);
    }
}

#[tokio::test]
async fn who_is_not_known_is_refused_before_the_key_is_looked_up() {
    let service = start(config()).await;
    service.send(&order("alice", KEY, ORDER)).await;
    let before = service.log();
    let order = |authorization: &[&str]| {
        let call = Call::post(PATH, ORDER).key(KEY);
        authorization
            .iter()
            .fold(call, |call, value| call.header("Authorization", *value))
    };
    let long = format!("Bearer {}", "a".repeat(65));
    for authorization in [
        &[][..],
        &["alice"],
        &["Basic alice"],
        &["Bearer "],
        &["Bearer a b"],
        &["Bearer a\u{e9}"],
        &[&long],
        &["Bearer alice", "Bearer bob"],
    ] {
        let reply = service.send(&order(authorization)).await;
        assert_problem(&reply, 401, "UNAUTHENTICATED");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    assert_eq!(service.log(), before);
}

#[tokio::test]
async fn an_order_needs_a_key_and_a_proper_one() {
    let service = start(config()).await;
    let missing = service.send(&Call::post(PATH, ORDER).user("alice")).await;
    assert_problem(&missing, 400, "IDEMPOTENCY_KEY_MISSING");
    for key in ["", "a, b", &"k".repeat(256)] {
        let reply = service.send(&order("alice", key, ORDER)).await;
        assert_problem(&reply, 400, "IDEMPOTENCY_KEY_INVALID");
    }
    let twice = service.send(&order("alice", "a", ORDER).key("b")).await;
    assert_problem(&twice, 400, "IDEMPOTENCY_KEY_INVALID");
    // Quoted and bare name the same key.
    let first = service.send(&order("alice", "a", ORDER)).await;
    assert_replay(&service.send(&order("alice", "\"a\"", ORDER)).await, &first);
    assert_eq!(count(&service, "alice").await, 1);
}

#[tokio::test]
async fn an_order_that_is_not_one_is_refused_by_the_name_of_its_field_and_its_key_stays_free() {
    let service = start(config()).await;
    for (body, field) in [
        (json!({ "duration": 5 }), "prompt"),
        (json!({ "prompt": "", "duration": 5 }), "prompt"),
        (
            json!({ "prompt": "x".repeat(2001), "duration": 5 }),
            "prompt",
        ),
        (json!({ "prompt": "a\u{0}b", "duration": 5 }), "prompt"),
        (json!({ "prompt": ["a"], "duration": 5 }), "prompt"),
        (json!({ "prompt": "a" }), "duration"),
        (json!({ "prompt": "a", "duration": 0 }), "duration"),
        (json!({ "prompt": "a", "duration": 61 }), "duration"),
        (json!({ "prompt": "a", "duration": -5 }), "duration"),
        (json!({ "prompt": "a", "duration": 5.5 }), "duration"),
        (json!({ "prompt": "a", "duration": 1e300 }), "duration"),
        (json!({ "prompt": "a", "duration": "5" }), "duration"),
        (
            json!({ "prompt": "a", "duration": 5, "aspect_ratio": "4:3" }),
            "aspect_ratio",
        ),
    ] {
        let reply = service.send(&order("alice", KEY, &body.to_string())).await;
        assert_problem(&reply, 400, "INVALID_REQUEST");
        assert_eq!(reply.json()["details"]["field"], field, "{body}");
    }
    let unknown = r#"{"prompt":"a","duration":5,"durations":6}"#;
    for body in [unknown, "", "[]", "5", "{", "\u{feff}{}"] {
        let call = order("alice", KEY, body).header("Content-Type", "application/json");
        assert_problem(&service.send(&call).await, 400, "INVALID_REQUEST");
    }
    let text = order("alice", KEY, ORDER).header("Content-Type", "text/plain");
    assert_problem(&service.send(&text).await, 415, "UNSUPPORTED_MEDIA_TYPE");
    let long = json!({ "prompt": "x".repeat(17 * 1024), "duration": 5 });
    let long = service.send(&order("alice", KEY, &long.to_string())).await;
    assert_problem(&long, 413, "IDEMPOTENCY_BODY_TOO_LARGE");
    assert_eq!(count(&service, "alice").await, 0);
    assert_eq!(service.send(&order("alice", KEY, ORDER)).await.status, 201);
}

#[tokio::test]
async fn the_log_tells_the_story_in_the_known_lines_and_never_the_key() {
    let service = start(config()).await;
    let user = "793ccc64-5717-4562-b3fc-2c963f66afa6";
    let first = service.send(&order(user, KEY, ORDER)).await;
    service.send(&order(user, KEY, ORDER)).await;
    service
        .send(&order(user, KEY, r#"{"prompt":"a","duration":1}"#))
        .await;
    let task = first.text("task_id");
    let line =
        |word: &str, rest: &str| format!("[IDEMP] {word} user=793ccc64... key=final-17...{rest}");
    let expected = [
        line("CHECK", ""),
        line("MISS", ""),
        line("STORE START", &format!(" task={task}")),
        line("STORED", &format!(" → task={task} (TTL=24h)")),
        line("CHECK", ""),
        line("HIT", &format!(" → task={task}")),
        line("CHECK", ""),
        line("CONFLICT", " payload mismatch"),
    ];
    assert_eq!(service.log(), expected);
}
