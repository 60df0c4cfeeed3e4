//! The protocol, chapter by chapter, over real sockets and byte by byte.

mod connect;
mod publish;
mod subscribe;
mod subscription_identifier;
mod subscription_options;
mod topics;
mod unsubscribe;
