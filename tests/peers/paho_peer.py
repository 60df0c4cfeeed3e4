"""paho_peer.py PORT VERSION SCENARIO plays one scenario at a broker and fails if it goes wrong."""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

PORT = int(sys.argv[1])
IS_5 = sys.argv[2] == "5"
DEADLINE = 30


class Client:
    """A connected client with queues of what happened to it."""

    def __init__(self, client_id, durable=False, will=None):
        version = mqtt.MQTTv5 if IS_5 else mqtt.MQTTv311
        # In version 5 the start is clean or not with connect().
        clean = {} if IS_5 else {"clean_session": not durable}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False, **clean
        )
        self.connected = queue.Queue()
        self.disconnected = queue.Queue()
        self.granted = queue.Queue()
        self.messages = queue.Queue()
        client = self.client
        client.on_connect = lambda _c, _u, flags, code, _p: self.connected.put((flags, code))
        client.on_disconnect = lambda _c, _u, _f, code, _p: self.disconnected.put(code)
        client.on_subscribe = lambda _c, _u, _m, codes, _p: self.granted.put(codes)
        client.on_unsubscribe = lambda _c, _u, _m, codes, _p: self.granted.put(codes)
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        if will:
            client.will_set(*will, qos=1)
        arguments = {}
        if IS_5:
            arguments["clean_start"] = not durable
            if durable:
                properties = Properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = 3600
                arguments["properties"] = properties
        client.connect("127.0.0.1", PORT, **arguments)
        client.loop_start()
        flags, code = self.connected.get(timeout=DEADLINE)
        assert code == 0, code
        self.session_present = flags.session_present

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        codes = self.granted.get(timeout=DEADLINE)
        assert [code.value for code in codes] == [qos], codes

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        self.granted.get(timeout=DEADLINE)

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(DEADLINE)
        assert info.is_published()

    def receive(self):
        message = self.messages.get(timeout=DEADLINE)
        return message.topic, message.payload.decode(), message.qos, message.retain

    def expect(self, *expected):
        found = self.receive()
        assert found == expected, f"{expected} expected, {found} came"

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Closes the socket without a DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()


def every_qos():
    publisher, subscriber = Client("publisher"), Client("subscriber")
    for granted in range(3):
        subscriber.subscribe(f"q{granted}/#", granted)
        for qos in range(3):
            topic = f"q{granted}/{qos}"
            for number in range(20):
                publisher.publish(topic, str(number), qos)
            for number in range(20):
                subscriber.expect(topic, str(number), min(qos, granted), False)
    large = "x" * 500_000
    publisher.publish("q2/large", large, 2)
    subscriber.expect("q2/large", large, 2, False)
    publisher.publish("q1/empty", "", 1)
    subscriber.expect("q1/empty", "", 1, False)


def retained():
    publisher, early = Client("publisher"), Client("early")
    early.subscribe("r/#", 1)
    publisher.publish("r/a", "old", 1, retain=True)
    publisher.publish("r/a", "new", 1, retain=True)
    # Live messages do not carry the flag.
    early.expect("r/a", "old", 1, False)
    early.expect("r/a", "new", 1, False)
    late = Client("late")
    late.subscribe("r/+", 1)
    late.expect("r/a", "new", 1, True)
    publisher.publish("r/a", "", 1, retain=True)
    late.expect("r/a", "", 1, False)
    last = Client("last")
    last.subscribe("r/#", 1)
    publisher.publish("r/end", "end")
    last.expect("r/end", "end", 1, False)


def will():
    heir = Client("heir")
    heir.subscribe("will/#", 1)
    orderly = Client("orderly", will=("will/orderly", "wrong"))
    orderly.leave()
    lost = Client("lost", will=("will/lost", "right"))
    lost.vanish()
    heir.expect("will/lost", "right", 1, False)
    Client("publisher").publish("will/end", "end")
    heir.expect("will/end", "end", 1, False)


