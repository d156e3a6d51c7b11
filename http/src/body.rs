//! [`Body`]: the body of a request or a response on its way through the layer.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body as it came, or one that the layer has read. Frames of a body that the layer has not
    /// read stream through it.
    pub struct Body<B: http_body::Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B: http_body::Body> {
        Untouched { #[pin] body: B },
        Whole { bytes: Bytes },
        Misstated { bytes: Bytes },
        Begun { begun: Box<Begun<B>> },
    }
}

/// What was read of a body, and the rest of it.
pub(crate) struct Begun<B: http_body::Body> {
    pub(crate) frames: VecDeque<Result<Frame<Bytes>, B::Error>>,
    /// `None` after its end, or its error.
    pub(crate) rest: Option<Pin<Box<B>>>,
}

impl<B: http_body::Body> Body<B> {
    pub(crate) fn untouched(body: B) -> Self {
        Self {
            kind: Kind::Untouched { body },
        }
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Whole {
                bytes: bytes.into(),
            },
        }
    }

    /// Of a response that says another length. Nothing is said of the length here: who sends it
    /// would trust that both are the same, and the connection would be out of step.
    pub(crate) fn misstated(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Misstated { bytes },
        }
    }

    pub(crate) fn begun(begun: Begun<B>) -> Self {
        Self {
            kind: Kind::Begun {
                begun: Box::new(begun),
            },
        }
    }
}

impl<B: http_body::Body> http_body::Body for Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Untouched { body } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map(into_bytes)))
            }
            KindProjection::Whole { bytes } | KindProjection::Misstated { bytes } => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            KindProjection::Begun { begun } => begun.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Whole { bytes } | Kind::Misstated { bytes } => bytes.is_empty(),
            Kind::Begun { begun } => {
                begun.frames.is_empty()
                    && begun.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Misstated { .. } => SizeHint::default(),
            Kind::Begun { begun } => begun.size_hint(),
        }
    }
}

impl<B: http_body::Body> Begun<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(rest.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(into_bytes)))
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.frames.iter().flatten();
        let read: usize = frames.filter_map(Frame::data_ref).map(Bytes::len).sum();
        let rest = self.rest.as_ref().map(|rest| rest.size_hint());
        let rest = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        let mut hint = SizeHint::new();
        hint.set_lower((read as u64).saturating_add(rest.lower()));
        // A body that ends with an error is shorter than its sender said.
        let broken = self.frames.iter().any(Result::is_err);
        let upper = rest
            .upper()
            .and_then(|upper| upper.checked_add(read as u64));
        if let Some(upper) = upper.filter(|_| !broken) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Bytes stay where they are; what else may be in a frame is copied.
pub(crate) fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

impl<B: http_body::Body> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Untouched { .. } => "Body(untouched)",
            Kind::Whole { .. } | Kind::Misstated { .. } => "Body(whole)",
            Kind::Begun { .. } => "Body(begun)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::Full;

    fn begun(frames: [Result<Frame<Bytes>, &'static str>; 2], rest: bool) -> Body<Rest> {
        let rest = rest.then(|| Box::pin(Rest(Full::from("rest"))));
        let frames = frames.into();
        Body::begun(Begun { frames, rest })
    }

    /// A body whose errors are texts.
    struct Rest(Full<Bytes>);

    impl http_body::Body for Rest {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
            Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
        }

        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }

    #[test]
    fn the_length_of_a_begun_body_is_what_was_read_and_what_is_left() {
        let data = || Ok(Frame::data(Bytes::from_static(b"read")));
        let whole = begun([data(), data()], true);
        assert_eq!(whole.size_hint().exact(), Some(12));
        assert!(!whole.is_end_stream());
        assert_eq!(begun([data(), data()], false).size_hint().exact(), Some(8));
        let broken = begun([data(), Err("broken")], false).size_hint();
        assert_eq!((broken.lower(), broken.upper()), (4, None));
    }
}
