//! Time to decode and to encode a PUBLISH.

use divan::Bencher;
use divan::counter::ItemsCount;
use mqtt::packet::{EncodedRun, Frame, Packet, Property, PublishHeader, encode_publish};
use mqtt::{ProtocolVersion, QoS};

const TOPIC: &str = "site/7/device/1234/temperature";
const PAYLOAD_BYTES: [usize; 3] = [16, 256, 1024];
/// Packets that come in one read.
const PACKETS: usize = 64;

fn main() {
    divan::main();
}

/// Three User Properties and a Response Topic, as a request has them.
fn properties() -> Vec<u8> {
    let mut properties = Vec::new();
    for property in [
        Property::ResponseTopic("site/7/answers"),
        Property::UserProperty("unit", "celsius"),
        Property::UserProperty("source", "line-3"),
        Property::UserProperty("trace", "4bf92f3577b34da6"),
    ] {
        property.encode(&mut properties);
    }
    properties
}

fn header() -> PublishHeader<'static> {
    PublishHeader {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TOPIC,
        packet_id: 1,
    }
}

fn decode(bencher: Bencher<'_, '_>, version: ProtocolVersion, payload_bytes: usize) {
    let payload = vec![b'x'; payload_bytes];
    let mut bytes = Vec::new();
    for _ in 0..PACKETS {
        encode_publish(&mut bytes, version, &header(), &[&properties()], &payload);
    }
    bencher.counter(ItemsCount::new(PACKETS)).bench(|| {
        let mut rest = divan::black_box(&bytes[..]);
        while let Ok(Some((frame, length))) = Frame::split(rest, usize::MAX) {
            divan::black_box(Packet::decode(frame, version).is_ok());
            rest = rest.get(length..).unwrap_or_default();
        }
    });
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn decode_publish_3_1_1(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    decode(bencher, ProtocolVersion::V311, payload_bytes);
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn decode_publish_5_with_properties(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    decode(bencher, ProtocolVersion::V5, payload_bytes);
}

fn encode(bencher: Bencher<'_, '_>, version: ProtocolVersion, payload_bytes: usize) {
    let (properties, payload) = (properties(), vec![b'x'; payload_bytes]);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        out.clear();
        for _ in 0..PACKETS {
            let header = divan::black_box(header());
            encode_publish(&mut out, version, &header, &[&properties], &payload);
        }
        out.len()
    });
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn encode_publish_3_1_1(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    encode(bencher, ProtocolVersion::V311, payload_bytes);
}

#[divan::bench(args = PAYLOAD_BYTES)]
fn encode_publish_5_with_properties(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    encode(bencher, ProtocolVersion::V5, payload_bytes);
}

/// What is encoded once for all receivers that are alike.
#[divan::bench(args = PAYLOAD_BYTES)]
fn encode_run_3_1_1(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let payload = vec![b'x'; payload_bytes];
    let mut run = EncodedRun::default();
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        run.begin(QoS::AtMostOnce);
        for _ in 0..PACKETS {
            let payload = divan::black_box(&payload);
            run.push(ProtocolVersion::V311, TOPIC, &[], &[], payload);
        }
        run.packets().len()
    });
}
