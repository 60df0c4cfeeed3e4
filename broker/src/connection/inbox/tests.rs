//! Packets that come in pieces.

use std::sync::Arc;
use std::task::{Context, Waker};

use mqtt::QoS;
use persistence::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connection::tests::{PLAIN, expect, packet, serve};
use crate::exchange::tests::{attach, exchange, qos, received, subscribe};
use crate::memory::SMALL_BYTES;

/// A PUBLISH to `t` with so many bytes of payload.
fn publish(payload_bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x30];
    let mut length = payload_bytes + 4;
    while length > 0x7f {
        packet.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(b"\0\x01t\0");
    packet.resize(packet.len() + payload_bytes, b'x');
    packet
}

#[tokio::test]
async fn packets_come_in_pieces_of_any_size() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let subscriber = attach(&exchange, "s", true, 0);
    subscribe(&exchange, &subscriber.link, "t", qos(QoS::AtMostOnce));
    let all = [
        publish(3),
        publish(100),
        publish(9_000),
        publish(0),
        publish(20_000),
    ]
    .concat();
    let sizes = [1, 2, 3, 7, 100, 5_000, 9_100, 100_000];
    let memory = Arc::clone(&exchange.memory);
    serve(Arc::clone(&exchange), async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        for size in sizes {
            // One byte at a time takes too long for all.
            let bytes = if size < 100 { &all[..200] } else { &all };
            for piece in bytes.chunks(size) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            if size < 100 {
                stream.write_all(&all[200..]).await.unwrap();
            }
            stream.write_all(b"\xc0\0").await.unwrap();
            expect(&mut stream, b"\xd0\0").await;
            let lengths: Vec<_> = received(&exchange, &subscriber.link)
                .iter()
                .map(|it| it.0.len())
                .collect();
            assert_eq!(lengths, [3, 100, 9_000, 0, 20_000], "{size}");
            assert_eq!(memory.incoming(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_packet_that_does_not_come_to_its_end_makes_way_for_others() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let memory = Arc::clone(&exchange.memory);
    serve(Arc::clone(&exchange), async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        let begun = &publish(20_000)[..SMALL_BYTES];
        stream.write_all(begun).await.unwrap();
        while memory.incoming() == 0 {
            tokio::task::yield_now().await;
        }
        // Nobody needs its room.
        exchange.sweep();
        let Err(mut waiting) = memory.begin(usize::MAX) else {
            panic!("there is room");
        };
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.poll(&mut context).is_pending());
        exchange.sweep();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xe0, 0x97));
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        while waiting.poll(&mut context).is_pending() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let links = exchange.registry.links();
    assert!(links.is_empty(), "the session has ended");
    let link = attach(&exchange, "d", true, 60).link;
    link.note_begun(Some(exchange.now()));
    let again = attach(&exchange, "d", false, 60).link;
    assert!(Arc::ptr_eq(&link, &again) && link.begun_at().is_none());
}
