//! The program: see `lib.rs` for the map.

fn main() {}
