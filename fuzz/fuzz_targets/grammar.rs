//! See `sluiced::verify::fuzzing::grammar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::grammar(data));
