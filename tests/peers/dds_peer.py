"""A Cyclone DDS peer that is driven by lines; all its endpoints are reliable.

dds_peer.py pub DOMAIN: writes to the topic Readings. "send A B" writes the numbers from A to B and
answers "sent B"; "sync N" writes N once and answers "synced N".
dds_peer.py sub DOMAIN: reads the topic Commands and prints "got TEXT NUMBER" for each sample.
"""

import sys
import threading
from dataclasses import dataclass

from cyclonedds.core import Policy, Qos, ReadCondition, SampleState, WaitSet
from cyclonedds.core import InstanceState, ViewState
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final, key
from cyclonedds.idl.types import uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

SENSORS = 4
RELIABLE = Qos(
    Policy.Reliability.Reliable(max_blocking_time=duration(seconds=60)),
    Policy.History.KeepAll,
)


@dataclass
@final
class Reading(IdlStruct, typename="Plant.Reading"):
    sensor: str
    key("sensor")
    n: uint32


@dataclass
@final
class Command(IdlStruct, typename="Plant.Command"):
    text: str
    n: uint32


def publish(participant):
    topic = Topic(participant, "Readings", Reading)
    writer = DataWriter(participant, topic, qos=RELIABLE)
    print("ready", flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "send":
            first, last = map(int, numbers)
            for number in range(first, last + 1):
                writer.write(Reading(sensor=f"s{number % SENSORS}", n=number))
            print("sent", last, flush=True)
        elif command == "sync":
            writer.write(Reading(sensor="sync", n=int(numbers[0])))
            print("synced", numbers[0], flush=True)


def subscribe(participant):
    topic = Topic(participant, "Commands", Command)
    reader = DataReader(participant, topic, qos=RELIABLE)

    def receive():
        states = SampleState.Any | ViewState.Any | InstanceState.Any
        waitset = WaitSet(participant)
        waitset.attach(ReadCondition(reader, states))
        while True:
            waitset.wait(duration(seconds=1))
            for sample in reader.take(N=1000):
                if sample.sample_info.valid_data:
                    print("got", sample.text, sample.n, flush=True)

    threading.Thread(target=receive, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


{"pub": publish, "sub": subscribe}[sys.argv[1]](DomainParticipant(int(sys.argv[2])))
