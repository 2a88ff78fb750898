//! The store as its users see it: real files, and real processes where it says so.

mod common;

mod appending;
mod leasing;
