//! The Tidegate daemon: actors, listeners, configuration, command line, demonstration, load
//! generator.
//!
//! `ARCHITECTURE.md` at the root of the repository has the map. In short: everything that comes
//! in, from a connection or a gateway, goes through the exchange, which routes it to links; each
//! link belongs to one session, whose connection or gateway takes its deliveries out.
//!
//! Invariants: packets and deliveries are never actor messages; no lock is held over an await;
//! only listeners and the supervisor start tasks.

mod allocator;
mod bench;
#[doc(hidden)]
pub mod bench_support;
mod cli;
mod config;
mod connection;
mod crashlab;
mod daemon;
mod demand;
mod demo;
mod exchange;
mod extensions;
mod folder;
mod gateways;
mod link;
mod listener;
mod log_limit;
mod memory;
mod metrics;
mod registry;
mod retained;
mod router;
mod settings;
mod share;
mod supervisor;
mod sys_topics;
mod terminal;
mod timekeeper;

pub use cli::{NothingUnacknowledged, run};
