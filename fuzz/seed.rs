//! Writes the first inputs of each corpus from the packets in `mqtt/vectors`.

use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Filters and names from the examples of §4.7.
const TOPICS: [&str; 6] = [
    "sport/tennis/player1/#\nsport/tennis/player1\nsport/tennis/player1/score/wimbledon",
    "sport/+\nsport\nsport/\n+/+\n/finance\n/+\n+",
    "#\n$SYS/#\n$SYS/monitor/+\n+/monitor/Clients\n$SYS/monitor/Clients",
    "a/b/c\na/b/#\n#\n+/+\na/+/c\na/b\nab\na-b\na",
    "a#\n##\na/#/b\na+/b\n++\n\0\n\n/\n//\n//#",
    "$share/group/a/+\n$share//a\n$share/group/\n$share/+/a\n$exclusive/a\na/b\na",
];

/// CONNECT of each version, without a client identifier of its own where that is allowed.
const CONNECT: [(&str, &str); 3] = [
    ("3.1", "100f 0006 4d5149736470 03 02 003c 0001 61"),
    ("3.1.1", "100d 0004 4d515454 04 00 003c 0001 61"),
    (
        "5",
        "1019 0004 4d515454 05 00 0000 0b 21 0002 22 0005 27 00000014 0001 61",
    ),
];
/// What happens after CONNECT: deliveries, topic aliases, a SUBACK that is longer than the client
/// accepts, and whole conversations with authentication.
const CONVERSATIONS: [(&str, &str); 6] = [
    ("3.1.1", "3405 0001 74 0001 6202 0001 5002 0001 7002 0001 e000"),
    ("5", "3406 0001 74 0001 00 6202 0001 5002 0001 7002 0001 e000"),
    ("5", "320b 0004 61616161 0001 03 230001 3207 0000 0002 03 230001"),
    (
        "5",
        "824b 0001 00 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100
         0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100 0001 6100",
    ),
    (
        "",
        "1019 0004 4d515454 05 00 0000 0c 15 0004 6563686f 16 0002 3f3f 0000
         f00f 18 0d 15 0004 6563686f 16 0003 796573
         f00f 19 0d 15 0004 6563686f 16 0003 796573 c000 e000",
    ),
    (
        "",
        "1025 0004 4d515454 05 c6 0000 05 27 00000028 0001 61 05 18 00000001 0001 77 0001 6d 0001 75 0001 70
         c000 a205 0001 00 0000 e007 04 05 11 00000001",
    ),
];
/// What a server says to clients of MQTT 5 and 3.1.1: messages of every QoS with their
/// acknowledgements, answers to requests, topic aliases, refusals, terms that allow little.
const SERVERS: [(u8, &str); 8] = [
    (
        0,
        "2003 0000 00 3206 0001 74 0001 00 3406 0001 74 0002 00 6202 0002 d000 4002 0001 5002 0002 7002 0002",
    ),
    (
        0x81,
        "2002 0000 3205 0001 74 0001 3405 0001 74 0002 6202 0002 d000 b002 0002 d000 d000 9005 0003 000102 5002 0002",
    ),
    (
        0,
        "2003 0000 00 3009 0001 74 03 230001 78 3008 0000 03 230001 7878 d000 b006 0002 00 001100
         d000 d000 d000 9006 0003 00 000102 e000",
    ),
    (
        0,
        "2013 0000 10 2400 2500 2700000020 220001 210001 2800 d000 d000 d000 d000 d000 d000 d000 d000",
    ),
    (
        0,
        "2002 0001 2003 0084 00 200b 009d 08 1f000178 1c000173 2003 0000 00 e006 9c 04 1c000173",
    ),
    (
        0xD2,
        "2014 0100 11 1200016e 1300 09 1a000172 2600016100 0162 d000 3206 0001 74 0001 00 3206 0001 74 0002 00",
    ),
    (
        0x21,
        "2002 0100 3405 0001 74 0001 2002 0000 e000 2002 0000 f000 2002 0001",
    ),
    (
        0x10,
        "2003 0000 00 4008 0001 87 04 1f000178 2003 0000 00 f000 2003 0000 00 c000",
    ),
];
/// What accepts a client of this version, which the choice gives the options.
const ACCEPTED: [(u8, &str, &str); 3] = [
    (0, "5", "2003 0000 00"),
    (0x10, "5", "2006 0000 03 210001"),
    (1, "3.1.1", "2002 0000"),
];

fn main() {
    for (index, (choice, packets)) in SERVERS.into_iter().enumerate() {
        let input = [&[choice], bytes(packets).as_slice()].concat();
        write("client", index, &input);
    }
    for (index, (choice, version, connack)) in ACCEPTED.into_iter().enumerate() {
        write("client", 10 + index, &server(choice, version, connack));
    }
    for (index, (version, rest)) in CONVERSATIONS.into_iter().enumerate() {
        let input = [&[0], connect(version).as_slice(), &bytes(rest)].concat();
        write("connection", 90 + index, &input);
    }
    for (index, (version, packet)) in all_vectors().into_iter().enumerate() {
        let input = [&[0], connect(&version).as_slice(), &packet].concat();
        write("connection", index, &input);
    }
    for (index, (version, bytes)) in all_vectors().into_iter().enumerate() {
        let level = match version.as_str() {
            "3.1" => 3,
            "3.1.1" => 4,
            _ => 5,
        };
        let input = [&[level], bytes.as_slice()].concat();
        write("decoder", index, &input);
    }
    for (index, text) in TOPICS.iter().enumerate() {
        write("topic_filter", index, text.as_bytes());
    }
}

fn connect(version: &str) -> Vec<u8> {
    let found = CONNECT.iter().find(|(it, _)| *it == version);
    found.map_or_else(Vec::new, |(_, hex)| bytes(hex))
}

/// Every packet on a connection of its own, for a client.
fn server(choice: u8, version: &str, connack: &str) -> Vec<u8> {
    let mut input = vec![choice];
    for packet in vectors("well_formed.txt") {
        if packet.0 == version {
            // AUTH ends the connection before.
            input.extend(bytes("f000"));
            input.extend(bytes(connack));
            input.extend(packet.1);
        }
    }
    input
}

/// The version and the bytes of each packet.
fn vectors(name: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(ROOT).join("../mqtt/vectors").join(name);
    let text = fs::read_to_string(path).expect("the vectors");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let packets = lines.map(|line| {
        let columns: Vec<&str> = line.split(" | ").collect();
        (columns[0].to_owned(), bytes(columns[2]))
    });
    packets.collect()
}

fn all_vectors() -> Vec<(String, Vec<u8>)> {
    [vectors("well_formed.txt"), vectors("malformed.txt")].concat()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|it| str::from_utf8(it).expect("hex"));
    pairs
        .map(|it| u8::from_str_radix(it, 16).expect("hex"))
        .collect()
}

fn write(target: &str, index: usize, input: &[u8]) {
    let folder = Path::new(ROOT).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("seed-{index:02}")), input).expect("a file");
}
