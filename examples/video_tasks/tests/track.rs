//! Natural keys: one analysis of a file at a time.

mod running;

use std::time::Duration;

use http::StatusCode;
use idemp::Policy;
use running::{Running, assert_problem, config, start};
use serde_json::json;
use video_tasks::app::Config;
use video_tasks::client::{Call, Reply};

fn track(tenant: &str, file: &str) -> Call {
    let body = json!({ "tenant_id": tenant, "video_filename": file });
    Call::post("/api/v1/track", body.to_string())
}

async fn end(service: &Running, task_id: &str, end: &str) -> Reply {
    let path = format!("/api/v1/track/{task_id}/{end}");
    service.send(&Call::post(path, "")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_requests_at_once_give_one_new_task_and_two_with_its_id_always() {
    let service = start(config()).await;
    for round in 0..100 {
        let file = format!("clip {round}.mp4");
        let replies = service.together((0..3).map(|_| track("acme", &file))).await;
        let new: Vec<&Reply> = replies
            .iter()
            .filter(|reply| reply.status == StatusCode::CREATED)
            .collect();
        assert_eq!(new.len(), 1, "{replies:?}");
        let task_id = new[0].text("task_id");
        assert_eq!(new[0].text("message"), "Analysis started");
        assert_eq!(
            new[0].header("location"),
            format!("/api/v1/track/{task_id}")
        );
        for reply in replies.iter().filter(|reply| reply.status == 200) {
            let expected = json!({
                "task_id": task_id,
                "status": "processing",
                "message": "Analysis already in progress",
            });
            assert_eq!(reply.json(), expected);
        }
        let joined = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(joined, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn also_where_it_takes_a_while_until_the_owner_has_a_name_to_tell() {
    let slow = Config {
        start_takes: Duration::from_millis(120),
        ..config()
    };
    let service = start(slow).await;
    let replies = service.together((0..20).map(|_| track("acme", "a"))).await;
    let mut ids: Vec<String> = replies.iter().map(|reply| reply.text("task_id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{replies:?}");
    let new = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(new, 1);
}

#[tokio::test]
async fn a_duplicate_that_loses_patience_is_told_to_ask_again() {
    let impatient = Config {
        start_takes: Duration::from_secs(1),
        patience: Duration::from_millis(1),
        ..config()
    };
    let service = start(impatient).await;
    let replies = service.together((0..2).map(|_| track("acme", "a"))).await;
    let (new, late): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
    assert_eq!(new.len(), 1, "{replies:?}");
    assert_problem(late[0], 409, "IN_PROGRESS");
    assert_eq!(late[0].header("retry-after"), "1");
    let again = service.send(&track("acme", "a")).await;
    assert_eq!(again.text("task_id"), new[0].text("task_id"));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_an_analysis_that_others_join() {
    let slow = Config {
        start_takes: Duration::from_millis(200),
        ..config()
    };
    let service = start(slow).await;
    let connection = service.client.connect().await.unwrap();
    let sending = tokio::spawn(async move { connection.send(&track("acme", "a")).await });
    while !service.log().iter().any(|line| line.contains("MISS")) {
        tokio::task::yield_now().await;
    }
    sending.abort();
    assert!(sending.await.is_err());
    let joined = service.send(&track("acme", "a")).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    let misses = service.log();
    let misses = misses.iter().filter(|line| line.contains("MISS"));
    assert_eq!(misses.count(), 1);
}

#[tokio::test]
async fn when_it_has_ended_in_whatever_way_the_next_request_starts_a_new_one() {
    let service = start(config()).await;
    let mut seen = Vec::new();
    for (how, status) in [
        ("complete", "completed"),
        ("fail", "failed"),
        ("cancel", "cancelled"),
    ] {
        let new = service.send(&track("acme", "clip.mp4")).await;
        assert_eq!(new.status, 201);
        let task_id = new.text("task_id");
        assert!(!seen.contains(&task_id));
        let ended = end(&service, &task_id, how).await;
        assert_eq!(ended.status, 200);
        let expected = json!({ "task_id": task_id, "status": status });
        assert_eq!(ended.json(), expected);
        let shown = service
            .send(&Call::get(format!("/api/v1/track/{task_id}")))
            .await;
        assert_eq!(shown.json(), expected);
        seen.push(task_id);
    }
}

#[tokio::test]
async fn the_same_end_twice_is_one_end_and_another_one_does_not_change_it() {
    let service = start(config()).await;
    let first = service.send(&track("acme", "clip.mp4")).await;
    let task_id = first.text("task_id");
    for _ in 0..2 {
        let ended = end(&service, &task_id, "complete").await;
        assert_eq!(
            (ended.status, ended.text("status")),
            (StatusCode::OK, "completed".to_owned())
        );
    }
    let other = end(&service, &task_id, "cancel").await;
    assert_problem(&other, 409, "TASK_ALREADY_ENDED");
    assert_eq!(other.json()["details"], json!({ "status": "completed" }));
    // The second end of the first task has not taken the file from the second task.
    let second = service.send(&track("acme", "clip.mp4")).await;
    assert_eq!(end(&service, &task_id, "complete").await.status, 200);
    let joined = service.send(&track("acme", "clip.mp4")).await;
    assert_eq!(joined.text("task_id"), second.text("task_id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_different_ends_at_once_one_counts_and_the_file_is_free_once() {
    let service = start(config()).await;
    for _ in 0..50 {
        let task_id = service.send(&track("acme", "a")).await.text("task_id");
        let ends = ["complete", "fail", "cancel"]
            .map(|how| Call::post(format!("/api/v1/track/{task_id}/{how}"), ""));
        let replies = service.together(ends).await;
        let counted = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(counted, 1, "{replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_meet_an_end_join_the_old_task_or_share_one_new_one() {
    let service = start(config()).await;
    for _ in 0..50 {
        let old = service.send(&track("acme", "a")).await.text("task_id");
        let mut calls = vec![Call::post(format!("/api/v1/track/{old}/complete"), "")];
        calls.extend((0..4).map(|_| track("acme", "a")));
        let replies = service.together(calls).await;
        assert!(replies.iter().all(|reply| reply.status.is_success()));
        let others: Vec<&Reply> = replies
            .iter()
            .filter(|reply| reply.text("task_id") != old)
            .collect();
        let new = others.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(new, usize::from(!others.is_empty()), "{replies:?}");
        let mut ids: Vec<String> = others.iter().map(|reply| reply.text("task_id")).collect();
        ids.dedup();
        assert!(ids.len() <= 1, "{replies:?}");
        let now = service.send(&track("acme", "a")).await.text("task_id");
        assert_ne!(now, old);
        assert!(ids.iter().all(|id| *id == now));
        end(&service, &now, "cancel").await;
    }
}

#[tokio::test]
async fn an_analysis_that_is_active_for_too_long_is_given_up_and_its_end_takes_nothing_away() {
    let short = Config {
        while_active: Policy::while_active(Duration::from_millis(200))
            .build()
            .unwrap(),
        ..config()
    };
    let service = start(short).await;
    let first = service.send(&track("acme", "a")).await.text("task_id");
    // The store's clock decides: ask until it has.
    let second = loop {
        let id = service.send(&track("acme", "a")).await.text("task_id");
        if id != first {
            break id;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(end(&service, &first, "complete").await.status, 200);
    let third = service.send(&track("acme", "a")).await;
    // The second may have run out meanwhile; the first never comes back.
    assert_ne!(third.text("task_id"), first);
    assert_ne!(second, first);
}

#[tokio::test]
async fn tenants_and_files_are_kept_apart_however_odd_their_names() {
    let service = start(config()).await;
    let long = "ü".repeat(1024);
    let names = [
        ("acme", "clip.mp4"),
        ("acme", "clip.mp4 "),
        ("acme", "CLIP.mp4"),
        ("acmeclip", ".mp4"),
        ("acme", "../../etc/passwd"),
        ("acme", "\"quoted\", 'and' \u{202e}turned"),
        ("ácme", "clip.mp4"),
        ("acme", &long),
    ];
    let mut ids = Vec::new();
    for (tenant, file) in names {
        let reply = service.send(&track(tenant, file)).await;
        assert_eq!(reply.status, 201, "{tenant} {file}");
        ids.push(reply.text("task_id"));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), names.len());
    assert_eq!(service.send(&track("acme", &long)).await.status, 200);
}

#[tokio::test]
async fn what_is_not_a_request_for_an_analysis_is_refused_by_the_name_of_its_field() {
    let service = start(config()).await;
    let file = json!("clip.mp4");
    for (body, field) in [
        (json!({ "video_filename": file }), "tenant_id"),
        (
            json!({ "tenant_id": "", "video_filename": file }),
            "tenant_id",
        ),
        (
            json!({ "tenant_id": "t".repeat(65), "video_filename": file }),
            "tenant_id",
        ),
        (
            json!({ "tenant_id": 7, "video_filename": file }),
            "tenant_id",
        ),
        (json!({ "tenant_id": "acme" }), "video_filename"),
        (
            json!({ "tenant_id": "acme", "video_filename": null }),
            "video_filename",
        ),
        (
            json!({ "tenant_id": "acme", "video_filename": "a\nb" }),
            "video_filename",
        ),
        (
            json!({ "tenant_id": "acme", "video_filename": "x".repeat(1025) }),
            "video_filename",
        ),
    ] {
        let reply = service
            .send(&Call::post("/api/v1/track", body.to_string()))
            .await;
        assert_problem(&reply, 400, "INVALID_REQUEST");
        assert_eq!(reply.json()["details"]["field"], field, "{body}");
    }
    for body in [
        "",
        "[]",
        "\"clip.mp4\"",
        "{\"tenant_id\":\"acme\"",
        "{\"tenant_id\":\"acme\",\"video_filename\":\"a\",\"extra\":1}",
    ] {
        let call = Call::post("/api/v1/track", body).header("content-type", "application/json");
        assert_problem(&service.send(&call).await, 400, "INVALID_REQUEST");
    }
    // 64 characters, and a byte too long for a part of a scope.
    let wide = service.send(&track(&"😀".repeat(64), "a")).await;
    assert_problem(&wide, 400, "INVALID_REQUEST");
    assert_eq!(service.log(), Vec::<String>::new(), "no store was asked");
}

#[tokio::test]
async fn bodies_too_long_and_of_another_type_are_refused_before_they_are_read() {
    let service = start(config()).await;
    let long = track("acme", &"x".repeat(17 * 1024));
    assert_problem(&service.send(&long).await, 413, "BODY_TOO_LARGE");
    let text = track("acme", "a").header("content-type", "text/plain");
    assert_problem(&service.send(&text).await, 415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn a_task_that_nobody_started_cannot_be_shown_or_ended() {
    let service = start(config()).await;
    let shown = service.send(&Call::get("/api/v1/track/tr_00000000")).await;
    assert_problem(&shown, 404, "NOT_FOUND");
    assert_problem(
        &end(&service, "tr_00000000", "complete").await,
        404,
        "NOT_FOUND",
    );
    let task_id = service.send(&track("acme", "a")).await.text("task_id");
    assert_problem(&end(&service, &task_id, "explode").await, 404, "NOT_FOUND");
}
