//! Which headers of a response are stored: [`HeaderFilter`].

use thiserror::Error;

use super::token::is_token;

/// The headers of a response that are stored with it, by name, whatever its case.
///
/// By default: `content-type`, `content-encoding`, `content-language`, `content-disposition`,
/// `content-location`, `location`, `etag`, `last-modified`, `link`. A route adds its own.
///
/// - `Content-Encoding` is stored because the body is: bytes that a handler has compressed mean
///   nothing without it. A layer that compresses by the request's `Accept-Encoding` belongs
///   outside of the idempotency layer, where it serves a replay like any answer.
/// - `Vary` is not: a replay is `no-store`, so no cache asks, and a CORS or compression layer
///   outside writes its own. A route may add it.
/// - Some headers are never stored, even if a route names them: those of one connection, one
///   answer, one request or one caller (cookies, credentials, tokens, hop-by-hop headers, dates,
///   caching, CORS and CSP, request ids, rate limits), and what a replay writes itself. Nor is any
///   header that the response's `Connection` names (RFC 9110, section 7.6.1).
///
/// ```
/// use idemp::http::HeaderFilter;
///
/// let filter = HeaderFilter::default().allow("X-Task-Id")?;
/// assert!(filter.keeps("x-task-id"));
/// assert!(filter.keeps("Location"));
/// assert!(!filter.keeps("Set-Cookie"));
/// assert!(HeaderFilter::default().allow("Set-Cookie").is_err());
/// # Ok::<(), idemp::http::HeaderFilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderFilter {
    /// The route's own, in lower case.
    own: Vec<Box<str>>,
}

impl HeaderFilter {
    /// Stores the header `name` too.
    ///
    /// # Errors
    /// [`HeaderFilterError`] where the name is not a token, or is never stored.
    pub fn allow(mut self, name: &str) -> Result<Self, HeaderFilterError> {
        if !is_token(name) {
            return Err(HeaderFilterError::Name);
        }
        let name = name.to_ascii_lowercase().into_boxed_str();
        if DENIED.iter().any(|pattern| matches(pattern, &name)) {
            return Err(HeaderFilterError::Denied { name });
        }
        if !self.keeps(&name) {
            self.own.push(name);
        }
        Ok(self)
    }

    /// Whether a header with this name is stored, where `Connection` does not name it.
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        let own = self.own.iter().map(AsRef::as_ref);
        own.chain(ALLOWED)
            .any(|kept| kept.eq_ignore_ascii_case(name))
    }

    /// The headers to store, in their order, repeated ones too.
    #[must_use]
    pub fn keep<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Vec<(&'a str, &'a [u8])> {
        let mut of_connection = Vec::new();
        let mut kept = Vec::new();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("connection") {
                of_connection.extend(value.split(|c| *c == b',').map(<[u8]>::trim_ascii));
            } else if self.keeps(name) {
                kept.push((name, value));
            }
        }
        kept.retain(|(name, _)| {
            let name = name.as_bytes();
            !of_connection
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name))
        });
        kept
    }
}

/// Why a header cannot be added to a [`HeaderFilter`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderFilterError {
    /// The name is not a token of RFC 9110, section 5.6.2.
    #[error("a header name is not an http token")]
    Name,
    /// The header is never stored.
    #[error("the response header {name} is never stored, it would be wrong in a later answer")]
    Denied {
        /// The name, in lower case.
        name: Box<str>,
    },
}

const ALLOWED: [&str; 9] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "content-location",
    "location",
    "etag",
    "last-modified",
    "link",
];

/// A star stands for any characters.
#[rustfmt::skip]
const DENIED: &[&str] = &[
    // The caller's credentials and state.
    "set-cookie", "set-cookie2", "cookie", "authorization", "www-authenticate", "authentication-info",
    "x-api-key", "token", "*-token",
    // One connection: RFC 9110, section 7.6.1.
    "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-*",
    // Recomputed for each answer, or true at one moment only.
    "content-length", "date", "age", "server-timing", "alt-svc", "via", "retry-after",
    "ratelimit*", "rate-limit*", "x-ratelimit*", "x-rate-limit*",
    // What a replay says itself: it is a replay, and is not to be cached.
    "idempotent-*", "idempotency-*", "x-idempotent-*", "x-idempotency-*", "cache-control", "expires", "pragma",
    // The layers outside write these for the present request.
    "access-control-*", "timing-allow-origin", "content-security-policy*", "x-content-security-policy*",
    "strict-transport-security", "nel", "report-to", "reporting-endpoints",
    // The request that was executed, not the one that is answered.
    "request-id", "x-request-id", "correlation-id", "x-correlation-id", "traceparent", "tracestate",
    "traceresponse", "baggage", "b3", "x-b3-*", "trace-id", "x-trace-id", "x-amzn-requestid",
    "x-amzn-trace-id", "x-cloud-trace-context", "cf-ray",
];

