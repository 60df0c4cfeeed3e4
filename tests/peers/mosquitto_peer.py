"""libmosquitto as a client that does the commands of its standard input and reports events.

It is what mosquitto_pub and mosquitto_sub are made of. Commands and events are JSON lines; they
are described in `harness/client/command.rs`.
"""

import json
import sys
import threading
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_ubyte,
    c_uint16,
    c_uint32,
    c_void_p,
    string_at,
)

VERSIONS = {"3.1": 3, "3.1.1": 4, "5": 5}
PROTOCOL_VERSION_OPTION = 1
NO_CONNECTION = 4
CONNECTION_LOST = 7
SESSION_EXPIRY_INTERVAL = 17
TOPIC_ALIAS_MAXIMUM = 34
# Name, identifier and type.
PROPERTIES = [
    ("payload_format_indicator", 1, "byte"),
    ("message_expiry_interval", 2, "int32"),
    ("content_type", 3, "string"),
    ("response_topic", 8, "string"),
    ("correlation_data", 9, "binary"),
    ("subscription_identifiers", 11, "varint"),
    ("topic_alias", 35, "int16"),
    ("user_properties", 38, "string_pair"),
]
INTEGERS = {"byte": c_ubyte, "int16": c_uint16, "int32": c_uint32, "varint": c_uint32}


class Message(Structure):
    _fields_ = [
        ("mid", c_int),
        ("topic", c_char_p),
        ("payload", c_void_p),
        ("payload_bytes", c_int),
        ("qos", c_int),
        ("retain", c_bool),
    ]


library = CDLL("libmosquitto.so.1")
library.mosquitto_new.restype = c_void_p
for kind in (*INTEGERS, "string", "binary", "string_pair"):
    getattr(library, f"mosquitto_property_read_{kind}").restype = c_void_p
library.mosquitto_lib_init()


def report(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def check(code):
    """What the library refuses to do is no event of the connection."""
    if code != 0:
        report("failed", reason=f"the library says {code}")


def add(properties, identifier, kind, value):
    function = getattr(library, f"mosquitto_property_add_{kind}")
    if kind in INTEGERS:
        values = [INTEGERS[kind](value)]
    elif kind == "binary":
        values = [bytes.fromhex(value), len(value) // 2]
    elif kind == "string":
        values = [value.encode()]
    else:
        values = [it.encode() for it in value]
    check(function(byref(properties), identifier, *values))


def to_library(properties):
    found = c_void_p()
    for name, identifier, kind in PROPERTIES:
        if name in properties:
            values = properties[name] if name == "user_properties" else [properties[name]]
            for value in values:
                add(found, identifier, kind, value)
    return found


def read(properties, identifier, kind):
    """All values of a property."""
    function = getattr(library, f"mosquitto_property_read_{kind}")
    values = []
    at, skip = c_void_p(properties), False
    while True:
        if kind in INTEGERS:
            out = [INTEGERS[kind]()]
        elif kind == "binary":
            out = [c_void_p(), c_uint16()]
        else:
            out = [c_char_p() for _ in kind.split("_")]
        at = c_void_p(function(at, identifier, *map(byref, out), skip))
        if not at:
            return values
        skip = True
        if kind in INTEGERS:
            values.append(out[0].value)
        elif kind == "binary":
            values.append(string_at(out[0], out[1].value).hex())
        elif kind == "string":
            values.append(out[0].value.decode())
        else:
            values.append([it.value.decode() for it in out])


def from_library(properties):
    found = {}
    for name, identifier, kind in PROPERTIES:
        values = read(properties, identifier, kind)
        if values:
            found[name] = values if name.endswith("s") else values[0]
    return found


@CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int, c_void_p)
def on_connect(_client, _userdata, code, flags, properties):
    if code:
        report("failed", reason=f"refused with {code}")
        return
    (maximum,) = read(properties, TOPIC_ALIAS_MAXIMUM, "int16") or [0]
    report("connected", session_present=bool(flags & 1), topic_alias_maximum=maximum)


@CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int, POINTER(c_int), c_void_p)
def on_subscribe(_client, _userdata, _mid, count, codes, _properties):
    report("subscribed", codes=codes[:count])


@CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_void_p)
def on_unsubscribe(_client, _userdata, _mid, _properties):
    report("unsubscribed", codes=[])


@CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int, c_void_p)
def on_publish(_client, _userdata, _mid, code, _properties):
    report("published", code=code)


@CFUNCTYPE(None, c_void_p, c_void_p, POINTER(Message), c_void_p)
def on_message(_client, _userdata, message, properties):
    message = message.contents
    report(
        "message",
        topic=message.topic.decode(),
        payload=string_at(message.payload, message.payload_bytes).hex(),
        qos=message.qos,
        retain=message.retain,
        properties=from_library(properties),
    )


@CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_void_p)
def on_disconnect(_client, _userdata, code, _properties):
    # Below 0x80 it is an error of the library, or none.
    report("disconnected", code=code if code >= 0x80 else None)


class Peer:
    def connect(self, port, version, client_id, clean, will):
        client = self.client = c_void_p(library.mosquitto_new(client_id.encode(), clean, None))
        library.mosquitto_int_option(client, PROTOCOL_VERSION_OPTION, VERSIONS[version])
        library.mosquitto_threaded_set(client, True)
        for name in ("connect", "subscribe", "unsubscribe", "publish", "message", "disconnect"):
            set_callback = getattr(library, f"mosquitto_{name}_v5_callback_set")
            set_callback(client, globals()[f"on_{name}"])
        if will:
            payload = bytes.fromhex(will["payload"])
            topic, properties = will["topic"].encode(), to_library(will["properties"])
            check(
                library.mosquitto_will_set_v5(
                    client, topic, len(payload), payload, will["qos"], will["retain"], properties
                )
            )
        properties = c_void_p()
        if version == "5" and not clean:
            add(properties, SESSION_EXPIRY_INTERVAL, "int32", 3600)
        check(library.mosquitto_connect_bind_v5(client, b"127.0.0.1", port, 60, None, properties))

        def loop():
            code = 0
            while code == 0:
                code = library.mosquitto_loop(client, 1000, 1)
            # The end of a connection is an event of its own; that of the library's patience is not.
            if code not in (NO_CONNECTION, CONNECTION_LOST):
                check(code)

        threading.Thread(target=loop, daemon=True).start()

    def subscribe(self, subscriptions, identifier):
        # The library has the same options for all.
        first = subscriptions[0]
        options = (
            first["no_local"] << 2 | first["retain_as_published"] << 3 | first["retain_handling"] << 4
        )
        filters = (c_char_p * len(subscriptions))(*(it["filter"].encode() for it in subscriptions))
        properties = to_library({"subscription_identifiers": identifier} if identifier else {})
        check(
            library.mosquitto_subscribe_multiple(
                self.client, None, len(filters), filters, first["qos"], options, properties
            )
        )

    def unsubscribe(self, filter):
        check(library.mosquitto_unsubscribe(self.client, None, filter.encode()))

    def publish(self, topic, payload, qos, retain, properties):
        payload, properties = bytes.fromhex(payload), to_library(properties)
        topic = topic.encode() or None
        check(
            library.mosquitto_publish_v5(
                self.client, None, topic, len(payload), payload, qos, retain, properties
            )
        )

    def disconnect(self):
        check(library.mosquitto_disconnect_v5(self.client, 0, None))


peer = Peer()
for line in sys.stdin:
    command = json.loads(line)
    getattr(peer, command.pop("do"))(**command)
