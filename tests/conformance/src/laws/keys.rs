//! Law 7: names.

use idemp::{Expect, Key, Scope, SlotKey, Verdict};

use crate::subject::Subject;
use crate::world::{HOUR, Held, World, ensure, found, key, name, new, remove, verdict};

pub(crate) async fn never_alias<S: Subject>(world: &World<S>) -> Held {
    let mut names = hostile();
    // Whoever is removed first may take the other along, so once in each order.
    put_and_remove(world, &names).await?;
    names.reverse();
    put_and_remove(world, &names).await
}

async fn put_and_remove<S: Subject>(world: &World<S>, names: &[SlotKey]) -> Held {
    let mut laid = Vec::new();
    for slot in names {
        let there = world.read(slot).await?;
        ensure!(
            there.is_none(),
            "{} finds what was put under another name",
            of(slot)
        );
        laid.push(world.lay(slot, Expect::Vacant, new(HOUR, HOUR)).await?);
    }
    for (slot, laid) in names.iter().zip(&laid) {
        let there = world.read(slot).await?;
        ensure!(
            there.as_ref() == Some(laid),
            "{} does not find what was put under it: {} lies there",
            of(slot),
            found(there.as_ref())
        );
    }
    for (slot, laid) in names.iter().zip(&laid) {
        let reply = world.ask(&remove(slot, laid.rev)).await?;
        ensure!(
            reply.verdict == Verdict::Won,
            "{} was taken along when another name was removed: its own removal was answered {}",
            of(slot),
            verdict(&reply.verdict)
        );
        let there = world.read(slot).await?;
        ensure!(
            there.is_none(),
            "{} is there after it was removed",
            of(slot)
        );
    }
    Ok(())
}

/// These names are the suite's own, and no secret.
fn of(slot: &SlotKey) -> String {
    let short = |text: &str| -> String { text.chars().take(40).collect() };
    let scope: Vec<String> = slot.scope_parts().into_iter().map(short).collect();
    format!("the key {:?} in the scope {scope:?}", short(slot.key()))
}

/// Names that somebody's joining, folding, trimming, cutting or quoting would make one.
fn hostile() -> Vec<SlotKey> {
    let long = "k".repeat(Key::MAX_BYTES);
    let wide = "ü".repeat(Key::MAX_BYTES / 2);
    let part = "p".repeat(Scope::MAX_PART_BYTES);
    let full: Vec<&str> = vec![&part; Scope::MAX_PARTS];
    let mut names = vec![
        // Where one part ends and the next begins.
        key(&["a:b"], "c"),
        key(&["a"], "b:c"),
        key(&["a", "b"], "c"),
        key(&["a", "b", "c"], "c"),
        key(&["ab", "c"], "d"),
        key(&["a", "bc"], "d"),
        key(&["a"], "bcd"),
        key(&["a/b"], "c"),
        key(&["a"], "b/c"),
        key(&["a|b"], "c"),
        key(&["a"], "b|c"),
        key(&["{a}"], "b"),
        key(&["a"], "{b}"),
        // The bytes of a frame, in a part or a key.
        key(&["x"], "!y"),
        key(&["x!"], "y"),
        key(&["tenant-7", "user-1"], "final"),
        key(&["tenant-7", "user-2"], "final"),
        key(&["tenant-7", "user-1", "final"], "final"),
        // The longest, and those that a cut would make one.
        key(&["a"], &long),
        key(&["a"], &long[1..]),
        key(&["a"], &format!("{}x", &long[1..])),
        key(&["a"], &wide),
        key(&["a"], &wide[2..]),
        key(&[&part], "k"),
        key(&[&part[1..]], "k"),
        key(&full, &long),
        key(&full, &long[1..]),
        key(&full[1..], &long),
    ];
    // Alone as a key, and alone as a scope.
    for text in [
        "b",
        "B",
        "b ",
        " b",
        "b  ",
        "b\u{a0}",
        "\u{200b}b",
        "b\u{200b}",
        "\u{feff}b",
        "%",
        "%25",
        "_",
        "*",
        "?",
        "[b]",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\",
        "\\0",
        "\\x00",
        "'; --",
        "$1",
        ":1",
        "@p",
        "#",
        "`",
        "..",
        ".",
        "/",
        "//",
        "~",
        "null",
        "NULL",
        "nil",
        "true",
        "0",
        "00",
        "+0",
        "-0",
        "0x0",
        "1e0",
        "1",
        "1.0",
        "e",
        "\u{e9}",
        "e\u{301}",
        "\u{c9}",
        "\u{df}",
        "ss",
        "SS",
        "\u{1e9e}",
        "\u{131}",
        "i",
        "I",
        "\u{130}",
        "\u{17f}",
        "s",
        "a",
        "\u{430}",
        "\u{ff41}",
        "\u{3a9}",
        "\u{2126}",
        "\u{fb01}",
        "fi",
        "\u{1f600}",
        "\u{1f601}",
        "\u{10ffff}",
        "\u{fffd}",
        "\u{202e}b",
        "{b}",
        "{b}b",
    ] {
        names.push(name(text));
        names.push(key(&["tenant-7", text], "user-1"));
    }
    names
}
