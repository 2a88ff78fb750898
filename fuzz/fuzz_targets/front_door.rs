//! See `sluiced::fuzzing::front_door`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluiced::fuzzing::front_door(data));
