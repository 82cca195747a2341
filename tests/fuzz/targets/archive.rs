#![no_main]
//! See `readers.rs`.

#[path = "../readers.rs"]
#[expect(dead_code, reason = "each target uses one of them")]
mod readers;

// The reader catches what the Parquet library panics on; the fuzzer's own hook would not let it. A
// panic that nobody catches still ends the run.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| {
    readers::archive(bytes);
});
