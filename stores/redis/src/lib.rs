//! The store of `idemp` that lives in Redis or Valkey.
