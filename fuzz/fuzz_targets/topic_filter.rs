#![no_main]

#[path = "../../mqtt/tests/corpus/topic_filter.rs"]
mod topic_filter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| topic_filter::run(data));
