//! The contributor's index.
fn main() {}
