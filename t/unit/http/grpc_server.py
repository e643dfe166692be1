# SPDX-License-Identifier: Apache-2.0
"""A gRPC server of the library's own authors for t/unit/http/grpc_library_test.c:
grpc_server.py [KEY CHAIN [ROOTS]] listens on a free port of 127.0.0.1, with TLS when it has a key,
asks for client certificates when it has roots, and writes "port N".  Messages are bytes as they
are.  It ends with its standard input."""

import concurrent.futures
import sys
import threading
import time

import grpc

MIB = 1 << 20


def echo(request, context):
    return request


def metadata(request, context):
    pairs = [f"{key}={value}" for key, value in context.invocation_metadata()]
    context.send_initial_metadata((("x-initial", "yes"),))
    context.set_trailing_metadata((("x-trailing", "yes"),))
    return "\n".join(pairs).encode()


def failing(request, context):
    code, _, details = request.decode().partition(" ")
    context.abort(next(c for c in grpc.StatusCode if c.value[0] == int(code)), details)


def raising(request, context):
    raise ValueError("100% wrong: \u4e16")


def slow(request, context):
    time.sleep(float(request.decode()))
    return request


def remaining(request, context):
    return b"%d" % int(context.time_remaining() * 1000)


def large(request, context):
    return bytes(i * 7 % 256 for i in range(256)) * (int(request.decode()) // 256)


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return bytes(10000)


def counting(request, context):
    for i in range(int(request.decode())):
        yield b"%d" % i


def echoing(requests, context):
    for request in requests:
        if request == b"enough":
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "that is enough")
        yield request


def main():
    unary = {"Echo": echo, "Metadata": metadata, "Failing": failing, "Raising": raising,
             "Slow": slow, "Remaining": remaining, "Large": large, "Compressed": compressed}
    handlers = {name: grpc.unary_unary_rpc_method_handler(f) for name, f in unary.items()}
    handlers["Counting"] = grpc.unary_stream_rpc_method_handler(counting)
    handlers["Echoing"] = grpc.stream_stream_rpc_method_handler(echoing)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8),
                         options=[("grpc.max_receive_message_length", 16 * MIB),
                                  ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", handlers),))

    if len(sys.argv) > 1:
        files = [open(name, "rb").read() for name in sys.argv[1:]]
        roots = files[2] if len(files) > 2 else None
        credentials = grpc.ssl_server_credentials([(files[0], files[1])], roots, roots is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")

    server.start()
    print("port", port, flush=True)

    for line in sys.stdin:
        if line == "leave\n":
            # GOAWAY; what runs may end
            threading.Thread(target=lambda: server.stop(20).wait(), daemon=True).start()
            print("leaving", flush=True)

    server.stop(None).wait()


if __name__ == "__main__":
    main()
