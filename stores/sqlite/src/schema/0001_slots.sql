-- One row for each slot. Times are milliseconds since the Unix epoch.
--
-- Rows lie in the order in which they came, so that those of one commit share pages, and `finish`
-- writes to a page that `begin` wrote shortly before. `look_at` is when the purge looks at the row
-- again: it is never later than `gone_at`, and only the purge moves it, so `finish` touches no index.
--
-- `hash` is the first 8 bytes of the key's SHA-256, as a number. Keys are long and come in no order:
-- an index of them has many pages, and each new key writes another one. Keys that share a hash are
-- told apart by the key itself, and a key has one row, since who writes a new one has looked for it
-- in the same transaction.
CREATE TABLE slots (
    id          INTEGER PRIMARY KEY,
    hash        INTEGER NOT NULL,
    key         BLOB    NOT NULL,
    look_at     INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    gone_at     INTEGER NOT NULL,
    rev         BLOB    NOT NULL,
    head        BLOB    NOT NULL,
    body        BLOB    NOT NULL
) STRICT;

CREATE INDEX slots_by_hash ON slots (hash);

CREATE INDEX slots_to_look_at ON slots (look_at);
