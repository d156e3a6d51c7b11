//! The acts about video tasks, where the client sends an `Idempotency-Key`.

use http::StatusCode;
use video_tasks::client::{Call, Error, Reply};

use crate::show::{Show, of_this_play};

/// Of the first three acts.
pub(crate) const KEY: &str = "final-1769660861-8d3f";
/// Of the one whose service is killed.
pub(crate) const KILLED_KEY: &str = "nocturne-176966";
/// Of the one that is refused at first.
pub(crate) const REFUSED_KEY: &str = "encore-1769661302";

const PATH: &str = "/api/video-tasks";
const ORDER: &str = r#"{"prompt":"A lighthouse at dawn","duration":5}"#;
/// A user whose service is empty at first, for each of the parts. The last group of the id is new
/// for every play, since a store may remember the one before.
const USER: &str = "793ccc64-5717-4562-b3fc";
const PATIENT_USER: &str = "0c41d9be-63aa-47f0-8d12";
const BUSY_USER: &str = "b19f04d2-8c1e-4f7a-9a55";
const HASTY_USER: &str = "5e0c7a91-22d4-4a39-8f6b";

pub(crate) async fn a_retry_is_a_replay(show: &mut Show) -> Result<(), Error> {
    show.act("The same request, twice");
    show.say(
        "A client orders a video. That costs money, so the request carries a key which the client \
         made up for this one order.",
    );
    let first = show.ask(order(USER, KEY, ORDER)).await?;
    show.check("a create", "201 pending", standing(&first));
    show.say("The answer is lost on the way. The client cannot know, and sends the request again.");
    let again = show.ask(order(USER, KEY, ORDER)).await?;
    show.check("the retry", "201 pending", standing(&again));
    replayed(show, &first, &again);
    show.check(
        "the body, byte for byte",
        "equal",
        equal(first.body == again.body),
    );
    let (one, other) = (id_of_request(&first), id_of_request(&again));
    show.check_new("its own request id", one, other);
    show.say(
        "Status, headers and body are those of the first answer. Only the request id is new: it \
         names the request that is being answered, so that the logs of both can be told apart.",
    );
    Ok(())
}

pub(crate) async fn other_clothes(show: &mut Show) -> Result<(), Error> {
    show.act("The same payload in other clothes");
    show.say(
        "Another version of the client writes the same order with its members in another order and \
         with other white space. Bytes differ; what is ordered does not.",
    );
    let first = show.send(&order(USER, KEY, ORDER)).await?;
    let body = "{\n   \"duration\" : 5.0 ,\n   \"prompt\" : \"A lighthouse \\u0061t dawn\"\n}";
    let again = show.ask(order(USER, KEY, body)).await?;
    show.check("reordered and respaced", "201 pending", standing(&again));
    replayed(show, &first, &again);
    show.say(
        "Payloads are compared in their canonical form (RFC 8785): 5.0 is 5, and \\u0061 is an a.",
    );
    Ok(())
}

pub(crate) async fn another_payload(show: &mut Show) -> Result<(), Error> {
    show.act("The same key, another payload");
    show.say(
        "A bug, or a key used twice: this order is ten times as long. To replay the first answer \
         would be wrong, and so would be to execute it.",
    );
    let body = r#"{"prompt":"A lighthouse at dawn","duration":50}"#;
    let refused = show.ask(order(USER, KEY, body)).await?;
    show.check(
        "another payload",
        "409 IDEMPOTENCY_KEY_CONFLICT",
        standing(&refused),
    );
    let expected = ["code", "message", "requestId", "details"].join(" ");
    show.check("the members of the error", expected, names(&refused));
    let shown = refused.json()["details"]["idempotencyKey"].clone();
    let cut = KEY.chars().take(16).chain("...".chars());
    show.check(
        "the key in it, cut",
        cut.collect::<String>(),
        shown.as_str().unwrap_or(""),
    );
    let id = id_of_request(&refused);
    show.check("the request id in it", id, refused.text("requestId"));
    show.say("It leaks nothing of the first order, and the first order stays as it was.");
    println!();
    let first = show.send(&order(USER, KEY, ORDER)).await?;
    show.check("the first payload still", "201 pending", standing(&first));
    let count = count(show, USER).await?;
    show.check("tasks after six requests", 1, count);
    Ok(())
}

