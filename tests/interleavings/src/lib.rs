//! The searches live in `tests/`.
