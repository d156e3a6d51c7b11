CREATE TABLE IF NOT EXISTS video_tasks (
    number       INTEGER PRIMARY KEY,
    task_id      TEXT NOT NULL UNIQUE,
    user         TEXT NOT NULL,
    status       TEXT NOT NULL,
    prompt       TEXT NOT NULL,
    duration     INTEGER NOT NULL,
    aspect_ratio TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS video_tasks_of_a_user ON video_tasks (user, status);

-- `lease` is the right to end the analysis, and to make its subject free for the next one.
CREATE TABLE IF NOT EXISTS analyses (
    task_id TEXT PRIMARY KEY,
    status  TEXT NOT NULL,
    lease   TEXT NOT NULL
);
