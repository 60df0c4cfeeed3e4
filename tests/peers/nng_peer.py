"""An NNG peer that is driven by lines.

nng_peer.py pub ENDPOINT: listens with a pub0 socket. "send A B" sends the numbers from A to B and
answers "sent B"; "sync N" sends N once and answers "synced N".
nng_peer.py sub ENDPOINT: dials with a sub0 socket and prints "got TOPIC PAYLOAD" for each message.
"""

import sys
import threading

import pynng

SENSORS = 4
# The largest that the library takes. pub0 drops what does not fit.
BUFFER_MESSAGES = 8192


def publish(endpoint):
    socket = pynng.Pub0(listen=endpoint, send_buffer_size=BUFFER_MESSAGES)
    print("ready", flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "send":
            first, last = map(int, numbers)
            for number in range(first, last + 1):
                socket.send(f"s{number % SENSORS}:{number}".encode())
            print("sent", last, flush=True)
        elif command == "sync":
            socket.send(f"sync:{numbers[0]}".encode())
            print("synced", numbers[0], flush=True)
    socket.close()


def subscribe(endpoint):
    socket = pynng.Sub0(topics="", recv_buffer_size=BUFFER_MESSAGES)
    socket.dial(endpoint, block=False)

    def receive():
        while True:
            topic, _, payload = socket.recv().decode().rpartition(":")
            print("got", topic, payload, flush=True)

    threading.Thread(target=receive, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


{"pub": publish, "sub": subscribe}[sys.argv[1]](sys.argv[2])
