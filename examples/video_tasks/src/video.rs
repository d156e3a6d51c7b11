//! Case 1: video tasks. Each costs money, so each carries an `Idempotency-Key`.
//!
//! The handlers know nothing of idempotency: `app.rs` puts the layer before [`create`]. What is
//! refused here, for the limit or for a mistake in the body, is refused behind the layer. So a
//! replay is answered even while new work is refused, and a refusal leaves the key as it was.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use idemp::{Entropy, SystemEntropy};
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;

use crate::bearer::User;
use crate::database::{self, Database};
use crate::fields::Fields;
use crate::problem::Problem;

/// A task to make a video, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VideoTask {
    /// `vt_` and 8 hex digits.
    pub task_id: String,
    /// Whether it is still at work.
    pub status: Status,
    /// What the video shall show.
    pub prompt: String,
    /// In seconds.
    pub duration: u32,
    /// Width to height.
    pub aspect_ratio: String,
}

/// How far a video task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It counts against the limit.
    Pending,
    /// It does not count any more.
    Completed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
        }
    }
}

/// The tasks of one user.
#[derive(Debug, Serialize)]
pub struct List {
    count: usize,
    tasks: Vec<VideoTask>,
}

/// The tasks of all users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VideoTasks {
    database: Database,
    active_limit: u32,
    vendor_takes: Duration,
}

impl VideoTasks {
    /// Those in `database`. A user may have `active_limit` at work; to place one with the vendor
    /// takes `vendor_takes`.
    #[must_use]
    pub fn new(database: Database, active_limit: u32, vendor_takes: Duration) -> Self {
        Self {
            database,
            active_limit,
            vendor_takes,
        }
    }

    /// Takes the task in, or refuses it where the user has too many at work.
    fn admit(&self, user: &User, mut task: VideoTask) -> Result<VideoTask, Problem> {
        let mut connection = self.database.lock();
        // Counting and inserting are one step: two orders at once do not both take the last place.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let active: u32 = transaction.query_row(
            "SELECT count(*) FROM video_tasks WHERE user = ?1 AND status = 'pending'",
            [user.name()],
            |row| row.get(0),
        )?;
        if active >= self.active_limit {
            let message = "Too many of your tasks are at work. Wait until one has completed.";
            let code = "TOO_MANY_ACTIVE_TASKS";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message)
                .detail("limit", self.active_limit)
                .retry_after(5));
        }
        let mut inserted = 0;
        while inserted == 0 {
            let [a, b, c, d, ..] = SystemEntropy.bytes();
            task.task_id = format!("vt_{:08x}", u32::from_be_bytes([a, b, c, d]));
            inserted = transaction.execute(
                "INSERT INTO video_tasks (task_id, user, status, prompt, duration, aspect_ratio)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                params![
                    task.task_id,
                    user.name(),
                    task.status.name(),
                    task.prompt,
                    task.duration,
                    task.aspect_ratio,
                ],
            )?;
        }
        transaction.commit()?;
        Ok(task)
    }

    fn find(&self, user: &User, task_id: &str) -> Result<VideoTask, Problem> {
        let found = self
            .database
            .lock()
            .query_row(
                "SELECT task_id, status, prompt, duration, aspect_ratio FROM video_tasks
                 WHERE user = ?1 AND task_id = ?2",
                [user.name(), task_id],
                task,
            )
            .optional()?;
        found.ok_or_else(|| Problem::not_found("task"))
    }
}

fn task(row: &Row<'_>) -> Result<VideoTask, database::Error> {
    Ok(VideoTask {
        task_id: row.get(0)?,
        status: match row.get_ref(1)?.as_str()? {
            "pending" => Status::Pending,
            _ => Status::Completed,
        },
        prompt: row.get(2)?,
        duration: row.get(3)?,
        aspect_ratio: row.get(4)?,
    })
}

/// `POST /api/video-tasks`: 201 with the new task.
///
/// # Errors
/// 400 where the body is not as it should be, 429 where the user has too many tasks at work.
pub async fn create(
    State(videos): State<VideoTasks>,
    Extension(user): Extension<User>,
    mut fields: Fields,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<VideoTask>), Problem> {
    let task = VideoTask {
        task_id: String::new(),
        status: Status::Pending,
        prompt: fields.text("prompt", 1..=2000)?,
        duration: fields.whole("duration", 1..=60)?,
        aspect_ratio: fields
            .choice("aspect_ratio", &["16:9", "9:16", "1:1"])?
            .to_owned(),
    };
    fields.end()?;
    let task = videos.admit(&user, task)?;
    // Stands for the call to the vendor: the time in which a retry finds the first one at work.
    tokio::time::sleep(videos.vendor_takes).await;
    let location = format!("/api/video-tasks/{}", task.task_id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(task)))
}

/// `GET /api/video-tasks`: all tasks of the user, the oldest first.
///
/// # Errors
/// 500 where the database fails.
pub async fn list(
    State(videos): State<VideoTasks>,
    Extension(user): Extension<User>,
) -> Result<Json<List>, Problem> {
    let connection = videos.database.lock();
    let mut query = connection.prepare_cached(
        "SELECT task_id, status, prompt, duration, aspect_ratio FROM video_tasks
         WHERE user = ?1 ORDER BY number",
    )?;
    let tasks: Vec<VideoTask> = query
        .query_map([user.name()], task)?
        .collect::<Result<_, _>>()?;
    let count = tasks.len();
    Ok(Json(List { count, tasks }))
}

/// `GET /api/video-tasks/{task_id}`.
///
/// # Errors
/// 404 where the user has no such task.
pub async fn show(
    State(videos): State<VideoTasks>,
    Extension(user): Extension<User>,
    Path(task_id): Path<String>,
) -> Result<Json<VideoTask>, Problem> {
    videos.find(&user, &task_id).map(Json)
}

/// `POST /api/video-tasks/{task_id}/complete`: what the vendor would call. Makes room for another.
///
/// # Errors
/// 404 where the user has no such task.
pub async fn complete(
    State(videos): State<VideoTasks>,
    Extension(user): Extension<User>,
    Path(task_id): Path<String>,
) -> Result<Json<VideoTask>, Problem> {
    videos.database.lock().execute(
        "UPDATE video_tasks SET status = 'completed' WHERE user = ?1 AND task_id = ?2",
        [user.name(), &task_id],
    )?;
    videos.find(&user, &task_id).map(Json)
}
