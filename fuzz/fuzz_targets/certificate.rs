//! See `sluiced::verify::fuzzing::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::certificate(data));
