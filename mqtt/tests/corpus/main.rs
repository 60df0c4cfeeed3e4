//! Every input that fuzzing has kept, as a test: the bodies of the fuzz targets in `fuzz` are
//! the modules here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "these are tests, also outside their functions"
)]

mod connection;
mod decoder;
mod topic_filter;

use std::path::Path;

/// Runs a target on each file of its corpus.
#[expect(clippy::disallowed_methods, reason = "a corpus is a folder of files")]
#[expect(
    clippy::print_stdout,
    reason = "the last input named is the one that fails"
)]
fn run_all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = std::fs::read_dir(folder.join(target)).unwrap();
    let mut count = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        run(&input);
        count += 1;
    }
    assert!(count > 3, "only {count} files for {target}");
}

#[test]
fn connection_corpus() {
    run_all("connection", connection::run);
}

#[test]
fn decoder_corpus() {
    run_all("decoder", decoder::run);
}

#[test]
fn topic_filter_corpus() {
    run_all("topic_filter", topic_filter::run);
}
