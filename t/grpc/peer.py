# SPDX-License-Identifier: Apache-2.0
"""gRPC as its own library speaks it, both ends: peer.py server ADDRESS, or peer.py client ADDRESS
AUTHORITY [CALLS].  Messages are bytes as they are.  The client writes TAP."""

import concurrent.futures
import sys
import threading
import time

import grpc

MIB = 1 << 20


def unary(request, context):
    for key, value in context.invocation_metadata():
        if key == "x-ask":
            context.set_trailing_metadata((("x-answer", value),))
    return request


def failing(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: " + request.decode())


def slow(request, context):
    time.sleep(float(request.decode()))
    return request


def counting(request, context):
    for i in range(int(request.decode())):
        yield b"%d" % i


def adding(requests, context):
    return b"%d" % sum(int(request) for request in requests)


def echoing(requests, context):
    for request in requests:
        yield request


def serve(address):
    handler = grpc.method_handlers_generic_handler("test.Peer", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Failing": grpc.unary_unary_rpc_method_handler(failing),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Counting": grpc.unary_stream_rpc_method_handler(counting),
        "Adding": grpc.stream_unary_rpc_method_handler(adding),
        "Echoing": grpc.stream_stream_rpc_method_handler(echoing),
    })
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64),
                         options=[("grpc.max_receive_message_length", 16 * MIB)])
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


class Tap:
    def __init__(self):
        self.number = self.failed = 0

    def ok(self, good, name):
        self.number += 1
        self.failed += not good
        print(f"{'' if good else 'not '}ok {self.number} - {name}", flush=True)

    def end(self):
        print(f"1..{self.number}", flush=True)
        return 1 if self.failed else 0


def code_of(call, *arguments, **options):
    try:
        call(*arguments, **options)
        return grpc.StatusCode.OK, ""
    except grpc.RpcError as error:
        return error.code(), error.details()


def ping_pong(channel, count):
    """Each message is sent when the last has come back; how many did."""
    turn = threading.Semaphore(1)

    def questions():
        for i in range(count):
            turn.acquire()
            yield b"%d" % i

    got = 0
    answers = channel.stream_stream("/test.Peer/Echoing")(questions())
    for answer in answers:
        got += answer == b"%d" % got
        turn.release()
    return got


def check(channel, tap):
    method = {name: channel.unary_unary("/test.Peer/" + name)
              for name in ("Unary", "Failing", "Slow", "Nothing")}

    answer, call = method["Unary"].with_call(b"hello", metadata=(("x-ask", "why"),))
    tap.ok(answer == b"hello", "a unary call")
    tap.ok(dict(call.trailing_metadata()).get("x-answer") == "why", "its trailers")
    tap.ok(method["Unary"](b"") == b"", "an empty message")
    large = bytes(3 * MIB)
    tap.ok(method["Unary"](large) == large, "a message of 3 MiB")

    code, details = code_of(method["Failing"], b"cairn %")
    tap.ok(code == grpc.StatusCode.NOT_FOUND, "a status")
    tap.ok(details == "no such thing: cairn %", "and its message")
    tap.ok(code_of(method["Nothing"], b"")[0] == grpc.StatusCode.UNIMPLEMENTED,
           "a method that is not there")
    tap.ok(code_of(method["Slow"], b"5", timeout=0.3)[0] == grpc.StatusCode.DEADLINE_EXCEEDED,
           "a deadline")

    got = list(channel.unary_stream("/test.Peer/Counting")(b"1000"))
    tap.ok(got == [b"%d" % i for i in range(1000)], "a stream of answers")
    total = channel.stream_unary("/test.Peer/Adding")(b"%d" % i for i in range(1000))
    tap.ok(total == b"499500", "a stream of questions")
    tap.ok(ping_pong(channel, 500) == 500, "a stream both ways, in turn")

    stream = channel.unary_stream("/test.Peer/Counting")(b"1000000")
    next(stream)
    stream.cancel()
    tap.ok(method["Unary"](b"after") == b"after", "a call that is cancelled takes no other along")

    futures = [method["Slow"].future(b"0.2") for _ in range(200)]
    tap.ok(all(future.result(timeout=20) == b"0.2" for future in futures), "200 calls at a time")


def ask_on(channel, calls, tap):
    """So many calls, streams both ways of three messages in turn, on eight threads, beside eight
    streams that live as long as all of them."""
    lock = threading.Lock()
    left = calls
    over = threading.Event()
    counts = {"calls": 0, "broken": 0, "messages": 0, "cut": 0}

    def count(key, by=1):
        with lock:
            counts[key] += by

    def run():
        nonlocal left
        while True:
            with lock:
                if left == 0:
                    return
                left -= 1
            try:
                good = ping_pong(channel, 3) == 3
            except grpc.RpcError as error:
                print(f"# {error.code()} {error.details()}", flush=True)
                good = False
            count("calls")
            count("broken", not good)

    def live():
        turn = threading.Semaphore(1)

        def questions():
            i = 0
            while not over.is_set():
                turn.acquire()
                yield b"%d" % i
                i += 1

        got = 0
        try:
            for answer in channel.stream_stream("/test.Peer/Echoing")(questions()):
                if answer != b"%d" % got:
                    break
                got += 1
                time.sleep(0.01)
                turn.release()
            count("cut", not over.is_set())
        except grpc.RpcError as error:
            print(f"# {error.code()} {error.details()}", flush=True)
            count("cut")
        count("messages", got)

    lives = [threading.Thread(target=live) for _ in range(8)]
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in lives + threads:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    for thread in lives:
        thread.join()
    tap.ok(counts["broken"] == 0, f"{counts['calls']} calls, {counts['broken']} broken")
    tap.ok(counts["calls"] == calls, "all of them were made")
    tap.ok(counts["cut"] == 0, f"8 streams of {counts['messages']} messages, {counts['cut']} cut")


def main():
    if sys.argv[1] == "server":
        serve(sys.argv[2])
        return 0

    tap = Tap()
    options = [("grpc.default_authority", sys.argv[3]), ("grpc.enable_retries", 0),
               ("grpc.max_receive_message_length", 16 * MIB)]
    with grpc.insecure_channel(sys.argv[2], options=options) as channel:
        if len(sys.argv) > 4:
            ask_on(channel, int(sys.argv[4]), tap)
        else:
            check(channel, tap)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
