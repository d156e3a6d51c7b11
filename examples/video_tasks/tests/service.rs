//! The service as a whole: what every answer has, how it starts, and how it ends.

mod running;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use running::{assert_problem, config, start};
use tempfile::TempDir;
use video_tasks::app::Config;
use video_tasks::client::{Call, Client};

const ORDER: &str = r#"{"prompt":"A lighthouse","duration":5}"#;

/// Ends with the test, whatever becomes of it, and its files with it.
struct Process(
    Child,
    #[allow(dead_code, reason = "removes the folder")] TempDir,
);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_video_tasks"))
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("PORT")
            .env_remove("STORE")
            .env_remove("IDEMPOTENCY_TTL_HOURS")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child, folder)
    }

    /// The address in its first line, and its output behind that.
    fn listening(&mut self) -> (SocketAddr, BufReader<impl Read + use<>>) {
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{line:?}"));
        (address.trim_end().parse().unwrap(), output)
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        let stderr = self.0.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        log
    }
}

#[tokio::test]
async fn it_says_that_it_is_well() {
    let service = start(config()).await;
    let reply = service.send(&Call::get("/healthz")).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..]),
        (200, &b"ok\n"[..])
    );
}

#[tokio::test]
async fn every_answer_names_its_request_and_an_id_that_came_along_is_kept() {
    let service = start(config()).await;
    let calls = [
        Call::get("/healthz"),
        Call::get("/nowhere"),
        Call::post("/api/video-tasks", ORDER),
        Call::post("/api/video-tasks", ORDER).user("alice").key("k"),
        Call::post("/api/video-tasks", ORDER).user("alice").key("k"),
        Call::post("/api/video-tasks", ORDER).user("alice").key(""),
        Call::post("/api/v1/track", "{}"),
    ];
    let mut ids = Vec::new();
    for call in &calls {
        let reply = service.send(call).await;
        ids.push(reply.header("x-request-id").to_owned());
        let named = call.clone().header("X-Request-Id", "trace-0af7");
        let reply = service.send(&named).await;
        assert_eq!(reply.header("x-request-id"), "trace-0af7");
        if reply.status.is_client_error() {
            assert_eq!(reply.text("requestId"), "trace-0af7");
        }
    }
    assert!(
        ids.iter()
            .all(|id| id.starts_with("req_") && id.len() == 12)
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), calls.len());
    let odd = Call::get("/healthz").header("X-Request-Id", "two words");
    let reply = service.send(&odd).await;
    assert!(reply.header("x-request-id").starts_with("req_"));
}

#[tokio::test]
async fn what_it_does_not_have_is_told_in_the_same_shape() {
    let service = start(config()).await;
    let nowhere = service.send(&Call::get("/nowhere")).await;
    assert_problem(&nowhere, 404, "NOT_FOUND");
    for (path, allow) in [("/healthz", "GET,HEAD"), ("/api/v1/track", "POST")] {
        let call = Call {
            method: http::Method::DELETE,
            ..Call::get(path)
        };
        let reply = service.send(&call).await;
        assert_problem(&reply, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.header("allow"), allow);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_does_not_stop_its_task_and_the_end_waits_for_it() {
    let service = start(Config {
        vendor_takes: Duration::from_millis(300),
        ..config()
    })
    .await;
    let call = Call::post("/api/video-tasks", ORDER).user("alice").key("k");
    let connection = service.client.connect().await.unwrap();
    let sending = tokio::spawn(async move { connection.send(&call).await });
    let missed = || service.log().iter().any(|line| line.contains("MISS"));
    while !missed() {
        tokio::task::yield_now().await;
    }
    sending.abort();
    assert!(sending.await.is_err());
    assert!(!service.log().iter().any(|line| line.contains("STORED")));
    let log = service.lines();
    service.stop().await.unwrap();
    let stored = log
        .lock()
        .unwrap()
        .iter()
        .any(|line| line.contains("STORED"));
    assert!(stored, "{log:?}");
}

#[tokio::test]
async fn it_prints_one_line_logs_to_the_other_output_and_stops_when_its_input_ends() {
    let mut process = Process::start(&["--stop-at-eof"], &[("IDEMPOTENCY_TTL_HOURS", "48")]);
    let (address, mut output) = process.listening();
    assert!(address.ip().is_loopback());
    let call = Call::post("/api/video-tasks", ORDER).user("alice").key("k");
    let reply = Client::new(address).send(&call).await.unwrap();
    assert_eq!(reply.status, 201);
    drop(process.0.stdin.take());
    assert!(process.0.wait().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    let log = process.log();
    assert!(
        log.lines().all(|line| line.starts_with("[IDEMP] ")),
        "{log}"
    );
    assert!(log.contains("(TTL=48h)"), "{log}");
}

#[cfg(unix)]
#[tokio::test]
async fn it_ends_well_on_the_signals_of_a_terminal_and_of_a_supervisor() {
    for signal in ["INT", "TERM"] {
        let mut process = Process::start(&[], &[]);
        let (_, _output) = process.listening();
        let id = process.0.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        assert!(process.0.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn it_takes_the_port_that_it_is_given_and_refuses_what_it_cannot_use() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    // Taken still: it fails, and says so.
    let mut process = Process::start(&["--port", &port], &[]);
    assert_eq!(process.0.wait().unwrap().code(), Some(1));
    assert!(process.log().starts_with("video_tasks: "));
    drop(free);
    let mut process = Process::start(&[], &[("PORT", &port)]);
    assert_eq!(process.listening().0.port().to_string(), port);
    for (arguments, environment) in [
        (&["--port", "99999"][..], &[][..]),
        (&["--port"], &[]),
        (&["--sport", "1"], &[]),
        (&[], &[("PORT", "http")]),
    ] {
        let mut process = Process::start(arguments, environment);
        assert_eq!(process.0.wait().unwrap().code(), Some(2));
        assert!(process.log().contains("usage: video_tasks"));
    }
    for hours in ["0", "-1", "1.5", "a day"] {
        let mut process = Process::start(&[], &[("IDEMPOTENCY_TTL_HOURS", hours)]);
        assert_eq!(process.0.wait().unwrap().code(), Some(1));
    }
}
