# SPDX-License-Identifier: Apache-2.0
"""Processes of a run: started and pinned, found in a tree, weighed, and ended, all by their pid.

Nothing outlives the run: every child is told by the kernel when this process dies, orphans of
children come to this process, and end_all() ends both."""

import ctypes
import os
import resource
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_started = []


def prepare():
    """Once, before the first start: adopts orphans, and raises the limit of open files."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start(command, cpu=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """Starts a command, on one CPU if cpu is given."""
    def in_child():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                               preexec_fn=in_child)
    _started.append(process)
    return process


def end(process, how=signal.SIGTERM, patience=5.0):
    """Ends a started process and whatever it had started."""
    family = tree(process.pid)
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in _started:
        _started.remove(process)
    _end_orphans(set(family) - {process.pid}, patience)


def end_all():
    for process in reversed(list(_started)):
        end(process)
    _end_orphans(set(tree(os.getpid())) - {os.getpid()}, 1.0)


def _end_orphans(pids, patience):
    """Kills those of pids that have become our own children and do not end by themselves."""
    deadline = time.monotonic() + patience
    while True:
        _reap(pids)
        ours = pids & set(tree(os.getpid()))
        if not ours:
            return
        if time.monotonic() > deadline:
            for pid in ours:
                _kill(pid)
        time.sleep(0.02)


def _reap(pids):
    for pid in list(pids):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _parents():
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                parents[int(name)] = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    return parents


def tree(pid):
    """The process and all below it."""
    parents = _parents()
    found = [pid]
    for at in found:
        found += [child for child, parent in parents.items() if parent == at]
    return found


def title(pid):
    """The command line as the process shows it; many set their own."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _sum_kb(pids, name, field):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
                for line in file:
                    if line.startswith(field):
                        total += int(line.split()[1])
        except OSError:
            continue
    return total


def rss_kb(pids):
    return _sum_kb(pids, "status", "VmRSS:")


def pss_kb(pids):
    """Memory with shared pages divided among those who share them."""
    return _sum_kb(pids, "smaps_rollup", "Pss:")


def connections_to(pids, address, port):
    """How many TCP connections the processes hold to an address."""
    inodes = set()
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
                except OSError:
                    continue
        except OSError:
            continue

    octets = bytes(int(octet) for octet in address.split("."))
    remote = f"{int.from_bytes(octets, 'little'):08X}:{port:04X}"
    count = 0
    with open("/proc/net/tcp", encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if fields[2] == remote and fields[3] == "01" and f"socket:[{fields[9]}]" in inodes:
                count += 1
    return count