/// What a client is told, and asks again when its service was killed in between.
pub(crate) struct Retry {
    first: Reply,
}

pub(crate) async fn before_the_kill(show: &mut Show) -> Result<Retry, Error> {
    show.say("A client orders a video, and the answer is lost on its way.");
    let first = show.ask(order(PATIENT_USER, KILLED_KEY, ORDER)).await?;
    show.check("a create", "201 pending", standing(&first));
    Ok(Retry { first })
}

pub(crate) async fn after_the_kill(show: &mut Show, retry: Retry) -> Result<(), Error> {
    show.say("The client retries. Of those who had the answer in their memory nobody is left.");
    let again = show.ask(order(PATIENT_USER, KILLED_KEY, ORDER)).await?;
    show.check("the retry after the kill", "201 pending", standing(&again));
    replayed(show, &retry.first, &again);
    let count = count(show, PATIENT_USER).await?;
    show.check("tasks of this user", 1, count);
    Ok(())
}

pub(crate) async fn a_full_house(show: &mut Show) -> Result<(), Error> {
    show.act("A replay needs no room");
    show.say(
        "A user may have three tasks at work. This one places three orders, and the house is full.",
    );
    println!();
    let mut placed = Vec::new();
    for key in ["first-17696612", "second-17696613", "third-17696614"] {
        let reply = show.send(&order(BUSY_USER, key, ORDER)).await?;
        show.line(&reply, &format!("{} {key}", reply.text("task_id")));
        placed.push(reply);
    }
    println!();
    let pending = placed
        .iter()
        .filter(|reply| standing(reply) == "201 pending");
    show.check("placed: 201 pending", 3, pending.count());
    show.say("A fourth order, with a new key:");
    let refused = show.ask(order(BUSY_USER, REFUSED_KEY, ORDER)).await?;
    show.check(
        "a new key, the house full",
        "429 TOO_MANY_ACTIVE_TASKS",
        standing(&refused),
    );
    show.say(
        "Meanwhile the first order is retried. It asks for no new work, so the limit is none of its \
         business: the key is looked up before anything counts.",
    );
    let again = show.ask(order(BUSY_USER, "first-17696612", ORDER)).await?;
    show.check(
        "a known key, the house full",
        "201 pending",
        standing(&again),
    );
    replayed(show, &placed[0], &again);
    show.say(
        "One task completes. The refused key was forgotten, since nothing was done under it: the \
         client keeps its key, and the same request now goes through.",
    );
    println!();
    let path = format!("{PATH}/{}/complete", placed[1].text("task_id"));
    let completed = show
        .send(&Call::post(path, "").user(&of_this_play(BUSY_USER)))
        .await?;
    show.check("one task completes", "200 completed", standing(&completed));
    let served = show.ask(order(BUSY_USER, REFUSED_KEY, ORDER)).await?;
    show.check(
        "the refused key once more",
        "201 pending",
        standing(&served),
    );
    show.check(
        "not a replay: the header",
        "",
        served.header("idempotent-replayed"),
    );
    Ok(())
}

