//! What the client of a refused request gets: [`ErrorAnswer`].

use std::borrow::Cow;

use serde::Serialize;

use super::refusal::{Profile, Refusal};
use super::request_id::RequestId;
use crate::Key;

/// An answer to send as it is. The server adds `Content-Length` and `Date`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorAnswer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, in JSON.
    pub body: String,
}

impl Refusal {
    /// The whole answer, for the request `request_id`. The default profile shows at most the
    /// first 16 characters of `key`, the key of that request; the ietf profile shows none. Nothing
    /// of what is stored under the key shows in either.
    ///
    /// ```
    /// use idemp::{Key, http::{Profile, Refusal, RequestId}};
    ///
    /// let key = Key::new("final-1769660861-a1")?;
    /// let id = RequestId::new("req_2fc6dfe5")?;
    /// let answer = Refusal::Conflict.answer(Profile::Default, &id, Some(&key));
    /// assert_eq!(answer.status, 409);
    /// assert_eq!(
    ///     answer.body,
    ///     r#"{"code":"IDEMPOTENCY_KEY_CONFLICT","#.to_owned()
    ///         + r#""message":"Idempotency-Key already used with different payload","#
    ///         + r#""requestId":"req_2fc6dfe5","#
    ///         + r#""details":{"idempotencyKey":"final-1769660861..."}}"#
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn answer(
        self,
        profile: Profile,
        request_id: &RequestId,
        key: Option<&Key>,
    ) -> ErrorAnswer {
        let status = self.status(profile);
        let (code, message) = (self.code(), self.message(profile));
        let request_id = request_id.as_str();
        let (kind, title) = self.problem();
        let (content_type, body) = match profile {
            Profile::Default => {
                let idempotency_key = key.map(|key| shown(key.as_str()));
                let details = Details { idempotency_key };
                let body = DefaultBody {
                    code,
                    message,
                    request_id,
                    details,
                };
                ("application/json", json(&body))
            }
            Profile::Ietf => {
                let body = Problem {
                    kind,
                    title,
                    status,
                    detail: message,
                    code,
                    request_id,
                };
                ("application/problem+json", json(&body))
            }
        };
        let mut headers = vec![
            ("content-type", content_type.into()),
            ("content-language", "en".into()),
            ("cache-control", "no-store".into()),
        ];
        if let Some(seconds) = self.retry_after_seconds() {
            headers.push(("retry-after", seconds.to_string().into()));
        }
        if profile == Profile::Ietf && status == 400 {
            let link = ["<", kind, ">; rel=\"describedby\"; type=\"text/html\""];
            headers.push(("link", link.concat().into()));
        }
        ErrorAnswer {
            status,
            headers,
            body,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DefaultBody<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    details: Details,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

/// RFC 9457, section 3.1, and the extension members of section 3.2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("text and numbers are always json")
}

/// A key of at most 16 characters whole, else the first 16 and `...`.
fn shown(key: &str) -> String {
    match key.char_indices().nth(16) {
        None => key.to_owned(),
        Some((end, _)) => [&key[..end], "..."].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::refusal::tests::ALL;

    fn answer(profile: Profile, refusal: Refusal, key: &str) -> ErrorAnswer {
        let id = RequestId::from_random([0x2f, 0xc6, 0xdf, 0xe5]);
        refusal.answer(profile, &id, Some(&Key::new(key).unwrap()))
    }

    fn header<'a>(answer: &'a ErrorAnswer, name: &str) -> Option<&'a str> {
        let mut found = answer.headers.iter().filter(|(n, _)| *n == name);
        let value = found.next().map(|(_, value)| value.as_ref());
        assert!(found.next().is_none(), "{name} is repeated");
        value
    }

    #[test]
    fn every_answer_is_english_json_that_no_cache_keeps() {
        for refusal in ALL {
            for (profile, content_type) in [
                (Profile::Default, "application/json"),
                (Profile::Ietf, "application/problem+json"),
            ] {
                let answer = answer(profile, refusal, "k");
                assert_eq!(answer.status, refusal.status(profile));
                assert_eq!(header(&answer, "content-type"), Some(content_type));
                assert_eq!(header(&answer, "content-language"), Some("en"));
                assert_eq!(header(&answer, "cache-control"), Some("no-store"));
                let wait = refusal
                    .retry_after_seconds()
                    .map(|seconds| seconds.to_string());
                assert_eq!(header(&answer, "retry-after"), wait.as_deref());
                let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(body["code"], refusal.code());
                assert_eq!(body["requestId"], "req_2fc6dfe5");
            }
        }
    }

    #[test]
    fn a_key_is_cut_after_16_characters_and_not_within_one() {
        for (key, expected) in [
            ("k", "k"),
            ("1234567890123456", "1234567890123456"),
            ("12345678901234567", "1234567890123456..."),
            ("äöüäöüäöüäöüäöüä", "äöüäöüäöüäöüäöüä"),
            ("äöüäöüäöüäöüäöüäö", "äöüäöüäöüäöüäöüä..."),
            (
                "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
                "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀...",
            ),
        ] {
            let answer = answer(Profile::Default, Refusal::Conflict, key);
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["details"]["idempotencyKey"], expected);
        }
    }

    #[test]
    fn a_key_with_quotes_stays_within_its_json_string() {
        let key = r#"a","x":"\"#;
        let answer = answer(Profile::Default, Refusal::Conflict, key);
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["details"]["idempotencyKey"], key);
        assert_eq!(body.as_object().unwrap().len(), 4);
    }

    #[test]
    fn without_a_key_the_details_are_empty() {
        let id = RequestId::from_random([0; 4]);
        let answer = Refusal::KeyMissing.answer(Profile::Default, &id, None);
        assert!(answer.body.ends_with(r#""details":{}}"#), "{}", answer.body);
    }

    #[test]
    fn a_400_of_the_ietf_profile_links_to_the_rule_that_was_broken() {
        for refusal in ALL {
            assert_eq!(
                header(&answer(Profile::Default, refusal, "k"), "link"),
                None
            );
            let answer = answer(Profile::Ietf, refusal, "k");
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            let link = header(&answer, "link");
            if answer.status == 400 {
                assert!(link.unwrap().contains(body["type"].as_str().unwrap()));
            } else {
                assert_eq!(link, None);
            }
        }
    }

    #[test]
    fn problem_details_say_nothing_of_the_key() {
        for refusal in ALL {
            assert!(
                !answer(Profile::Ietf, refusal, "s3cret")
                    .body
                    .contains("s3cret")
            );
        }
    }
}
