//! Case 1: video tasks. Each costs money, so each carries an `Idempotency-Key`.
//!
//! The handlers know nothing of idempotency: `app.rs` puts the layer before [`create`]. What is
//! refused here, for the limit or for a mistake in the body, is refused behind the layer. So a
//! replay is answered even while new work is refused, and a refusal leaves the key as it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use idemp::{Entropy, SystemEntropy};
use serde::Serialize;

use crate::bearer::User;
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
    pub duration: u64,
    /// Width to height.
    pub aspect_ratio: &'static str,
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

/// The tasks of one user.
#[derive(Debug, Serialize)]
pub struct List {
    count: usize,
    tasks: Vec<VideoTask>,
}

/// The tasks of all users, in memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VideoTasks {
    tasks: Arc<Mutex<BTreeMap<String, (User, VideoTask)>>>,
    active_limit: usize,
    vendor_takes: Duration,
}

impl VideoTasks {
    /// None yet. A user may have `active_limit` at work; to place one with the vendor takes
    /// `vendor_takes`.
    #[must_use]
    pub fn new(active_limit: usize, vendor_takes: Duration) -> Self {
        Self {
            tasks: Arc::default(),
            active_limit,
            vendor_takes,
        }
    }

    /// Takes the task in, or refuses it where the user has too many at work.
    fn admit(&self, user: &User, mut task: VideoTask) -> Result<VideoTask, Problem> {
        let mut tasks = self.lock();
        let active =
            |(owner, task): &&(User, VideoTask)| owner == user && task.status == Status::Pending;
        if tasks.values().filter(active).count() >= self.active_limit {
            let message = "Too many of your tasks are at work. Wait until one has completed.";
            let code = "TOO_MANY_ACTIVE_TASKS";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message)
                .detail("limit", self.active_limit)
                .retry_after(5));
        }
        while task.task_id.is_empty() || tasks.contains_key(&task.task_id) {
            let [a, b, c, d, ..] = SystemEntropy.bytes();
            task.task_id = format!("vt_{:08x}", u32::from_be_bytes([a, b, c, d]));
        }
        tasks.insert(task.task_id.clone(), (user.clone(), task.clone()));
        Ok(task)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (User, VideoTask)>> {
        self.tasks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
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
        aspect_ratio: fields.choice("aspect_ratio", &["16:9", "9:16", "1:1"])?,
    };
    fields.end()?;
    let task = videos.admit(&user, task)?;
    // Stands for the call to the vendor: the time in which a retry finds the first one at work.
    tokio::time::sleep(videos.vendor_takes).await;
    let location = format!("/api/video-tasks/{}", task.task_id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(task)))
}

/// `GET /api/video-tasks`: all tasks of the user.
pub async fn list(
    State(videos): State<VideoTasks>,
    Extension(user): Extension<User>,
) -> Json<List> {
    let tasks = videos.lock();
    let own = tasks.values().filter(|(owner, _)| *owner == user);
    let tasks: Vec<VideoTask> = own.map(|(_, task)| task.clone()).collect();
    let count = tasks.len();
    Json(List { count, tasks })
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
    let tasks = videos.lock();
    let found = tasks.get(&task_id).filter(|(owner, _)| *owner == user);
    let (_, task) = found.ok_or_else(|| Problem::not_found("task"))?;
    Ok(Json(task.clone()))
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
    let mut tasks = videos.lock();
    let found = tasks.get_mut(&task_id).filter(|(owner, _)| *owner == user);
    let (_, task) = found.ok_or_else(|| Problem::not_found("task"))?;
    task.status = Status::Completed;
    Ok(Json(task.clone()))
}