fn matches(pattern: &str, name: &str) -> bool {
    if let Some(start) = pattern.strip_suffix('*') {
        name.starts_with(start)
    } else if let Some(end) = pattern.strip_prefix('*') {
        name.ends_with(end)
    } else {
        name == pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(filter: &HeaderFilter, headers: &[(&str, &str)]) -> Vec<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        let kept = filter.keep(headers).into_iter();
        kept.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect()
    }

    #[test]
    fn what_describes_the_body_and_the_new_resource_is_kept() {
        for name in [
            "Content-Type",
            "Content-Encoding",
            "Content-Language",
            "Content-Disposition",
            "Content-Location",
            "Location",
            "ETag",
            "Last-Modified",
            "Link",
        ] {
            assert_eq!(
                kept(&HeaderFilter::default(), &[(name, "v")]),
                [format!("{name}: v")]
            );
        }
    }

    #[test]
    fn what_nobody_named_is_dropped() {
        for name in [
            "Vary",
            "Server",
            "X-Task-Id",
            "Content-Typ",
            "Content-Type-X",
            // The sign for kelvin is a letter K in other rules of case.
            "Lin\u{212A}",
            "",
        ] {
            assert!(!HeaderFilter::default().keeps(name), "{name}");
        }
    }

    #[test]
    fn a_route_adds_its_own_headers() {
        let filter = HeaderFilter::default()
            .allow("X-Task-Id")
            .unwrap()
            .allow("vary")
            .unwrap();
        let headers = [("X-TASK-ID", "1"), ("Vary", "accept"), ("X-Other", "2")];
        assert_eq!(kept(&filter, &headers), ["X-TASK-ID: 1", "Vary: accept"]);
    }

    #[test]
    fn a_deny_beats_an_allow_whatever_the_case_and_says_so() {
        for name in [
            "Set-Cookie",
            "SET-COOKIE2",
            "Authorization",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "Proxy-Connection",
            "WWW-Authenticate",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Date",
            "Content-Length",
            "Access-Control-Allow-Origin",
            "Access-Control-Expose-Headers",
            "Content-Security-Policy",
            "Content-Security-Policy-Report-Only",
            "X-Request-Id",
            "Request-Id",
            "X-Correlation-ID",
            "Traceparent",
            "Tracestate",
            "RateLimit",
            "RateLimit-Policy",
            "RateLimit-Remaining",
            "X-RateLimit-Reset",
            "X-Rate-Limit-Limit",
            "Retry-After",
            "X-CSRF-Token",
            "X-Auth-Token",
            "Token",
            "Age",
            "Server-Timing",
            "Strict-Transport-Security",
            "Idempotent-Replayed",
            "Idempotency-Key",
            "Idempotency-Replayed",
            "X-Idempotency-Key",
            "Cache-Control",
            "Expires",
            "Pragma",
            "X-B3-TraceId",
        ] {
            let error = HeaderFilter::default().allow(name).unwrap_err();
            let lower = name.to_ascii_lowercase();
            assert!(error.to_string().contains(&lower), "{error}");
            assert_eq!(error, HeaderFilterError::Denied { name: lower.into() });
            assert!(!HeaderFilter::default().keeps(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_only_resembles_a_denied_one_may_be_added() {
        for name in [
            "X-Tokens",
            "Datestamp",
            "X-Date",
            "Proxy",
            "Upgrade-Policy",
            "X-Via",
        ] {
            assert!(
                HeaderFilter::default().allow(name).unwrap().keeps(name),
                "{name}"
            );
        }
    }

    #[test]
    fn no_header_is_both_allowed_and_denied() {
        for name in ALLOWED {
            assert!(
                !DENIED.iter().any(|pattern| matches(pattern, name)),
                "{name}"
            );
        }
        for pattern in DENIED {
            assert_eq!(*pattern, pattern.to_ascii_lowercase());
        }
    }

    #[test]
    fn what_connection_names_is_dropped_wherever_it_stands() {
        let filter = HeaderFilter::default().allow("X-Hop").unwrap();
        let headers = [
            ("X-Hop", "1"),
            ("Connection", "close, x-hop"),
            ("ETag", "\"1\""),
            ("connection", "\tETAG ,"),
            ("Location", "/tasks/1"),
        ];
        assert_eq!(kept(&filter, &headers), ["Location: /tasks/1"]);
    }

    #[test]
    fn repeated_headers_keep_their_order_and_number() {
        let headers = [("Link", "a"), ("ETag", "e"), ("link", "b"), ("Link", "a")];
        let all = ["Link: a", "ETag: e", "link: b", "Link: a"];
        assert_eq!(kept(&HeaderFilter::default(), &headers), all);
    }

    #[test]
    fn a_name_that_is_no_token_is_refused() {
        for name in ["", "x y", "x:", "ü", "x\n"] {
            assert_eq!(
                HeaderFilter::default().allow(name),
                Err(HeaderFilterError::Name),
                "{name}"
            );
        }
    }
}
