//! Law 5: bytes.

use idemp::{Body, Expect, Head, NewSlot};

use super::errors::{secret, secretly, shows_no_secret};
use crate::subject::Subject;
use crate::world::{
    HOUR, Held, World, broken, ensure, found, name, new, put, remove, told, try_ask, verdict,
};

const MIB: usize = 1024 * 1024;

pub(crate) async fn come_back<S: Subject>(world: &World<S>) -> Held {
    let limit = world.subject.limits().body_bytes.unwrap_or(MIB);
    let slot = name("bytes");
    for (number, (head, body)) in all_bytes(limit).enumerate() {
        let new = NewSlot {
            head: Head::from_bytes(&head).unwrap_or_default(),
            body: Body::from(&body[..]),
            ..new(HOUR, HOUR)
        };
        let rev = new.rev;
        let what = format!(
            "a head of {} and a body of {} bytes",
            head.len(),
            body.len()
        );
        let lying = world.lay(&slot, Expect::Vacant, new).await?;
        let halves = [
            ("head", &head[..], lying.head.as_bytes()),
            ("body", &body[..], &lying.body[..]),
        ];
        for (half, went_in, came_back) in halves {
            let same = went_in.iter().zip(came_back).take_while(|(a, b)| a == b);
            let same = same.count();
            ensure!(
                went_in == came_back,
                "case {number}, {what}: the {half} came back with {} bytes, and differs from byte {same} on",
                came_back.len()
            );
        }
        world.ask(&remove(&slot, rev)).await?;
    }
    too_many(world).await
}

fn all_bytes(limit: usize) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let every: Vec<u8> = (0..=255).collect();
    let long = |length: usize| (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
    let heads: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0; Head::MAX_BYTES],
        b"\xff\x00\xff'\"\\".to_vec(),
        every[..Head::MAX_BYTES].to_vec(),
        every[256 - Head::MAX_BYTES..].to_vec(),
    ];
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        b"0".to_vec(),
        b"\\x00\\000'\"\r\n\t ".to_vec(),
        b"\xff\xfe\x00\x80\xc3\x28\xed\xa0\x80".to_vec(),
        b"null".to_vec(),
        every,
        vec![0; 70_000.min(limit)],
        long(511),
        long(4_096),
        long(65_535.min(limit)),
        long(65_536.min(limit)),
        vec![0; limit],
        long(limit),
    ];
    let pairs = bodies.len().max(heads.len()) * 2;
    (0..pairs).map(move |n| {
        // Every body meets two heads, every head some bodies.
        let head = &heads[(n + n / bodies.len()) % heads.len()];
        (head.clone(), bodies[n % bodies.len()].clone())
    })
}

/// What is too much is refused, and leaves no trace.
async fn too_many<S: Subject>(world: &World<S>) -> Held {
    let Some(limit) = world.subject.limits().body_bytes else {
        return Ok(());
    };
    let slot = secret();
    let before = world.lay(&slot, Expect::Vacant, new(HOUR, HOUR)).await?;
    let mut large = secretly();
    let mut body = large.body.to_vec();
    body.resize(limit + 1, 7);
    large.body = Body::from(body);
    let large = put(&slot, Expect::Rev(before.rev), large);
    match try_ask(&*world.store, &large).await? {
        Ok(reply) => broken!(
            "{} is over the store's limit, and was answered {}",
            told(&large),
            verdict(&reply.verdict)
        ),
        Err(error) => {
            shows_no_secret(&error)?;
            ensure!(
                !error.is_retryable(),
                "{} is over the store's limit, and the error says that asking again may help: {error}",
                told(&large)
            );
        }
    }
    let after = world.read(&slot).await?;
    ensure!(
        after.as_ref() == Some(&before),
        "{} was refused, and changed the slot to {}",
        told(&large),
        found(after.as_ref())
    );
    Ok(())
}
