//! Every input that fuzzing has kept, as a test: the bodies of the fuzz targets in `fuzz` are
//! the modules here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "these are tests, also outside their functions"
)]

mod client;
mod connection;
mod decoder;
mod topic_filter;

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The inputs of a target, by their files.
#[expect(clippy::disallowed_methods, reason = "a corpus is a folder of files")]
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = std::fs::read_dir(folder.join(target)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let inputs: Vec<_> = paths
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    let count = inputs.len();
    assert!(count > 3, "only {count} files for {target}");
    inputs
}

/// Runs a target on each file of its corpus.
#[expect(
    clippy::print_stdout,
    reason = "the last input named is the one that fails"
)]
fn run_all(target: &str, run: fn(&[u8])) {
    for (path, input) in corpus(target) {
        println!("{}", path.display());
        run(&input);
    }
}

/// Inputs of a target, one behind the other, with a few bytes changed.
fn mutations(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let inputs: Vec<_> = corpus(target).into_iter().map(|(_, it)| it).collect();
    let changes = vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..8);
    let pair = (select(inputs.clone()), select(inputs), changes);
    pair.prop_map(|(first, second, changes)| {
        let mut input = [first, second.get(1..).unwrap_or_default().to_vec()].concat();
        for (place, byte, kind) in changes {
            let place = place.index(input.len());
            match kind {
                0 => input[place] = byte,
                1 => input.insert(place, byte),
                _ if input.len() > 1 => drop(input.remove(place)),
                _ => {}
            }
        }
        input
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_client_survives_any_server(input in mutations("client")) {
        client::run(&input);
    }
}

#[test]
fn client_corpus() {
    run_all("client", client::run);
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
