//! The sluiced daemon. A webhook's life is one function, [`pipeline`]; everything else is a leaf of it.

pub mod bounds;
pub mod catalog;
pub mod delivery;
pub mod log;
pub mod reason;
pub mod units;
pub mod verify;
