"""paho-mqtt as a client that does the commands of its standard input and reports events.

Both are JSON lines; they are described in `harness/client/command.rs`.
"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
# The names of the conversation and of the library.
PROPERTIES = {
    "payload_format_indicator": "PayloadFormatIndicator",
    "message_expiry_interval": "MessageExpiryInterval",
    "topic_alias": "TopicAlias",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "content_type": "ContentType",
    "user_properties": "UserProperty",
    "subscription_identifiers": "SubscriptionIdentifier",
}


def report(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def to_library(packet_type, properties):
    found = Properties(packet_type)
    for name, value in properties.items():
        if name == "correlation_data":
            value = bytes.fromhex(value)
        if name == "user_properties":
            value = [tuple(pair) for pair in value]
        setattr(found, PROPERTIES[name], value)
    return found


def from_library(properties):
    found = {name: getattr(properties, theirs, None) for name, theirs in PROPERTIES.items()}
    if found["correlation_data"] is not None:
        found["correlation_data"] = found["correlation_data"].hex()
    return {name: value for name, value in found.items() if value is not None}


class Peer:
    def connect(self, port, version, client_id, clean, will):
        self.is_5 = version == "5"
        # In version 5 the start is clean or not with connect().
        options = {} if self.is_5 else {"clean_session": clean}
        client = self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=VERSIONS[version],
            reconnect_on_failure=False,
            **options,
        )
        client.on_connect = self.on_connect
        client.on_subscribe = lambda _c, _u, _m, codes, _p: report(
            "subscribed", codes=[code.value for code in codes]
        )
        client.on_unsubscribe = lambda _c, _u, _m, codes, _p: report(
            "unsubscribed", codes=[code.value for code in codes]
        )
        client.on_publish = lambda _c, _u, _m, code, _p: report("published", code=code.value)
        client.on_message = self.on_message
        client.on_disconnect = self.on_disconnect
        if will:
            properties = to_library(PacketTypes.WILLMESSAGE, will["properties"])
            payload = bytes.fromhex(will["payload"])
            client.will_set(
                will["topic"], payload, will["qos"], will["retain"], properties if self.is_5 else None
            )
        options = {}
        if self.is_5:
            options = {"clean_start": clean, "properties": Properties(PacketTypes.CONNECT)}
            options["properties"].SessionExpiryInterval = 0 if clean else 3600
        client.connect("127.0.0.1", port, **options)
        client.loop_start()

    def subscribe(self, subscriptions, identifier):
        if not self.is_5:
            self.client.subscribe([(it["filter"], it["qos"]) for it in subscriptions])
            return
        properties = Properties(PacketTypes.SUBSCRIBE)
        if identifier:
            properties.SubscriptionIdentifier = identifier
        filters = []
        for it in subscriptions:
            options = SubscribeOptions(
                it["qos"], it["no_local"], it["retain_as_published"], it["retain_handling"]
            )
            filters.append((it["filter"], options))
        self.client.subscribe(filters, properties=properties)

    def unsubscribe(self, filter):
        self.client.unsubscribe(filter)

    def publish(self, topic, payload, qos, retain, properties):
        properties = to_library(PacketTypes.PUBLISH, properties) if self.is_5 else None
        self.client.publish(topic, bytes.fromhex(payload), qos, retain, properties)

    def disconnect(self):
        self.client.disconnect()

    def on_connect(self, _client, _userdata, flags, code, properties):
        if code.is_failure:
            report("failed", reason=str(code))
            return
        maximum = getattr(properties, "TopicAliasMaximum", 0)
        report("connected", session_present=flags.session_present, topic_alias_maximum=maximum)

    def on_message(self, _client, _userdata, message):
        report(
            "message",
            topic=message.topic,
            payload=message.payload.hex(),
            qos=message.qos,
            retain=message.retain,
            properties=from_library(message.properties),
        )

    def on_disconnect(self, _client, _userdata, flags, code, _properties):
        has_code = self.is_5 and flags.is_disconnect_packet_from_server
        report("disconnected", code=code.value if has_code else None)


peer = Peer()
for line in sys.stdin:
    command = json.loads(line)
    getattr(peer, command.pop("do"))(**command)
