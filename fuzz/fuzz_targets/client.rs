#![no_main]

#[path = "../../mqtt/tests/corpus/client.rs"]
mod client;

libfuzzer_sys::fuzz_target!(|data: &[u8]| client::run(data));
