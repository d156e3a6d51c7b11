//! The service in this process, over real HTTP.

#![allow(dead_code, unreachable_pub)] // Each test program uses a part of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idemp::Event;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use video_tasks::app::{App, Config, Store};
use video_tasks::client::{Call, Client, Reply};
use video_tasks::database::Database;

pub struct Running {
    pub client: Client,
    lines: Arc<Mutex<Vec<String>>>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

/// Quick where nothing else is said: a test waits for no vendor.
pub fn config() -> Config {
    Config {
        vendor_takes: Duration::ZERO,
        start_takes: Duration::ZERO,
        ..Config::from_env().unwrap()
    }
}

pub async fn start(config: Config) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = lines.clone();
    let (store, database) = (Store::memory(), Database::in_memory().unwrap());
    let app = App::new(&config, store, database, move |event: &Event<'_>| {
        seen.lock().unwrap().push(event.to_string());
    });
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        let _ = stopped.await;
    };
    Running {
        client,
        lines,
        stop,
        served: tokio::spawn(app.serve(listener, stopped)),
    }
}

impl Running {
    pub async fn send(&self, call: &Call) -> Reply {
        self.client.send(call).await.unwrap()
    }

    /// All at once: every connection stands before the first request is sent.
    pub async fn together(&self, calls: impl IntoIterator<Item = Call>) -> Vec<Reply> {
        let mut ready = Vec::new();
        for call in calls {
            ready.push((self.client.connect().await.unwrap(), call));
        }
        let mut sending = JoinSet::new();
        for (connection, call) in ready {
            sending.spawn(async move { connection.send(&call).await.unwrap() });
        }
        sending.join_all().await
    }

    /// The events so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Where the events are written.
    pub fn lines(&self) -> Arc<Mutex<Vec<String>>> {
        self.lines.clone()
    }

    /// Stops it, and returns when it has ended.
    pub async fn stop(self) -> std::io::Result<()> {
        let _ = self.stop.send(());
        self.served.await.unwrap()
    }
}

/// The error shape, and that it answers this very request.
#[track_caller]
pub fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    let mut members: Vec<&str> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "details", "message", "requestId"]);
    assert_eq!(body["code"], code);
    assert!(body["details"].is_object());
    assert_ne!(reply.text("message"), "");
    assert_ne!(reply.header("x-request-id"), "");
    assert_eq!(reply.text("requestId"), reply.header("x-request-id"));
}
