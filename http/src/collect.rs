//! Reading whole bodies, up to a limit: of requests, and of responses that are to be stored.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError};
use tokio::time::{Instant, timeout_at};

use crate::body::{Begun, Body, into_bytes};

/// Why a request body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    Broken,
}

/// A request body, and its trailers.
pub(crate) struct Read {
    pub(crate) bytes: Bytes,
    trailers: Option<HeaderMap>,
}

impl Read {
    /// The body for the handler.
    pub(crate) fn into_body<B: http_body::Body>(self) -> Body<B> {
        let Some(trailers) = self.trailers else {
            return Body::whole(self.bytes);
        };
        let frames = [Frame::data(self.bytes), Frame::trailers(trailers)];
        Body::begun(Begun {
            frames: frames.into_iter().map(Ok).collect(),
            rest: None,
        })
    }
}

/// Reads a request body of at most `limit` bytes, whatever length its sender gave.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Read, Unread>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLarge);
    }
    let mut body = pin!(body);
    let mut read = Joined::default();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unread(&*error.into()))?;
        match into_bytes(frame).into_data() {
            Ok(data) if data.len() > limit - read.len() => return Err(Unread::TooLarge),
            Ok(data) => read.push(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let bytes = read.into_bytes();
    Ok(Read { bytes, trailers })
}

/// A response body that was read, or what has to be passed on as it comes.
pub(crate) enum Collected<B: http_body::Body> {
    Whole(Bytes),
    Unstorable(Body<B>),
}

/// Reads a response body of at most `limit` bytes; one whose length has no bound, for at most
/// `patience`.
pub(crate) async fn collect<B>(body: B, limit: usize, patience: Duration) -> Collected<B>
where
    B: http_body::Body,
{
    if body.is_end_stream() {
        return Collected::Whole(Bytes::new());
    }
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Collected::Unstorable(Body::untouched(body));
    }
    // Beyond the range of the clock is never.
    let deadline = match hint.upper() {
        Some(_) => None,
        None => Instant::now().checked_add(patience),
    };
    let mut body = Box::pin(body);
    let mut frames = VecDeque::new();
    let mut length = 0;
    let rest = loop {
        let Ok(frame) = next(&mut body, deadline).await else {
            break Some(body);
        };
        let Some(frame) = frame else {
            let mut read = Joined::default();
            frames.into_iter().for_each(|data| read.push(data));
            return Collected::Whole(read.into_bytes());
        };
        match frame.map(into_bytes).map(Frame::into_data) {
            // Most are one piece, and say so.
            Ok(Ok(data)) if length == 0 && data.len() <= limit && body.is_end_stream() => {
                return Collected::Whole(data);
            }
            Ok(Ok(data)) => {
                length += data.len();
                frames.push_back(data);
                if length > limit {
                    break Some(body);
                }
            }
            Ok(Err(trailers)) => return begun(frames, Some(Ok(trailers)), Some(body)),
            Err(error) => return begun(frames, Some(Err(error)), None),
        }
    };
    begun(frames, None, rest)
}

struct Late;

async fn next<B: http_body::Body>(
    body: &mut Pin<Box<B>>,
    deadline: Option<Instant>,
) -> Result<Option<Result<Frame<B::Data>, B::Error>>, Late> {
    match deadline {
        Some(deadline) => timeout_at(deadline, body.frame()).await.map_err(|_| Late),
        None => Ok(body.frame().await),
    }
}

fn begun<B: http_body::Body>(
    data: VecDeque<Bytes>,
    last: Option<Result<Frame<Bytes>, B::Error>>,
    rest: Option<Pin<Box<B>>>,
) -> Collected<B> {
    let data = data.into_iter().map(|data| Ok(Frame::data(data)));
    let frames = data.chain(last).collect();
    Collected::Unstorable(Body::begun(Begun { frames, rest }))
}

/// A limit of a layer outside of this one may have ended the body.
fn unread(error: &(dyn Error + 'static)) -> Unread {
    let mut causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
        (*error).source()
    });
    if causes.any(|error| error.is::<LengthLimitError>()) {
        Unread::TooLarge
    } else {
        Unread::Broken
    }
}

/// Pieces of a body. A single one is not copied.
#[derive(Default)]
struct Joined {
    first: Bytes,
    rest: BytesMut,
}

impl Joined {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
        } else {
            if self.rest.is_empty() {
                self.rest.reserve(self.first.len() + data.len());
                self.rest
                    .extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&data);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
}
