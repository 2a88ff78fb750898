//! The `sluiced` command.
fn main() {}
