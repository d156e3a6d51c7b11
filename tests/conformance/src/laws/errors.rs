//! Law 6: errors. They mean "unknown", and they tell no secret.

use std::error::Error;

use idemp::{Body, Expect, NewSlot, SlotKey, StoreError, Swap};

use crate::subject::Subject;
use crate::world::{
    HOUR, Held, World, broken, ensure, fresh, key, new, put, remove, told, try_ask, verdict,
};

const KEY: &str = "hunter2-is-what-the-key-hides";
const BODY: &str = "swordfish-is-what-the-body-hides";

/// A slot's name that nobody may see.
pub(crate) fn secret() -> SlotKey {
    key(&["tenant-7", "user-1"], &format!("key-1234-{KEY}"))
}

/// What nobody may see, to be put.
pub(crate) fn secretly() -> NewSlot {
    let body = Body::from(BODY.as_bytes());
    NewSlot {
        body,
        ..new(HOUR, HOUR)
    }
}

/// In no form in which an error is shown.
pub(crate) fn shows_no_secret(error: &StoreError) -> Held {
    let mut shown = format!("{error}\n{error:?}\n{error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        shown += &format!("\n{error}\n{error:?}\n{error:#?}");
        cause = error.source();
    }
    for (what, secret) in [("key", KEY), ("body", BODY)] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let listed: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        let listed = [listed.join(", "), listed.join(",\n        ")];
        let forms = [secret, &hex, &hex.to_uppercase(), &listed[0], &listed[1]];
        ensure!(
            forms.iter().all(|form| !shown.contains(*form)),
            "an error shows the {what} that it is about"
        );
    }
    Ok(())
}

/// A store that cannot reach its records says so: it never says that there are none.
pub(crate) async fn out_of_reach<S: Subject>(world: &World<S>) -> Held {
    let Some(store) = world.subject.out_of_reach(&world.room).await else {
        return Ok(());
    };
    for swap in [
        put(&secret(), Expect::Vacant, secretly()),
        put(&secret(), Expect::Rev(fresh()), secretly()),
        remove(&secret(), fresh()),
        Swap::read(secret()),
    ] {
        match try_ask(&store, &swap).await? {
            Err(error) => shows_no_secret(&error)?,
            Ok(reply) => broken!(
                "a store that cannot reach its records was asked to {}, and answered {}",
                told(&swap),
                verdict(&reply.verdict)
            ),
        }
    }
    Ok(())
}
