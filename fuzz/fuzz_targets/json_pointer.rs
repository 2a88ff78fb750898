//! See `sluiced::verify::fuzzing::json_pointer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::verify::fuzzing::json_pointer(data));
