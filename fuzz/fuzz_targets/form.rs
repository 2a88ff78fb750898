//! See `sluiced::verify::fuzzing::form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::form(data));
