//! See `sluiced::verify::fuzzing::aes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::aes(data));
