//! The scripted handler behind the layer, and the gates that it waits for.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use idemp_tower::Execution;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::case::{Body, Echo, Piece, Script, latin1};
use crate::stage::Stage;

/// Doors that are shut until the case opens them. They stay open.
#[derive(Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<HashMap<String, watch::Sender<bool>>>>);

impl Gates {
    pub(crate) fn open(&self, name: &str) {
        self.of(name).send_replace(true);
    }

    pub(crate) async fn opened(&self, name: &str) {
        let mut gate = self.of(name).subscribe();
        // The sender stays with the gates, which outlive whoever waits.
        _ = gate.wait_for(|open| *open).await;
    }

    fn of(&self, name: &str) -> watch::Sender<bool> {
        let mut gates = self.0.lock().expect("no panic while it is locked");
        gates.entry(name.to_owned()).or_default().clone()
    }
}

/// What all runs of the handler share.
pub(crate) struct Handler {
    pub(crate) scripts: Vec<Script>,
    pub(crate) gates: Gates,
    pub(crate) stage: Stage,
    pub(crate) runs: watch::Sender<usize>,
}

impl Handler {
    /// Does what the script of this run says; those behind the last one do as the last.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<AxumBody>) -> Response<AxumBody> {
        let mut run = 0;
        self.runs.send_modify(|runs| {
            *runs += 1;
            run = *runs;
        });
        let last = self.scripts.len() - 1;
        let script = &self.scripts[last.min(run - 1)];
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body that was read before");
        let execution = parts.extensions.get::<Execution>().cloned();
        if let Some(gate) = &script.wait {
            self.gates.opened(gate).await;
        }
        let published = execution.as_ref().and_then(Execution::published);
        let published = published.map(|state| String::from_utf8_lossy(&state).into_owned());
        if let (Some(state), Some(execution)) = (&script.publish, &execution) {
            let published = execution.publish_bytes(state.clone().into_bytes()).await;
            published.expect("published");
        }
        if let Some(fault) = &script.store {
            self.stage.always(fault.clone());
        }
        if let (true, Some(execution)) = (script.mark_unknown, &execution) {
            // Where the store fails, the layer says it again.
            _ = execution.mark_unknown().await;
        }
        if script.throws {
            // Without the words of the panic hook.
            std::panic::resume_unwind(Box::new("the handler of this case throws"));
        }
        let attempt = execution.as_ref().map(Execution::attempt);
        let said = Said {
            run,
            attempt,
            published,
        };
        let body = match &script.body {
            Body::Text(text) => AxumBody::from(said.in_place_of_its_names(text)),
            Body::Hex(hex) => AxumBody::from(hex.hex.clone()),
            Body::Repeat(repeat) => AxumBody::from(repeat.text()),
            Body::Pieces { pieces } => pieces_of(pieces.clone(), self.gates.clone()),
            Body::Echo { echo: Echo::Body } => AxumBody::from(body.to_bytes()),
            Body::Echo {
                echo: Echo::Request,
            } => AxumBody::from(seen(&parts, &body.to_bytes(), &said)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = script.status.try_into().expect("a status");
        for (name, value) in &script.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            let value = HeaderValue::from_bytes(&latin1(value)).expect("a value");
            response.headers_mut().append(name, value);
        }
        response
    }
}

struct Said {
    run: usize,
    attempt: Option<u32>,
    published: Option<String>,
}

impl Said {
    fn in_place_of_its_names(&self, text: &str) -> String {
        let attempt = self.attempt.map_or("none".to_owned(), |n| n.to_string());
        text.replace("{run}", &self.run.to_string())
            .replace("{attempt}", &attempt)
            .replace("{published}", self.published.as_deref().unwrap_or("none"))
    }
}

/// What the handler sees of its request. The order of the members is that of the format.
#[derive(Serialize)]
struct Seen<'a> {
    method: &'a str,
    target: String,
    key: Option<&'a str>,
    part: Option<String>,
    length: Option<&'a str>,
    body: String,
    attempt: Option<u32>,
    published: Option<&'a str>,
}

fn seen(parts: &Parts, body: &[u8], said: &Said) -> String {
    fn text(value: &HeaderValue) -> &str {
        value.to_str().expect("printable")
    }
    let header = |name| parts.headers.get(name).map(text);
    let lines: Vec<_> = parts.headers.get_all("x-part").iter().map(text).collect();
    let part = Some(lines.join(", "));
    let seen = Seen {
        method: parts.method.as_str(),
        target: parts.uri.to_string(),
        key: header("idempotency-key"),
        part: part.filter(|lines| !lines.is_empty()),
        length: header("content-length"),
        body: body.iter().map(|byte| format!("{byte:02x}")).collect(),
        attempt: said.attempt,
        published: said.published.as_deref(),
    };
    serde_json::to_string(&seen).expect("plain data")
}

/// A body of unknown length.
fn pieces_of(pieces: Vec<Piece>, gates: Gates) -> AxumBody {
    let (sender, frames) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for piece in pieces {
            let frame = match piece {
                Piece::Text(text) => Ok(Bytes::from(text)),
                Piece::Hex(hex) => Ok(Bytes::from(hex.hex)),
                Piece::Wait { wait } => {
                    gates.opened(&wait).await;
                    continue;
                }
                Piece::Throws { .. } => Err(io::Error::other("the body of this case breaks off")),
            };
            // Nobody reads it any more.
            if sender.send(frame).is_err() {
                return;
            }
        }
    });
    AxumBody::new(Frames(frames))
}

struct Frames(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
