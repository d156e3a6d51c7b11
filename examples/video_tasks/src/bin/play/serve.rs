//! `--serve`: the service, left running for whoever wants to try it.

use std::time::Duration;

use crate::screen::{bold, dim};
use crate::service::{Log, Service};
use crate::setting::Setting;

/// Until Ctrl-C. Hands back whether the service ended well.
pub(crate) async fn run(port: &str, setting: &Setting) -> Result<bool, video_tasks::client::Error> {
    let requested = video_tasks::stop::requested()?;
    let mut service = Service::start(port, Log::Shown, setting)?;
    println!("{}", invitation(&service.address().to_string()));
    let ended = async {
        while !service.has_ended() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = requested => {}
        () = ended => {}
    }
    // On a terminal Ctrl-C has reached the service, too.
    service.stop()?;
    Ok(true)
}

fn invitation(address: &str) -> String {
    let create = |payload: &str| {
        format!(
            "curl -i -w '\\n' http://{address}/api/video-tasks \\\n    \
             -H 'Authorization: Bearer 793ccc64-5717-4562-b3fc-2c963f66afa6' \\\n    \
             -H 'Idempotency-Key: final-1769660861-8d3f' \\\n    \
             -H 'Content-Type: application/json' -d '{payload}'"
        )
    };
    let tries = [
        (
            "Order a video. Send it again: the same task, and Idempotent-Replayed: true.",
            create(r#"{"prompt": "A lighthouse at dawn", "duration": 5}"#),
        ),
        (
            "The same key for another order: 409 IDEMPOTENCY_KEY_CONFLICT.",
            create(r#"{"prompt": "A lighthouse at dawn", "duration": 50}"#),
        ),
        (
            "Analyse a file. Send it again: the same task, until it has ended.",
            format!(
                "curl -i -w '\\n' http://{address}/api/v1/track \\\n    -H 'Content-Type: application/json' \
                 -d '{{\"tenant_id\": \"acme-studios\", \"video_filename\": \"dawn.mp4\"}}'"
            ),
        ),
    ];
    let mut text = format!("\n  {}\n", bold(&format!("listening on http://{address}")));
    for (what, command) in tries {
        // No indent before the command: it is there to be pasted.
        text.push_str(&format!("\n  {}\n{command}\n", dim(what)));
    }
    text.push_str(&format!(
        "\n  {}\n",
        dim("Ctrl-C stops it. What it logs follows.")
    ));
    text
}
