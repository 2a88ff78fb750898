//! See `sluiced::verify::fuzzing::encodings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::encodings(data));
