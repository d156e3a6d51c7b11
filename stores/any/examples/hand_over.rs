//! A lease that one program begins and another one ends, in whichever language: the store and the
//! token are all that they share.
//!
//! ```sh
//! cargo run -p idemp-stores --example hand_over -- redis://127.0.0.1/ begin user-1 key-1 '{"amount": 100}'
//! miss {"slot":…}
//! cargo run -p idemp-stores --example hand_over -- redis://127.0.0.1/ finish '{"slot":…}' 'order 17'
//! ended
//! ```

use idemp::{Decision, Fingerprint, Idempotency, Key, LeaseError, LeaseToken, Scope};
use idemp_stores::{AnyStore, FromUrl};

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (url, words) = words.split_first().ok_or("the URL of a store is missing")?;
    let idem = Idempotency::from_url(url).await?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    println!("{}", obey(&idem, &words).await?);
    Ok(())
}

async fn obey(idem: &Idempotency<AnyStore>, words: &[&str]) -> Result<String, Failed> {
    match words {
        ["begin", user, key, payload] => begin(idem, user, key, payload).await,
        ["publish", token, state] => {
            let lease = idem.resume_async(LeaseToken::from_text(token)?);
            let published = lease.publish_bytes(state.as_bytes().to_vec()).await;
            let token = lease.detach();
            said(published.map(|()| format!("held {}", token.to_text())))
        }
        ["finish", token, outcome] => {
            let mut lease = idem.resume_async(LeaseToken::from_text(token)?);
            let finished = lease.finish_bytes(outcome.as_bytes().to_vec()).await;
            said(finished.map(|_| "ended".to_string()))
        }
        _ => Err("begin USER KEY PAYLOAD, publish TOKEN STATE, or finish TOKEN OUTCOME".into()),
    }
}

async fn begin(
    idem: &Idempotency<AnyStore>,
    user: &str,
    key: &str,
    payload: &str,
) -> Result<String, Failed> {
    let (scope, key) = (Scope::new([user])?, Key::new(key)?);
    let request = Fingerprint::of_json(payload.as_bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match idem.begin_async(&scope, &key, &request).await? {
        Decision::Miss(lease) => format!("miss {}", lease.detach().to_text()),
        Decision::Hit(replay) => format!("hit {}", text(replay.bytes())),
        Decision::InProgress(other) => {
            let published = other.published().map(|state| text(state));
            format!("in progress {}", published.unwrap_or_default())
        }
        Decision::Conflict => "conflict".to_string(),
        other => format!("{:?}", other.map(|_| ())).to_lowercase(),
    })
}

fn said(done: Result<String, LeaseError>) -> Result<String, Failed> {
    match done {
        Err(LeaseError::Stale(_)) => Ok("stale".to_string()),
        other => Ok(other?),
    }
}
