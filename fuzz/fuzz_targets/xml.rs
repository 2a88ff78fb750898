//! See `sluiced::verify::fuzzing::xml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::xml(data));
