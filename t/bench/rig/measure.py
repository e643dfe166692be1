# SPDX-License-Identifier: Apache-2.0
"""Measuring: the upstream, single runs of the load generator, alternating pairs, and memory."""

import json
import subprocess
import time

from . import RigError, levels, places, processes, proxies

# the second CPU is the proxy's alone; the first carries the load and the upstream
LOAD_CPU = 0
PROXY_CPU = 1

ANSWER_SECONDS = 5
SETUP_SECONDS = 90          # beside the measured time: connections, warm-up, the end
IDLE_SECONDS = 1.0
TUNNELS_A_CONNECTION = 50
IDLE_CONNECTIONS = 1000


class Rig:
    """One upstream and the settings of the run; proxies come and go with the levels."""

    def __init__(self, settings):
        self.settings = settings
        self.pod = places.free_loopback()
        self.upstream = None

    def cpu(self, wanted, workers):
        """One worker: everything has its CPU.  Several: the scheduler decides."""
        return wanted if self.settings.pinned and workers == 1 else None

    def start_upstream(self):
        with open(places.run_file("upstream.log"), "wb") as log:
            self.upstream = processes.start(
                [places.tool("hboneserver"),
                 "--hbone", f"{self.pod}:{places.HBONE_PORT}",
                 "--plain", f"{self.pod}:{places.APP_PORT}",
                 "--ca", places.certificate("root"), "--cert", places.certificate("app"),
                 "--key", places.key("app"), "--name", "app-1"],
                cpu=self.cpu(LOAD_CPU, self.settings.workers), stderr=log)
        time.sleep(0.2)
        if self.upstream.poll() is not None:
            raise RigError("the upstream does not start: see objs/bench/run/upstream.log")

    def client(self, level):
        """What every run of the load generator at a level is given."""
        if level.front == "tcp":
            return list(levels.REQUEST_HEADERS)
        return (["--ca", places.certificate("root"), "--cert", places.certificate("client"),
                 "--key", places.key("client")]
                + levels.authorities(self.settings.services, self.settings.spread)
                + levels.CONNECT_HEADERS + levels.REQUEST_HEADERS)

    def start_load(self, proxy, arguments):
        command = [places.tool("hboneload")] + self.client(proxy.level) + arguments
        return processes.start(command + [proxy.address], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE,
                               cpu=self.cpu(LOAD_CPU, self.settings.workers))

    def finish_load(self, load, seconds):
        """The load generator's JSON; a failure to set up is an error, failed requests are not."""
        try:
            out, errors = load.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RigError("the load generator does not end") from None
        finally:
            processes.end(load)
        if not out:
            raise RigError("load generator: " + errors.decode(errors="replace").strip())
        return json.loads(out)

    def answers(self, proxy):
        """One request comes through.  It also warms the upstream's pool."""
        kind = ["-P", "tcp"] if proxy.level.front == "tcp" else []
        load = self.start_load(proxy, kind + ["-m", "h1", "-n", "1", "-w", "0"])
        try:
            return self.finish_load(load, ANSWER_SECONDS)["ok"] == 1
        except RigError:
            return False

    def start_proxy(self, peer, level, workers):
        proxy = proxies.PEERS[peer](level, self.pod, workers, self.cpu(PROXY_CPU, workers),
                                    self.settings.services)
        try:
            proxy.start()
            proxy.wait(self.answers)
        except BaseException:
            proxy.stop()
            raise
        return proxy

    def load_arguments(self, level, seconds):
        arguments = level.load + ["-d", str(seconds), "-w", str(self.settings.warm)]
        rate = self.settings.rate or level.rate
        return arguments + (["-r", str(rate)] if rate else [])

    def run(self, proxy):
        """One measured window."""
        counted = proxy.counted()
        others = [pid for pid in proxy.pids() if pid not in counted]
        arguments = ["--cpu", ",".join(map(str, counted))]
        if others:
            arguments += ["--others", ",".join(map(str, others))]

        lost = proxy.lost_lines() if proxy.level.log else 0
        seconds = self.settings.seconds
        load = self.start_load(proxy, arguments + self.load_arguments(proxy.level, seconds))
        result = self.finish_load(load, seconds + self.settings.warm + SETUP_SECONDS)

        if proxy.process.poll() is not None or sorted(proxy.counted()) != sorted(counted):
            proxy.fail("a process ended under load")
        if result["ok"] == 0:
            proxy.fail("answered no request of the run: " + json.dumps(result["errors"]))
        result["lost_lines"] = proxy.lost_lines() - lost if proxy.level.log else 0
        pids = proxy.pids()
        result["all_rss_kb"] = processes.rss_kb(pids)
        result["all_pss_kb"] = processes.pss_kb(pids)
        result["upstream_conns"] = (
            processes.connections_to(pids, self.pod, places.HBONE_PORT)
            + processes.connections_to(pids, self.pod, places.APP_PORT))
        return result

    def profile(self, proxy, path):
        """One more run, not counted, under perf; returns the file's path, or None."""
        perf = places.find_perf()
        seconds = self.settings.seconds
        load = self.start_load(proxy, self.load_arguments(proxy.level, seconds))
        time.sleep(self.settings.warm)
        record = processes.start(
            [perf, "record", "-q", "-e", "cpu-clock", "-F", "2999", "-g", "-o", path,
             "-p", ",".join(map(str, proxy.counted())), "--", "sleep", str(seconds)],
            stderr=subprocess.PIPE)
        errors = b""
        try:
            errors = record.communicate(timeout=seconds + SETUP_SECONDS)[1]
        except subprocess.TimeoutExpired:
            errors = b"it does not end"
        finally:
            processes.end(record)
        self.finish_load(load, seconds + SETUP_SECONDS)
        if record.returncode != 0:
            print("perf failed: " + errors.decode(errors="replace").strip())
            return None
        return path

    def pairs(self, level, peers, note):
        """Runs the peers in turn, each time in the other order, so that what else the machine
        does falls on all of them.  Returns {peer: [result, ...]}."""
        running = []
        results = {peer: [] for peer in peers}
        try:
            for peer in peers:
                running.append(self.start_proxy(peer, level, self.settings.workers))
            for turn in range(self.settings.reps):
                for proxy in running if turn % 2 == 0 else reversed(running):
                    result = self.run(proxy)
                    results[proxy.name].append(result)
                    note(level, proxy.name, turn, result)
            if self.settings.perf:
                for proxy in running:
                    path = self.profile(proxy, f"{self.settings.perf}-{level.name}-{proxy.name}")
                    if path:
                        print(f"profile of {proxy.name}: perf report -i {path}")
        finally:
            for proxy in running:
                proxy.stop()
        return results

    def _weigh(self, proxy):
        time.sleep(IDLE_SECONDS)
        pids = proxy.pids()
        return {"rss_kb": processes.rss_kb(pids), "pss_kb": processes.pss_kb(pids)}

    def _held(self, peer, level, conns, tunnels):
        """What a fresh proxy grows by while it holds idle tunnels, each used once before."""
        proxy = self.start_proxy(peer, level, 1)
        try:
            base = self._weigh(proxy)
            load = self.start_load(proxy, ["-m", "h1", "-c", str(conns), "-t", str(tunnels),
                                           "--hold", str(SETUP_SECONDS)])
            try:
                line = load.stdout.readline()
                if not line:
                    raise RigError("load generator: "
                                   + load.stderr.read().decode(errors="replace").strip())
                held = json.loads(line)
                count = conns * tunnels
                if held["held_tunnels"] != count or held["primed"] != count:
                    raise RigError(f"{peer} holds {held['held_tunnels']} of {count} tunnels, "
                                   f"{held['primed']} of which were answered")
                full = self._weigh(proxy)
            finally:
                processes.end(load)
        finally:
            proxy.stop()
        return {"conns": conns, "tunnels": count, "base": base, "full": full,
                "rss_kb_each": (full["rss_kb"] - base["rss_kb"]) / count,
                "pss_kb_each": (full["pss_kb"] - base["pss_kb"]) / count}

    def memory(self, level, peer, tunnels):
        """Idle with two workers; then, with one, by the tunnel and by the connection."""
        proxy = self.start_proxy(peer, level, 2)
        try:
            idle = self._weigh(proxy)
        finally:
            proxy.stop()
        return {"idle": idle,
                "tunnels": self._held(peer, level, tunnels // TUNNELS_A_CONNECTION,
                                      TUNNELS_A_CONNECTION),
                "connections": self._held(peer, level, IDLE_CONNECTIONS, 1)}
