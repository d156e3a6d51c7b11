//! The store of `idemp` that lives in a table of PostgreSQL.
