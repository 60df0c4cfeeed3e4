//! What a connection takes in memory when nothing happens on it. It has no buffer and no actor
//! then: its task, its state, its socket's place in the runtime, and the session with its link.

use std::sync::Arc;
use std::time::Duration;

use mqtt::connection::Limits;
use persistence::Store;
use tokio::net::{TcpListener, TcpStream};

use super::passivation::Passive;
use super::{Accepted, Access, accept};
use crate::exchange;
use crate::link::Link;

/// What the runtime adds to a future that it runs, and an `Arc` to what is in it.
const TASK_BYTES: usize = 128;
const ARC_BYTES: usize = 16;

/// The allocator has pieces of 256 and 640 bytes; one byte more takes a larger one.
#[tokio::test]
async fn an_idle_connection_takes_three_small_pieces_of_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let exchange = Arc::new(exchange::tests::exchange(Store::disabled()));
    let access = Arc::new(Access::new(Limits::default(), true, Duration::ZERO, 1, 1));
    let future = accept(stream, Accepted::new(address, access, exchange));
    assert!(
        size_of_val(&future) + TASK_BYTES <= 256,
        "{}",
        size_of_val(&future)
    );
    let passive = Passive::BYTES;
    assert!(passive <= 256, "{passive}");
    let link = size_of::<Link>() + ARC_BYTES;
    assert!(link <= 640, "{link}");
}
