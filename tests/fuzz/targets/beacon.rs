#![no_main]
//! See `readers.rs`.

#[path = "../readers.rs"]
#[expect(dead_code, reason = "each target uses one of them")]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::beacon(bytes);
});
