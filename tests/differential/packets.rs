//! Well-formed packets of every type, with every property that each may have (table 2-4).

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::value::{Field, Item, Properties, Value};

const CONNECT: &[u8] = &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27];
const WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];
const CONNACK: &[u8] = &[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
    0x2A,
];
const PUBLISH: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
const SUBSCRIBE: &[u8] = &[0x0B, 0x26];
const UNSUBSCRIBE: &[u8] = &[0x26];
const ANSWER: &[u8] = &[0x1F, 0x26];
const DISCONNECT: &[u8] = &[0x11, 0x1C, 0x1F, 0x26];
const AUTH: &[u8] = &[0x15, 0x16, 0x1F, 0x26];

/// Reason Codes by packet type (table 2-6).
const CONNACK_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
const PUBACK_CODES: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBREL_CODES: &[u8] = &[0x00, 0x92];
const SUBACK_CODES: &[u8] = &[
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
];
const UNSUBACK_CODES: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];
const DISCONNECT_CODES: &[u8] = &[
    0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
const AUTH_CODES: &[u8] = &[0x00, 0x18, 0x19];

/// Any packet of 3.1.1 or, with `is_v5`, of 5.0.
pub(crate) fn packets(is_v5: bool) -> BoxedStrategy<Value> {
    let both = prop_oneof![
        connect(is_v5),
        connack(is_v5),
        publish(is_v5),
        ack(is_v5),
        subscribe(is_v5),
        suback(is_v5),
        unsubscribe(is_v5),
        unsuback(is_v5),
        select(&[12, 13][..]).prop_map(|packet_type| Value::new(packet_type, [])),
    ];
    if is_v5 {
        prop_oneof![8 => both, 1 => reason(14, DISCONNECT_CODES, DISCONNECT),
            1 => reason(15, AUTH_CODES, AUTH)]
        .boxed()
    } else {
        prop_oneof![8 => both, 1 => Just(Value::new(14, []))].boxed()
    }
}

fn string() -> BoxedStrategy<String> {
    let short = "\\PC{0,12}";
    let any = vec(any::<char>(), 0..8).prop_map(|it| it.into_iter().collect::<String>());
    let long = (100..300_usize).prop_map(|length| "x".repeat(length));
    prop_oneof![6 => short.prop_map(String::from), 3 => any, 1 => long]
        .prop_map(|text| text.replace('\0', "0"))
        .boxed()
}

fn topic() -> BoxedStrategy<String> {
    let plain = |text: String| text.replace(['+', '#'], "-");
    let topic = string().prop_map(plain);
    topic.prop_filter("a topic", |it| !it.is_empty()).boxed()
}

fn binary() -> BoxedStrategy<Vec<u8>> {
    vec(any::<u8>(), 0..20).boxed()
}

fn packet_id() -> BoxedStrategy<Field> {
    (1..=u16::MAX).prop_map(Field::Two).boxed()
}

fn item(identifier: u8) -> BoxedStrategy<Item> {
    match identifier {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => (0..=1_u8).prop_map(Item::Byte).boxed(),
        0x13 | 0x22 => any::<u16>().prop_map(Item::Two).boxed(),
        0x21 | 0x23 => (1..=u16::MAX).prop_map(Item::Two).boxed(),
        0x02 | 0x11 | 0x18 => any::<u32>().prop_map(Item::Four).boxed(),
        0x27 => (1..=u32::MAX).prop_map(Item::Four).boxed(),
        0x0B => {
            let number = prop_oneof![1..=300_u32, 1..=268_435_455_u32];
            number.prop_map(Item::Number).boxed()
        }
        0x08 => topic().prop_map(Item::Text).boxed(),
        0x09 | 0x16 => binary().prop_map(Item::Binary).boxed(),
        0x26 => {
            let pair = (string(), string());
            pair.prop_map(|(name, value)| Item::Pair(name, value))
                .boxed()
        }
        _ => string().prop_map(Item::Text).boxed(),
    }
}

/// A block with any of these properties in any order; user properties up to three times.
fn properties(identifiers: &'static [u8]) -> BoxedStrategy<Properties> {
    let each = identifiers.iter().map(|&identifier| {
        let times = if identifier == 0x26 { 0..4 } else { 0..2 };
        let item = item(identifier).prop_map(move |item| (identifier, item));
        vec(item, times)
    });
    let each: Vec<_> = each.collect();
    let flat = each.prop_map(|lists| lists.concat());
    let chosen = flat.prop_shuffle().prop_map(Properties);
    prop_oneof![2 => chosen, 1 => Just(Properties::default())].boxed()
}

/// The block as a field, which only version 5 has.
fn block(is_v5: bool, identifiers: &'static [u8]) -> BoxedStrategy<Vec<Field>> {
    if is_v5 {
        properties(identifiers)
            .prop_map(|block| vec![Field::Properties(block)])
            .boxed()
    } else {
        Just(Vec::new()).boxed()
    }
}

fn connect(is_v5: bool) -> BoxedStrategy<Value> {
    let will = (
        0..=2_u8,
        any::<bool>(),
        block(is_v5, WILL),
        topic(),
        binary(),
    );
    let names = (option::of(string()), option::of(binary()));
    let first = (any::<bool>(), any::<u16>(), block(is_v5, CONNECT), string());
    (first, option::of(will), names)
        .prop_map(move |(first, will, (user_name, password))| {
            let (clean_start, keep_alive, block, client_id) = first;
            // 3.1.1 [MQTT-3.1.3-7]
            let clean_start = clean_start || !is_v5 && client_id.is_empty();
            // 3.1.1 [MQTT-3.1.2-22]
            let password = password.filter(|_| is_v5 || user_name.is_some());
            let mut flags = u8::from(clean_start) << 1
                | u8::from(user_name.is_some()) << 7
                | u8::from(password.is_some()) << 6;
            let mut payload = vec![Field::Text(client_id)];
            if let Some((qos, retain, block, topic, message)) = will {
                flags |= 1 << 2 | qos << 3 | u8::from(retain) << 5;
                payload.extend(block);
                payload.extend([Field::Text(topic), Field::Binary(message)]);
            }
            payload.extend(user_name.map(Field::Text));
            payload.extend(password.map(Field::Binary));
            let level = if is_v5 { 5 } else { 4 };
            let name = Field::Text("MQTT".to_owned());
            let fixed = [
                name,
                Field::Byte(level),
                Field::Byte(flags),
                Field::Two(keep_alive),
            ];
            Value::new(1, fixed.into_iter().chain(block).chain(payload))
        })
        .boxed()
}

fn connack(is_v5: bool) -> BoxedStrategy<Value> {
    let codes = if is_v5 {
        CONNACK_CODES
    } else {
        &[0, 1, 2, 3, 4, 5]
    };
    (any::<bool>(), select(codes), block(is_v5, CONNACK))
        .prop_map(|(session_present, code, block)| {
            // [MQTT-3.2.2-6]
            let session_present = u8::from(session_present && code == 0);
            let codes = [session_present, code].map(Field::Byte);
            Value::new(2, codes.into_iter().chain(block))
        })
        .boxed()
}

fn publish(is_v5: bool) -> BoxedStrategy<Value> {
    let flags = (any::<bool>(), 0..=2_u8, any::<bool>());
    (flags, topic(), packet_id(), block(is_v5, PUBLISH), binary())
        .prop_map(|((dup, qos, retain), topic, packet_id, block, payload)| {
            let dup = dup && qos > 0;
            let packet_id = (qos > 0).then_some(packet_id);
            let fields = [Field::Text(topic)].into_iter().chain(packet_id);
            let fields = fields.chain(block).chain([Field::Rest(payload)]);
            Value {
                first: 3 << 4 | u8::from(dup) << 3 | qos << 1 | u8::from(retain),
                fields: fields.collect(),
            }
        })
        .boxed()
}

fn ack(is_v5: bool) -> BoxedStrategy<Value> {
    let of = move |packet_type, codes| {
        let code = select(codes).prop_map(Field::Byte);
        (packet_id(), code, block(is_v5, ANSWER)).prop_map(move |(packet_id, code, block)| {
            let code = is_v5.then_some(code);
            let fields = [packet_id].into_iter().chain(code).chain(block);
            Value::new(packet_type, fields)
        })
    };
    prop_oneof![
        of(4, PUBACK_CODES),
        of(5, PUBACK_CODES),
        of(6, PUBREL_CODES),
        of(7, PUBREL_CODES),
    ]
    .boxed()
}

fn subscribe(is_v5: bool) -> BoxedStrategy<Value> {
    let options = (0..=2_u8, 0..=3_u8, 0..=2_u8).prop_map(move |(qos, flags, handling)| {
        let rest = if is_v5 { flags << 2 | handling << 4 } else { 0 };
        Field::Byte(qos | rest)
    });
    let filter = (string().prop_map(Field::Text), options);
    (packet_id(), block(is_v5, SUBSCRIBE), vec(filter, 1..4))
        .prop_map(|(packet_id, block, filters)| {
            let filters = filters
                .into_iter()
                .flat_map(|(text, options)| [text, options]);
            Value::new(8, [packet_id].into_iter().chain(block).chain(filters))
        })
        .boxed()
}

fn unsubscribe(is_v5: bool) -> BoxedStrategy<Value> {
    let filter = string().prop_map(Field::Text);
    (packet_id(), block(is_v5, UNSUBSCRIBE), vec(filter, 1..4))
        .prop_map(|(packet_id, block, filters)| {
            Value::new(10, [packet_id].into_iter().chain(block).chain(filters))
        })
        .boxed()
}

fn suback(is_v5: bool) -> BoxedStrategy<Value> {
    let codes = if is_v5 {
        SUBACK_CODES
    } else {
        &[0, 1, 2, 0x80]
    };
    let codes = vec(select(codes), 1..4).prop_map(Field::Rest);
    (packet_id(), block(is_v5, ANSWER), codes)
        .prop_map(|(packet_id, block, codes)| {
            Value::new(9, [packet_id].into_iter().chain(block).chain([codes]))
        })
        .boxed()
}

fn unsuback(is_v5: bool) -> BoxedStrategy<Value> {
    let codes = vec(select(UNSUBACK_CODES), 1..4).prop_map(Field::Rest);
    (packet_id(), block(is_v5, ANSWER), codes)
        .prop_map(move |(packet_id, block, codes)| {
            let codes = is_v5.then_some(codes);
            Value::new(11, [packet_id].into_iter().chain(block).chain(codes))
        })
        .boxed()
}

/// DISCONNECT or AUTH of version 5.
fn reason(
    packet_type: u8,
    codes: &'static [u8],
    identifiers: &'static [u8],
) -> BoxedStrategy<Value> {
    let code = select(codes).prop_map(Field::Byte);
    (code, block(true, identifiers))
        .prop_map(move |(code, block)| Value::new(packet_type, [code].into_iter().chain(block)))
        .boxed()
}