def wildcards():
    publisher = Client("publisher")
    topics = ["a", "a/b", "a/b/c", "b/b", "/a", "a/", "$own/a"]
    table = {
        "#": ["a", "a/b", "a/b/c", "b/b", "/a", "a/"],
        "a/#": ["a", "a/b", "a/b/c", "a/"],
        "+": ["a"],
        "+/b": ["a/b", "b/b"],
        "a/+": ["a/b", "a/"],
        "+/+": ["a/b", "b/b", "/a", "a/"],
        "/+": ["/a"],
        "a/+/c": ["a/b/c"],
        "$own/#": ["$own/a"],
        "+/a/#": ["/a"],
    }
    for number, (topic_filter, expected) in enumerate(table.items()):
        subscriber = Client(f"subscriber{number}")
        subscriber.subscribe(topic_filter, 1)
        end = f"end{number}"
        subscriber.subscribe(end + "/only/this", 1)
        for topic in topics:
            publisher.publish(topic, "x")
        publisher.publish(end + "/only/this", "x")
        found = []
        while not found or not found[-1].startswith(end):
            found.append(subscriber.receive()[0])
        assert found[:-1] == expected, f"{topic_filter}: {found}"
        subscriber.leave()


def durable_session():
    publisher = Client("publisher")
    first = Client("durable", durable=True)
    assert not first.session_present
    first.subscribe("d/#", 2)
    first.leave()
    for number in range(50):
        publisher.publish("d/a", str(number), 1 + number % 2)
    second = Client("durable", durable=True)
    assert second.session_present
    found = [second.receive() for _ in range(50)]
    # paho holds messages of QoS 2 back until they are released, so the order is that of each QoS.
    for qos in (1, 2):
        expected = [("d/a", str(number), qos, False) for number in range(qos - 1, 50, 2)]
        assert [message for message in found if message[2] == qos] == expected, found
    second.leave()
    clean = Client("durable")
    assert not clean.session_present
    clean.leave()
    publisher.publish("d/a", "nobody waits for this")
    third = Client("durable", durable=True)
    assert not third.session_present
    third.subscribe("d/end", 1)
    publisher.publish("d/end", "end")
    third.expect("d/end", "end", 1, False)


def takeover():
    publisher = Client("publisher")
    first = Client("same", durable=True)
    first.subscribe("t/#", 1)
    publisher.publish("t/a", "1")
    first.expect("t/a", "1", 1, False)
    second = Client("same", durable=True)
    assert second.session_present
    code = first.disconnected.get(timeout=DEADLINE)
    if IS_5:
        assert code == ReasonCode(PacketTypes.DISCONNECT, identifier=0x8E), code
    publisher.publish("t/a", "2")
    second.expect("t/a", "2", 1, False)
    assert first.messages.empty()


def unsubscribe():
    publisher, subscriber = Client("publisher"), Client("subscriber")
    subscriber.subscribe("u/a", 1)
    subscriber.subscribe("u/b", 1)
    publisher.publish("u/a", "1")
    subscriber.expect("u/a", "1", 1, False)
    subscriber.unsubscribe("u/a")
    publisher.publish("u/a", "2")
    publisher.publish("u/b", "3")
    subscriber.expect("u/b", "3", 1, False)


def properties():
    publisher, subscriber = Client("publisher"), Client("subscriber")
    subscriber.subscribe("p/#", 1)
    sent = Properties(PacketTypes.PUBLISH)
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answers/1"
    sent.CorrelationData = b"\x00\x01"
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 600
    sent.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    publisher.publish("p/a", "x", properties=sent)
    found = subscriber.messages.get(timeout=DEADLINE).properties
    assert found.ContentType == "text/plain"
    assert found.ResponseTopic == "answers/1"
    assert found.CorrelationData == b"\x00\x01"
    assert found.PayloadFormatIndicator == 1
    assert 590 <= found.MessageExpiryInterval <= 600
    assert found.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")]


SCENARIOS = [every_qos, retained, will, wildcards, durable_session, takeover, unsubscribe, properties]
{scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[3]]()