pub(crate) async fn fifty_at_once(show: &mut Show) -> Result<(), Error> {
    const TIMES: usize = 50;
    show.act("Fifty at once");
    show.say(
        "A button without a lock, a queue that delivers twice, a proxy that retries: one key.",
    );
    let call = order(HASTY_USER, "burst-1769662077", ORDER);
    let replies = show.ask_together(&call, TIMES).await?;
    let of = |kind: Kind| -> Vec<&Reply> {
        let kind = Some(kind);
        replies
            .iter()
            .filter(|reply| self::kind(reply) == kind)
            .collect()
    };
    let (executed, replayed, waiting) = (of(Kind::Executed), of(Kind::Replayed), of(Kind::Waiting));
    for (replies, what) in [
        (&executed, "executed"),
        (&replayed, "replayed"),
        (&waiting, "IDEMPOTENCY_IN_PROGRESS, with Retry-After"),
    ] {
        if let Some(first) = replies.first() {
            show.line(first, &format!("{:>3} ×  {what}", replies.len()));
        }
    }
    println!();
    show.check("executed, of fifty", 1, executed.len());
    show.check(
        "replayed or in progress",
        TIMES - 1,
        replayed.len() + waiting.len(),
    );
    let waits = waiting
        .iter()
        .filter(|reply| {
            reply
                .header("retry-after")
                .parse()
                .is_ok_and(|s: u64| s >= 1)
        })
        .count();
    show.check("of these told when to retry", waiting.len(), waits);
    show.say("Whoever was told to wait asks again, now that the first one is answered.");
    println!();
    let mut ids: Vec<String> = executed
        .iter()
        .chain(&replayed)
        .map(|r| r.text("task_id"))
        .collect();
    let mut late = 0;
    for _ in &waiting {
        let reply = show.send(&call).await?;
        late += usize::from(self::kind(&reply) == Some(Kind::Replayed));
        ids.push(reply.text("task_id"));
    }
    show.check("asked again: replays", waiting.len(), late);
    ids.sort();
    ids.dedup();
    show.check("task ids in all the answers", 1, ids.len());
    let count = count(show, HASTY_USER).await?;
    show.check("tasks of this user", 1, count);
    Ok(())
}

/// What came of one of many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Executed,
    Replayed,
    Waiting,
}

fn kind(reply: &Reply) -> Option<Kind> {
    match (reply.status, reply.header("idempotent-replayed")) {
        (StatusCode::CREATED, "") => Some(Kind::Executed),
        (StatusCode::CREATED, "true") => Some(Kind::Replayed),
        (StatusCode::CONFLICT, _) if reply.text("code") == "IDEMPOTENCY_IN_PROGRESS" => {
            Some(Kind::Waiting)
        }
        _ => None,
    }
}

fn order(user: &str, key: &str, body: &str) -> Call {
    Call::post(PATH, body).user(&of_this_play(user)).key(key)
}

/// The status, and what the body says of it: `201 pending`, `409 IDEMPOTENCY_KEY_CONFLICT`.
fn standing(reply: &Reply) -> String {
    let said = reply.text("status") + &reply.text("code");
    format!("{} {said}", reply.status.as_str())
        .trim_end()
        .to_owned()
}

fn replayed(show: &mut Show, first: &Reply, again: &Reply) {
    let (id, again_id) = (first.text("task_id"), again.text("task_id"));
    show.check("the same task id", id, again_id);
    let marked = again.header("idempotent-replayed");
    show.check("Idempotent-Replayed", "true", marked);
}

fn id_of_request(reply: &Reply) -> &str {
    reply.header("x-request-id")
}

fn equal(equal: bool) -> &'static str {
    if equal { "equal" } else { "different" }
}

/// The members of the body, in the order in which they came.
fn names(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let json = reply.json();
    let mut names: Vec<&String> = json
        .as_object()
        .into_iter()
        .flat_map(|o| o.keys())
        .collect();
    names.sort_by_key(|name| body.find(&format!("\"{name}\":")));
    names.into_iter().cloned().collect::<Vec<_>>().join(" ")
}

async fn count(show: &Show, user: &str) -> Result<u64, Error> {
    let list = show
        .send(&Call::get(PATH).user(&of_this_play(user)))
        .await?;
    list.json()["count"]
        .as_u64()
        .ok_or_else(|| "the list has no count".into())
}
