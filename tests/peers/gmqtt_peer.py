"""gmqtt as a client that does the commands of its standard input and reports events.

Both are JSON lines; they are described in `harness/client/command.rs`.
"""

import asyncio
import json
import logging
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.storage import PersistentStorage

VERSIONS = {"3.1.1": MQTTv311, "5": MQTTv50}
# The names of the conversation and of the library, which makes lists of what it receives.
PROPERTIES = {
    "payload_format_indicator": "payload_format_id",
    "message_expiry_interval": "message_expiry_interval",
    "topic_alias": "topic_alias",
    "response_topic": "response_topic",
    "correlation_data": "correlation_data",
    "content_type": "content_type",
    "user_properties": "user_property",
    "subscription_identifiers": "subscription_identifier",
}
LISTS = ("user_properties", "subscription_identifiers")
# -1 is for ever, and 0 is once.
NO_RECONNECT = {"reconnect_retries": -2}


def report(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def to_library(properties):
    found = {PROPERTIES[name]: value for name, value in properties.items()}
    if "correlation_data" in found:
        found["correlation_data"] = bytes.fromhex(found["correlation_data"])
    return found


def from_library(properties):
    found = {}
    for name, theirs in PROPERTIES.items():
        # An alias is applied by the library.
        if theirs in properties and name != "topic_alias":
            values = properties[theirs]
            found[name] = values if name in LISTS else values[0]
    if "correlation_data" in found:
        found["correlation_data"] = found["correlation_data"].hex()
    return found


class Unacknowledged(PersistentStorage):
    """Where the library keeps messages until their PUBACK or PUBCOMP, which it does not show."""

    def remove_message_by_mid(self, mid):
        super().remove_message_by_mid(mid)
        report("published", code=None)


class Peer:
    async def connect(self, port, version, client_id, clean, will):
        properties = {"topic_alias_maximum": 10}
        if not clean:
            properties["session_expiry_interval"] = 3600
        if will:
            will = gmqtt.Message(
                will["topic"],
                bytes.fromhex(will["payload"]),
                will["qos"],
                will["retain"],
                **to_library(will["properties"]),
            )
        self.is_connected = False
        client = self.client = gmqtt.Client(
            client_id,
            clean_session=clean,
            will_message=will,
            persistent_storage=Unacknowledged(),
            **properties,
        )
        client.set_config(NO_RECONNECT)
        client.on_connect = self.on_connect
        client.on_subscribe = lambda _c, _m, codes, _p: report("subscribed", codes=codes)
        client.on_unsubscribe = lambda _c, _m, codes: report("unsubscribed", codes=codes)
        client.on_message = self.on_message
        client.on_disconnect = self.on_disconnect
        await client.connect("127.0.0.1", port, version=VERSIONS[version])

    async def subscribe(self, subscriptions, identifier):
        subscriptions = [
            gmqtt.Subscription(
                it["filter"],
                it["qos"],
                it["no_local"],
                it["retain_as_published"],
                it["retain_handling"],
                identifier,
            )
            for it in subscriptions
        ]
        self.client.subscribe(subscriptions)

    async def unsubscribe(self, filter):
        # The library counts the characters of a text, not its bytes.
        self.client.unsubscribe([filter.encode()])

    async def publish(self, topic, payload, qos, retain, properties):
        payload = bytes.fromhex(payload)
        self.client.publish(topic, payload, qos, retain, **to_library(properties))
        if qos == 0:
            report("published", code=None)

    async def disconnect(self):
        await self.client.disconnect()

    def on_connect(self, client, session_present, _code, properties):
        self.is_connected = True
        # Its own properties hide those of the server that have the same name.
        (maximum,) = client._package_handler._connack_properties.get("topic_alias_maximum", [0])
        report("connected", session_present=bool(session_present), topic_alias_maximum=maximum)

    def on_message(self, _client, topic, payload, qos, properties):
        report(
            "message",
            topic=topic,
            payload=payload.hex(),
            qos=qos,
            retain=bool(properties["retain"]),
            properties=from_library(properties),
        )

    def on_disconnect(self, _client, packet, _error=None):
        # The end of the connection comes as an empty packet, also behind a DISCONNECT.
        if self.is_connected:
            self.is_connected = False
            report("disconnected", code=packet[0] if packet else None)


async def main():
    # It complains of every end of a connection.
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    peer = Peer()
    read = asyncio.get_running_loop().run_in_executor
    while line := await read(None, sys.stdin.readline):
        command = json.loads(line)
        await getattr(peer, command.pop("do"))(**command)


asyncio.run(main())
