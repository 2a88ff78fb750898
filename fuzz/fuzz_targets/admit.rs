//! See `sluiced::verify::fuzzing::admit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::admit(data));
