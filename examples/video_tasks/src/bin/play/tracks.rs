//! The acts about analyses, where what the request is about is the key.

use http::StatusCode;
use video_tasks::client::{Call, Error, Reply};

use crate::show::{Show, of_this_play};

/// Of the first of the two acts.
pub(crate) const TENANT: &str = "acme-studios";
const OTHER_TENANT: &str = "blue-pictures";
const PATIENT_TENANT: &str = "cold-harbour";
const PATH: &str = "/api/v1/track";

pub(crate) async fn three_at_once(show: &mut Show) -> Result<(), Error> {
    show.act("Three requests for one file, at the same moment");
    show.say(
        "Nobody sends a key here. What the request is about is the key: a tenant and a file. It is \
         held while the analysis is active. Three workers notice the new file at once.",
    );
    let replies = show.ask_together(&track(TENANT), 3).await?;
    for reply in &replies {
        let (id, status) = (reply.text("task_id"), reply.text("status"));
        show.line(reply, &format!("{id}  {status}  {}", reply.text("message")));
    }
    println!();
    let (new, joined): (Vec<_>, Vec<_>) = replies
        .iter()
        .partition(|reply| reply.status == StatusCode::CREATED);
    show.check("new analyses", 1, new.len());
    let id = new
        .first()
        .map(|reply| reply.text("task_id"))
        .unwrap_or_default();
    let told = format!("200 {id} processing Analysis already in progress");
    let same = joined
        .iter()
        .filter(|reply| standing(reply) == told)
        .count();
    show.check("joined it, with its id", 2, same);
    show.say(
        "One became the owner, published the id, and only then answered. The others waited those \
         few milliseconds and were given what it had published.",
    );
    Ok(())
}

pub(crate) async fn after_the_end(show: &mut Show) -> Result<(), Error> {
    show.act("When it has ended, the next request starts a new one");
    show.say("Completed, failed or cancelled: the file is free at once, and not a moment before.");
    let (mut before, mut name) = (String::new(), "a request starts a task".to_owned());
    for (end, status) in [
        ("complete", "completed"),
        ("fail", "failed"),
        ("cancel", "cancelled"),
    ] {
        println!();
        let new = show.ask_briefly(track(OTHER_TENANT), "task_id").await?;
        let id = started(&new);
        let joined = show.ask_briefly(track(OTHER_TENANT), "task_id").await?;
        let ending = Call::post(format!("{PATH}/{id}/{end}"), "");
        let ended = show.ask_briefly(ending, "status").await?;
        println!();
        show.check_new(&name, &before, &id);
        show.check("another one joins it", &id, joined.text("task_id"));
        show.check(&format!("{end} ends it"), status, ended.text("status"));
        (before, name) = (id, format!("after {end}, a new task"));
    }
    println!();
    let last = show.ask_briefly(track(OTHER_TENANT), "task_id").await?;
    println!();
    show.check_new(&name, &before, started(&last));
    Ok(())
}

/// An analysis that is active when its service is killed.
pub(crate) struct Active {
    id: String,
}

pub(crate) async fn before_the_kill(show: &mut Show) -> Result<Active, Error> {
    show.say("Somebody starts an analysis, too.");
    println!();
    let new = show.ask_briefly(track(PATIENT_TENANT), "task_id").await?;
    let id = started(&new);
    println!();
    show.check_new("a request starts a task", "", &id);
    Ok(Active { id })
}

pub(crate) async fn after_the_kill(show: &mut Show, active: Active) -> Result<(), Error> {
    show.say("The analysis is active still, so a duplicate joins it; and it can be ended.");
    println!();
    let id = active.id;
    let joined = show.ask_briefly(track(PATIENT_TENANT), "task_id").await?;
    let ending = Call::post(format!("{PATH}/{id}/complete"), "");
    let ended = show.ask_briefly(ending, "status").await?;
    let next = show.ask_briefly(track(PATIENT_TENANT), "task_id").await?;
    println!();
    show.check("after the kill one joins it", &id, joined.text("task_id"));
    show.check("complete ends it", "completed", ended.text("status"));
    show.check_new("after complete, a new task", &id, started(&next));
    Ok(())
}

/// The id of a task that was created just now, `""` where it was not.
fn started(reply: &Reply) -> String {
    match reply.status {
        StatusCode::CREATED => reply.text("task_id"),
        _ => String::new(),
    }
}

fn track(tenant: &str) -> Call {
    let tenant = of_this_play(tenant);
    let body =
        format!(r#"{{"tenant_id":"{tenant}","video_filename":"lighthouse, final (2).mp4"}}"#);
    Call::post(PATH, body)
}

fn standing(reply: &Reply) -> String {
    let [id, status, message] = ["task_id", "status", "message"].map(|name| reply.text(name));
    [reply.status.as_str(), &id, &status, &message].join(" ")
}
