//! Against a double, for the faults that Azurite doesn't have. These need no emulator, and wait a lot.

mod answers;
mod sending;
mod working;
