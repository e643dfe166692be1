# SPDX-License-Identifier: Apache-2.0
"""The peers: each is configured for a level, started, asked until it answers, and ended."""

import os
import shutil
import signal
import time
import urllib.error
import urllib.request

from . import RigError, cairn_config, envoy_config, nginx_config, places, processes

START_SECONDS = 60
ANSWER_SECONDS = 5


class Proxy:
    """A proxy under test.  A subclass sets name, port and, in launch(), process."""

    name = ""
    fronts = ("tcp", "hbone")
    stop_signal = signal.SIGTERM

    def __init__(self, level, pod, workers, cpu, services):
        self.level = level
        self.pod = pod
        self.workers = workers
        self.cpu = cpu
        self.services = services
        self.port = places.free_port()
        self.process = None
        self.log = places.run_file(f"{self.name}-{level.name}.log")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def launch(self, command):
        with open(self.log, "wb") as log:
            self.process = processes.start(command, cpu=self.cpu, stdout=log, stderr=log)

    def start(self):
        raise NotImplementedError

    def is_ready(self):
        """Whether it says itself that it is; those that do not say are asked by requests."""
        return True

    def fail(self, what):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-15:])
        raise RigError(f"{self.name}: {what}; its log ({self.log}) ends:\n{tail}")

    def wait(self, answers):
        """Returns when the proxy is ready and answers() says that a request came through."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.fail(f"ended with status {self.process.returncode}")
            if self.is_ready() and answers(self):
                return
            time.sleep(0.05)
        self.fail(f"did not answer within {START_SECONDS} s")

    def pids(self):
        """Every process of the proxy."""
        return processes.tree(self.process.pid)

    def counted(self):
        """The processes whose CPU time is the figure: those that carry requests."""
        return self.pids()

    def lost_lines(self):
        """Lines of the access log that were not written since the start."""
        return 0

    def stop(self):
        if self.process is not None:
            processes.end(self.process, self.stop_signal)
            self.process = None


class Envoy(Proxy):
    name = "envoy"
    binary = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.admin = places.free_port()

    def start(self):
        addresses = envoy_config.Addresses(self.port, self.admin, self.pod)
        if self.level.front == "tcp":
            config = envoy_config.plain(addresses)
        else:
            config = envoy_config.waypoint(addresses, self.services, self.level.http2,
                                           self.level.log)
        path = places.run_file(f"envoy-{self.level.name}.json")
        envoy_config.write(path, config)
        self.launch([self.binary, "-c", path, "--concurrency", str(self.workers), "-l", "error",
                     "--use-dynamic-base-id"])


class Nginx(Proxy):
    name = "nginx"
    fronts = ("tcp",)
    binary = None

    def start(self):
        path = places.run_file("nginx.conf")
        nginx_config.write(path, self.port, self.pod, self.workers)
        self.launch([self.binary, "-e", self.log, "-c", path])

    def counted(self):
        return [pid for pid in self.pids() if "worker process" in processes.title(pid)]


class Cairn(Proxy):
    name = "cairn"
    binary = None
    stop_signal = signal.SIGINT     # TERM would drain

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.status = places.free_port()
        self.metrics = places.free_port()

    def start(self):
        folder = places.run_file(f"cairn-{self.level.name}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

        plain = self.level.front == "tcp"
        addresses = cairn_config.Addresses(
            hbone=places.free_port() if plain else self.port,
            plaintext=self.port if plain else None,
            admin=places.free_port(), status=self.status, metrics=self.metrics,
            pod=self.pod)
        resources = (cairn_config.plain(self.pod) if plain
                     else cairn_config.waypoint(self.pod, self.services, self.level.http2))
        path = cairn_config.write(folder, addresses, resources, self.workers, self.level.log)
        self.launch([self.binary, "-c", path, "-p", folder])

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status}/healthz/ready",
                                        timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def counted(self):
        workers = [pid for pid in self.pids()
                   if processes.title(pid).startswith("cairn: worker ")]
        if len(workers) != self.workers:
            self.fail(f"{len(workers)} workers instead of {self.workers}")
        # the master writes the log out: with one, its time is the requests' too
        return self.pids() if self.level.log else workers

    def lost_lines(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/stats/prometheus",
                                    timeout=ANSWER_SECONDS) as answer:
            return sum(float(line.split()[-1]) for line in answer.read().decode().splitlines()
                       if line.startswith("cairn_log_lines_dropped_total"))


class Relay(Proxy):
    """TLS in, TLS out, no HTTP: a floor to compare with."""

    name = "relay"

    def start(self):
        relay = places.tool("tlsrelay")
        if self.level.front == "tcp":
            self.launch([relay, "--plain", self.address, f"{self.pod}:{places.APP_PORT}"])
        else:
            self.launch([relay, self.address, f"{self.pod}:{places.HBONE_PORT}",
                         places.certificate("root"), places.certificate("waypoint"),
                         places.key("waypoint")])


PEERS = {peer.name: peer for peer in (Envoy, Cairn, Nginx, Relay)}
