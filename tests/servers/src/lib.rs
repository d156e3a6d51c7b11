//! PostgreSQL and Redis for tests: their own, on free loopback ports, in temporary folders.
