"""A ZeroMQ peer that is driven by lines.

zmq_peer.py pub ENDPOINT: binds a PUB socket. "send A B" sends the numbers from A to B and answers
"sent B"; "sync N" sends N once and answers "synced N".
zmq_peer.py sub ENDPOINT: connects a SUB socket and prints "got TOPIC PAYLOAD" for each message.
"""

import sys
import threading

import zmq

SENSORS = 4


def publish(endpoint):
    socket = zmq.Context.instance().socket(zmq.PUB)
    # Nothing is lost on this side, however slow the other one is.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.bind(endpoint)
    print("ready", flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "send":
            first, last = map(int, numbers)
            for number in range(first, last + 1):
                frame = f"s{number % SENSORS}"
                socket.send_multipart([frame.encode(), str(number).encode()])
            print("sent", last, flush=True)
        elif command == "sync":
            socket.send_multipart([b"sync", numbers[0].encode()])
            print("synced", numbers[0], flush=True)
    socket.close(linger=0)


def subscribe(endpoint):
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(endpoint)

    def receive():
        while True:
            topic, payload = socket.recv_multipart()
            print("got", topic.decode(), payload.decode(), flush=True)

    threading.Thread(target=receive, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


{"pub": publish, "sub": subscribe}[sys.argv[1]](sys.argv[2])
