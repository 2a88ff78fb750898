//! See `sluiced::verify::fuzzing::jws`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::jws(data));
