//! What the benchmarks' programs share. In reading order:
//!
//! * `src/bin/floor/`: the least code that takes a webhook and makes it durable, one way for each backend.
//! * `src/bin/load/`: sends signed webhooks and measures, from outside, what answering them costs.
//! * `src/bin/bench/`: runs daemon and floor in turns and compares; `benches/run` builds and calls it.
//! * [`bounds`]: every limit, with its reason. [`github`]: the signature that all of them know;
//!   [`report`]: what the load found.

pub mod bounds;
pub mod github;
pub mod report;
