#![no_main]
//! See `readers.rs`.

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::archive(bytes);
});
