//! The script of a swap, in two forms, and how a server gets to know them.

use std::sync::LazyLock;

use redis::{Pipeline, Script, ServerErrorKind, Value};

use crate::fault::RedisFault;

/// The swap as a script, to be run by `EVALSHA` with one key: what the server does for a swap that
/// expects a revision. Its first lines say what it takes and answers. For others that speak to
/// the same records.
pub const SWAP_SCRIPT: &str = include_str!("../lua/swap.lua");

/// Replaces what is there, also when memory is full: what was begun can be finished.
pub(crate) static REPLACE: LazyLock<Script> = LazyLock::new(|| Script::new(SWAP_SCRIPT));

/// The same for a slot that is vacant: refused when memory is full.
pub(crate) static CLAIM: LazyLock<Script> =
    LazyLock::new(|| Script::new(&SWAP_SCRIPT.replacen(" flags=allow-oom", "", 1)));

/// The commands that make a server know both, and how many replies they have.
pub(crate) fn load() -> (Pipeline, usize) {
    let mut commands = Pipeline::with_capacity(3);
    let claim = SWAP_SCRIPT.replacen(" flags=allow-oom", "", 1);
    for code in [SWAP_SCRIPT, &claim] {
        commands.cmd("SCRIPT").arg("LOAD").arg(code);
    }
    (commands, 2)
}

/// Whether the replies to [`load`] say that it did.
pub(crate) fn loaded(replies: &[Value]) -> Result<(), RedisFault> {
    let hashes = [REPLACE.get_hash(), CLAIM.get_hash()];
    for (reply, hash) in replies.iter().zip(hashes) {
        match reply {
            Value::BulkString(said) if said == hash.as_bytes() => {}
            Value::ServerError(error) => return Err(RedisFault::refused(error)),
            _ => return Err(RedisFault::Reply),
        }
    }
    Ok(())
}

/// Whether the server said that it does not know the script.
pub(crate) fn is_unknown(error: &redis::ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::NoScript)
}
