//! Any store of `idemp`, opened by its URL.
