//! Time to find the filters that match a name, and the names that a filter matches.
//!
//! The routing table of the daemon is measured in its package: `cargo bench -p broker`.

#![expect(clippy::unwrap_used, reason = "the names and filters are valid")]

use divan::Bencher;
use divan::counter::ItemsCount;
use mqtt::{FilterTree, NameTree, TopicFilter, TopicName};

/// Filters or names in the tree.
const SIZES: [usize; 3] = [1_000, 200_000, 1_000_000];
/// Sites among which they are distributed.
const SITES: usize = 100;
/// Lookups for one measurement, all of different topics.
const LOOKUPS: usize = 1_000;

fn main() {
    divan::main();
}

/// The places of the topics that are looked up: far from each other.
fn places(size: usize) -> impl Iterator<Item = usize> {
    (0..LOOKUPS).map(move |index| index * 387_413 % size)
}

/// One in a hundred has `#`, the others have `+` at the end or in between.
fn tree(size: usize) -> FilterTree<usize> {
    let mut tree = FilterTree::default();
    for index in 0..size {
        let site = index % SITES;
        let filter = match index % 100 {
            0 => format!("area/{index}/#"),
            it if it % 2 == 1 => format!("site/{site}/device/{index}/+"),
            _ => format!("site/{site}/+/{index}/state"),
        };
        *tree.get_or_insert_default(&filter) = index;
    }
    tree
}

fn look_up(bencher: Bencher<'_, '_>, size: usize, name: impl Fn(usize) -> String) {
    let tree = tree(size);
    let names: Vec<String> = places(size).map(name).collect();
    bencher.counter(ItemsCount::new(LOOKUPS)).bench(|| {
        let mut sum = 0;
        for name in &names {
            tree.visit_matches(divan::black_box(name), |value| sum += value);
        }
        sum
    });
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn filters_that_match(bencher: Bencher<'_, '_>, size: usize) {
    look_up(bencher, size, |it| {
        let odd = it / 100 * 100 + 1;
        format!("site/{}/device/{odd}/temperature", odd % SITES)
    });
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn filters_that_do_not_match(bencher: Bencher<'_, '_>, size: usize) {
    look_up(bencher, size, |it| {
        format!("site/{}/meter/x{it}/power", it % SITES)
    });
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn filters_come_and_go(bencher: Bencher<'_, '_>, size: usize) {
    let mut tree = tree(size);
    let filters: Vec<String> = places(size)
        .map(|it| format!("site/x{it}/device/+"))
        .collect();
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        for filter in &filters {
            *tree.get_or_insert_default(filter) = 1;
        }
        for filter in &filters {
            tree.remove(filter);
        }
    });
}

/// Names are found one by one, as a long answer is fetched in pieces.
fn search(bencher: Bencher<'_, '_>, size: usize, filter: &str) {
    let mut tree = NameTree::default();
    for index in 0..size {
        let name = format!("site/{}/device/{index}/temperature", index % SITES);
        tree.insert(TopicName::new(&name).unwrap());
    }
    let filter = TopicFilter::new(filter).unwrap();
    let count = tree.matches(&filter, None).count();
    bencher.counter(ItemsCount::new(count)).bench(|| {
        let found = tree.matches(&filter, None);
        found.map(|name| name.as_str().len()).sum::<usize>()
    });
}

#[divan::bench(args = SIZES, sample_count = 5)]
fn all_names(bencher: Bencher<'_, '_>, size: usize) {
    search(bencher, size, "#");
}

#[divan::bench(args = SIZES, sample_count = 5)]
fn names_of_one_site(bencher: Bencher<'_, '_>, size: usize) {
    search(bencher, size, "+/7/#");
}
