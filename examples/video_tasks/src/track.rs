//! Case 2: analyses of videos, without a key from the client. What a request is about, a tenant
//! and a file name, is its natural key, and it is held while the analysis is active.
//!
//! Of requests that come at once one is the owner. It creates the analysis, publishes its id on
//! the slot, and only then answers; the others are given what it published. The lease is handed
//! over as a token, kept with the analysis, to whoever ends it: then the slot is vacant at once,
//! and the next request starts a new analysis.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use idemp::{
    AsyncLease, Decision, Entropy, Idempotency, InProgress, LeaseError, LeaseToken, SystemEntropy,
};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, ToSql, params};
use serde::{Deserialize, Serialize};

use crate::app::Store;
use crate::database::{self, Database};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::subject::Subject;

/// Analyses that end each time between two looks: after so many the caller had better ask again.
const LOOKS: usize = 8;

/// What there is to say of an analysis. Also what its owner publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// `tr_` and 8 hex digits.
    pub task_id: String,
    /// Whether it is at work, and how it ended.
    pub status: Status,
}

/// How far an analysis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At work. Requests for the same file are given this one.
    Processing,
    /// It has a result.
    Completed,
    /// It broke.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// All analyses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracks {
    idem: Idempotency<Store>,
    database: Database,
    start_takes: Duration,
    patience: Duration,
}

/// What a request for an analysis comes to.
#[derive(Debug, PartialEq, Eq)]
enum Started {
    /// A new one.
    New(Analysis),
    /// One that is at work already.
    Joined(Analysis),
    /// Somebody else is starting one, and has not said its name yet.
    Nameless,
}

impl Tracks {
    /// `idem` holds a key while its analysis is active. To start one takes `start_takes`; so long
    /// its duplicates wait for its name, but no longer than `patience`.
    #[must_use]
    pub fn new(
        idem: Idempotency<Store>,
        database: Database,
        start_takes: Duration,
        patience: Duration,
    ) -> Self {
        Self {
            idem,
            database,
            start_takes,
            patience,
        }
    }

    /// Starts an analysis, or joins the one that is active.
    async fn start(&self, subject: &Subject) -> Result<Started, Problem> {
        let Subject {
            scope,
            key,
            fingerprint,
        } = subject;
        // A second look finds the slot vacant where the analysis ended after the first one.
        for _ in 0..LOOKS {
            let begun = self
                .idem
                .begin_joining(scope, key, fingerprint, self.patience);
            match begun.await {
                Ok(Decision::Miss(lease)) => return self.create(lease).await.map(Started::New),
                Ok(Decision::InProgress(other)) if other.published().is_none() => break,
                Ok(Decision::InProgress(other)) => {
                    if let Some(analysis) = self.active(&other)? {
                        return Ok(Started::Joined(analysis));
                    }
                }
                // One natural key has one fingerprint and no outcome: this does not come. If it
                // does, nothing is started.
                Ok(_) | Err(_) => return Err(unavailable()),
            }
        }
        Ok(Started::Nameless)
    }

    /// What the owner published, with the present status; `None` where the analysis has just ended,
    /// so that its slot is vacant now.
    fn active(&self, other: &InProgress) -> Result<Option<Analysis>, Problem> {
        let Some(mut analysis) = other.json::<Analysis>().ok().flatten() else {
            return Ok(None);
        };
        // One of a service with another database is as it was published.
        if let Some((status, _)) = self.find(&analysis.task_id)? {
            analysis.status = status;
        }
        Ok((analysis.status == Status::Processing).then_some(analysis))
    }

