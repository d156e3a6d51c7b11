//! Idempotency as a tower layer.
