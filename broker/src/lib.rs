//! The Tidegate daemon.

mod clock;
mod connection;
mod exchange;
mod gateways;
mod link;
mod listener;
mod registry;
mod router;
mod supervisor;
mod timekeeper;
