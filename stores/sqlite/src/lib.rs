//! The store of `idemp` that lives in one SQLite file.
