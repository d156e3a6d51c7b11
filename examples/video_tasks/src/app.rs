//! [`App`]: the service put together. The order of the layers is the point:
//!
//! ```text
//! request id → problems → who is asking → Idempotency-Key → limit and handler
//! ```
//!
//! Nobody gets a replay who could not have made the request; a replay is answered before anything
//! could refuse it as new work.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use idemp::{Idempotency, Observer, Policy, PolicyError, Scope};
use idemp_stores::AnyStore;
use idemp_tower::{IdempotencyLayer, ScopeError};
use tokio::net::TcpListener;

use crate::bearer::User;
use crate::database::Database;
use crate::track::Tracks;
use crate::video::VideoTasks;
use crate::{bearer, fields, problem, request_id, track, video};

/// Where the slots are: whatever the URL on the command line says.
pub type Store = AnyStore;

/// After a stop, connections and owners have this long to end.
const GRACE: Duration = Duration::from_secs(30);

/// What differs from service to service.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the outcome of a create is kept; by default for 24 hours.
    pub replay: Policy,
    /// How many video tasks of one user may be at work; by default 3.
    pub active_limit: u32,
    /// How long it takes to place a video task with the vendor; by default 60 ms.
    pub vendor_takes: Duration,
    /// How a natural key is held; by default for 6 hours at most.
    pub while_active: Policy,
    /// How long it takes to start an analysis; by default 20 ms.
    pub start_takes: Duration,
    /// How long a duplicate waits for the name of an analysis; by default 2 s.
    pub patience: Duration,
}

impl Config {
    /// The defaults, with the retention that `IDEMPOTENCY_TTL_HOURS` sets.
    ///
    /// # Errors
    /// [`PolicyError::Hours`] where the variable is set and is not a whole number of hours.
    pub fn from_env() -> Result<Self, PolicyError> {
        Ok(Self {
            replay: Policy::replay_from_env()?.build()?,
            active_limit: 3,
            vendor_takes: Duration::from_millis(60),
            while_active: Policy::while_active(Duration::from_secs(6 * 3600)).build()?,
            start_takes: Duration::from_millis(20),
            patience: Duration::from_secs(2),
        })
    }
}

/// The service, before it listens.
#[derive(Debug)]
pub struct App {
    idem: Idempotency<Store>,
    router: Router,
}

impl App {
    /// With its slots in `store` and its tasks in `database`. `observer` is told every step.
    #[must_use]
    pub fn new(
        config: &Config,
        store: Store,
        database: Database,
        observer: impl Observer + 'static,
    ) -> Self {
        let idem = Idempotency::builder(store)
            .policy(config.replay)
            .observer(observer)
            .label(idemp_tower::json_label("task_id"))
            .build();
        let videos = VideoTasks::new(database.clone(), config.active_limit, config.vendor_takes);
        let tracks = Tracks::new(
            idem.with_policy(config.while_active),
            database,
            config.start_takes,
            config.patience,
        );
        let router = Router::new()
            .merge(video_routes(videos, &idem))
            .merge(track_routes(tracks))
            .route("/healthz", get(async || "ok\n"))
            .fallback(problem::no_such_path)
            .method_not_allowed_fallback(problem::no_such_method)
            .layer(from_fn(problem::tell))
            .layer(from_fn(request_id::name));
        Self { idem, router }
    }

    /// Answers until `stop` is ready. Then it accepts nothing more, and returns when what it
    /// accepted is answered and every owner is done.
    ///
    /// # Errors
    /// Where the listener breaks, or the end takes longer than 30 s.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopping.send(());
        };
        let ended = async {
            axum::serve(listener, self.router)
                .with_graceful_shutdown(stop)
                .await?;
            self.idem.idle().await;
            Ok(())
        };
        let too_long = async {
            let _ = stopped.await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = ended => ended,
            () = too_long => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn video_routes(videos: VideoTasks, idem: &Idempotency<Store>) -> Router {
    // The scope names the caller and the operation: a key says nothing to anybody else.
    let once = IdempotencyLayer::new(idem.clone(), |request| {
        let user = request.extensions.get::<User>();
        let user = user.ok_or(ScopeError::Unauthenticated)?;
        Ok(Scope::new([user.name(), "POST /api/video-tasks"])?)
    });
    let create = post(video::create)
        .layer::<_, Infallible>(from_fn(problem::tell))
        .layer(once.required().body_limit(fields::BODY_LIMIT));
    Router::new()
        .route("/api/video-tasks", create.get(video::list))
        .route("/api/video-tasks/{task_id}", get(video::show))
        .route("/api/video-tasks/{task_id}/complete", post(video::complete))
        .layer(from_fn(bearer::known))
        .with_state(videos)
}

fn track_routes(tracks: Tracks) -> Router {
    Router::new()
        .route("/api/v1/track", post(track::start))
        .route("/api/v1/track/{task_id}", get(track::show))
        .route("/api/v1/track/{task_id}/{end}", post(track::end))
        .layer(DefaultBodyLimit::max(fields::BODY_LIMIT))
        .with_state(tracks)
}