    /// Creates an analysis as the owner of its subject. A client that goes away does not stop it
    /// half-way.
    async fn create(&self, lease: AsyncLease<Store>) -> Result<Analysis, Problem> {
        let tracks = self.clone();
        let created = tokio::spawn(async move {
            // Stands for what it takes to start an analysis.
            tokio::time::sleep(tracks.start_takes).await;
            let analysis = tracks.insert(&lease.token())?;
            match lease.publish(&analysis).await {
                // The end of the analysis is the end of the lease: until then nobody holds it here.
                Ok(()) => {
                    let _ = lease.detach();
                    Ok(analysis)
                }
                // Its name may not be known to the duplicates: it came to nothing, and the lease
                // is released on drop.
                Err(_) => {
                    tracks.remove(&analysis.task_id)?;
                    Err(unavailable())
                }
            }
        });
        created.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Ends an analysis, and makes the way free for the next one of its subject.
    async fn end(&self, task_id: String, end: Status) -> Result<Analysis, Problem> {
        let (mut status, token) = self.find(&task_id)?.ok_or_else(no_such_task)?;
        if status == Status::Processing {
            // First the slot, then the status: whoever reads that it has ended finds it vacant.
            match self.idem.resume_async(token).finish(&end).await {
                // Stale: it was active for longer than the policy allows, and another analysis has
                // the slot. There is nothing to vacate.
                Ok(()) | Err(LeaseError::Stale(_)) => status = self.ended(&task_id, end)?,
                // It may be ended again.
                Err(_) => return Err(unavailable()),
            }
        }
        if status == end {
            Ok(Analysis { task_id, status })
        } else {
            let message = "The analysis has already ended in another way.";
            let status = serde_json::json!(status);
            Err(
                Problem::new(StatusCode::CONFLICT, "TASK_ALREADY_ENDED", message)
                    .detail("status", status),
            )
        }
    }

    fn insert(&self, lease: &LeaseToken) -> Result<Analysis, database::Error> {
        let status = Status::Processing;
        loop {
            let [a, b, c, d, ..] = SystemEntropy.bytes();
            let task_id = format!("tr_{:08x}", u32::from_be_bytes([a, b, c, d]));
            let inserted = self.database.lock().execute(
                "INSERT INTO analyses (task_id, status, lease) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
                params![task_id, status, lease.to_text()],
            )?;
            if inserted == 1 {
                return Ok(Analysis { task_id, status });
            }
        }
    }

    fn remove(&self, task_id: &str) -> Result<(), database::Error> {
        let sql = "DELETE FROM analyses WHERE task_id = ?1";
        self.database.lock().execute(sql, [task_id]).map(drop)
    }

    fn find(&self, task_id: &str) -> Result<Option<(Status, LeaseToken)>, Problem> {
        let found: Option<(Status, String)> = self
            .database
            .lock()
            .query_row(
                "SELECT status, lease FROM analyses WHERE task_id = ?1",
                [task_id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((status, lease)) = found else {
            return Ok(None);
        };
        let lease = LeaseToken::from_text(&lease).map_err(|_| Problem::broken())?;
        Ok(Some((status, lease)))
    }

    /// Notes how an analysis ended, unless it had ended before. Of two ends at once one is noted;
    /// hands that one back.
    fn ended(&self, task_id: &str, end: Status) -> Result<Status, database::Error> {
        self.database.lock().query_row(
            "UPDATE analyses SET status = iif(status = ?3, ?2, status)
             WHERE task_id = ?1 RETURNING status",
            params![task_id, end, Status::Processing],
            |row| row.get(0),
        )
    }
}

impl Status {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Processing, "processing"),
        (Self::Completed, "completed"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
    ];
}

impl ToSql for Status {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, database::Error> {
        let named = Self::ALL.iter().find(|(status, _)| status == self);
        named.map_or_else(
            || unreachable!("every status has a name"),
            |(_, name)| name.to_sql(),
        )
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let named = Self::ALL.iter().find(|(_, other)| *other == name);
        named
            .map(|(status, _)| *status)
            .ok_or(FromSqlError::InvalidType)
    }
}

/// `POST /api/v1/track`: 201 with a new analysis, or 200 with the one that is active.
///
/// # Errors
/// 400 where the body is not as it should be; 409 where somebody else is starting one and has not
/// said its name in time; 503 where the store failed: then nothing was started.
pub async fn start(State(tracks): State<Tracks>, mut fields: Fields) -> Result<Response, Problem> {
    // In earnest the tenant comes from the authentication, like the user of a video task.
    let tenant = fields.text("tenant_id", 1..=64)?;
    let filename = fields.text("video_filename", 1..=1024)?;
    fields.end()?;
    let subject = Subject::new(&tenant, &filename)
        .map_err(|error| Problem::invalid(format!("This cannot be a key: {error}.")))?;
    match tracks.start(&subject).await? {
        Started::New(analysis) => {
            let location = format!("/api/v1/track/{}", analysis.task_id);
            let message = "Analysis started";
            let body = Json(Told { analysis, message });
            Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
        }
        Started::Joined(analysis) => {
            let message = "Analysis already in progress";
            Ok(Json(Told { analysis, message }).into_response())
        }
        Started::Nameless => {
            let message = "This analysis is being started. Ask again for its id.";
            let problem = Problem::new(StatusCode::CONFLICT, "IN_PROGRESS", message);
            Err(problem.retry_after(1))
        }
    }
}

/// `GET /api/v1/track/{task_id}`.
///
/// # Errors
/// 404 where there is no such analysis.
pub async fn show(
    State(tracks): State<Tracks>,
    Path(task_id): Path<String>,
) -> Result<Json<Analysis>, Problem> {
    let (status, _) = tracks.find(&task_id)?.ok_or_else(no_such_task)?;
    Ok(Json(Analysis { task_id, status }))
}

/// `POST /api/v1/track/{task_id}/{end}`, where `end` is `complete`, `fail` or `cancel`. The same
/// end again is 200 again; another one is 409, since the first stands.
///
/// # Errors
/// 404 where there is no such analysis or end; 409 where it has ended in another way; 503 where
/// the store failed: then it may be repeated.
pub async fn end(
    State(tracks): State<Tracks>,
    Path((task_id, end)): Path<(String, String)>,
) -> Result<Json<Analysis>, Problem> {
    let end = match end.as_str() {
        "complete" => Status::Completed,
        "fail" => Status::Failed,
        "cancel" => Status::Cancelled,
        _ => return Err(Problem::not_found("path")),
    };
    tracks.end(task_id, end).await.map(Json)
}

/// An analysis, and how the request came by it.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    analysis: Analysis,
    message: &'static str,
}

fn no_such_task() -> Problem {
    Problem::not_found("task")
}

fn unavailable() -> Problem {
    let message = "It could not be found out whether this is at work already. Ask again.";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::new(status, "IDEMPOTENCY_STORE_UNAVAILABLE", message).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use idemp::Policy;
    use tokio::time::Instant;

    fn tracks(patience: Duration) -> Tracks {
        let policy = Policy::while_active(Duration::from_secs(3600)).build();
        let idem = Idempotency::builder(Store::memory()).policy(policy.unwrap());
        let database = Database::in_memory().unwrap();
        Tracks::new(idem.build(), database, Duration::ZERO, patience)
    }

    /// The owner of a subject, between its `begin` and its publication.
    async fn owner(tracks: &Tracks, subject: &Subject) -> AsyncLease<Store> {
        let begun = tracks
            .idem
            .begin_async(&subject.scope, &subject.key, &subject.fingerprint);
        match begun.await.unwrap() {
            Decision::Miss(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_duplicate_waits_until_the_owner_has_said_the_name() {
        let tracks = tracks(Duration::from_secs(3600));
        let subject = Subject::new("acme", "clip.mp4").unwrap();
        let lease = owner(&tracks, &subject).await;
        let (waiter, about) = (tracks.clone(), subject.clone());
        let duplicate = tokio::spawn(async move { waiter.start(&about).await });
        let created = tracks.create(lease).await.unwrap();
        assert_eq!(duplicate.await.unwrap().unwrap(), Started::Joined(created));
    }

    #[tokio::test(start_paused = true)]
    async fn a_duplicate_of_an_owner_that_never_says_the_name_is_sent_away_and_nothing_is_started()
    {
        let tracks = tracks(Duration::from_secs(2));
        let subject = Subject::new("acme", "clip.mp4").unwrap();
        let _lease = owner(&tracks, &subject).await;
        let before = Instant::now();
        assert_eq!(tracks.start(&subject).await.unwrap(), Started::Nameless);
        assert_eq!(before.elapsed(), Duration::from_secs(2));
        let analyses = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        let count = "SELECT count(*) FROM analyses";
        let count = tracks.database.lock().query_row(count, [], analyses);
        assert_eq!(count, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_owner_gives_up_one_who_waits_becomes_the_owner() {
        let tracks = tracks(Duration::from_secs(2));
        let subject = Subject::new("acme", "clip.mp4").unwrap();
        let lease = owner(&tracks, &subject).await;
        let (waiter, about) = (tracks.clone(), subject.clone());
        let duplicate = tokio::spawn(async move { waiter.start(&about).await });
        drop(lease);
        let started = duplicate.await.unwrap().unwrap();
        assert!(matches!(started, Started::New(_)), "{started:?}");
    }

    #[tokio::test]
    async fn an_end_that_comes_before_the_lease_is_put_away_vacates_all_the_same() {
        let tracks = tracks(Duration::ZERO);
        let subject = Subject::new("acme", "clip.mp4").unwrap();
        let lease = owner(&tracks, &subject).await;
        // As in `create`, up to the moment at which a duplicate may know the name.
        let analysis = tracks.insert(&lease.token()).unwrap();
        lease.publish(&analysis).await.unwrap();
        let ended = tracks.end(analysis.task_id, Status::Failed).await.unwrap();
        assert_eq!(ended.status, Status::Failed);
        let started = tracks.start(&subject).await.unwrap();
        assert!(matches!(started, Started::New(_)), "{started:?}");
        let _ = lease.detach();
    }
}
