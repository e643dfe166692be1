# SPDX-License-Identifier: Apache-2.0
"""Medians, spreads and ratios, as tables for people."""

from statistics import median

from . import levels

FIGURES = {
    "cpu": lambda r: r["proxy_cpu_us_per_req"],
    "rps": lambda r: r["rps"],
    "p50": lambda r: r["latency_us"]["p50"],
    "p99": lambda r: r["latency_us"]["p99"],
    "cores": lambda r: r["proxy_cores"],
    "load": lambda r: r["loadgen_cores"],
    "rss": lambda r: r["all_rss_kb"] / 1024,
    "pss": lambda r: r["all_pss_kb"] / 1024,
    "conns": lambda r: r["upstream_conns"],
    "others": lambda r: r["other_cpu_us_per_req"],
}


def middle(results, figure):
    return median(FIGURES[figure](result) for result in results)


def spread(results, figure):
    values = [FIGURES[figure](result) for result in results]
    return min(values), max(values)


def errors(results):
    return sum(sum(result["errors"].values()) for result in results)


def lost_lines(results):
    return sum(result["lost_lines"] for result in results)


def keeps_up(runs, rate):
    """Whether an open loop's rate was served; if not, its latency is the length of a queue."""
    return not rate or middle(runs, "rps") >= 0.98 * rate


def ratio(ours, theirs, figure):
    """Median, least and greatest of the ratios within the pairs; None without a figure."""
    pairs = [(FIGURES[figure](a), FIGURES[figure](b)) for a, b in zip(ours, theirs)]
    values = [a / b for a, b in pairs if b]
    return (median(values), min(values), max(values)) if values else None


def print_level(level, results, seconds, rate):
    reps = max(len(runs) for runs in results.values())
    pace = f" at {rate:g} requests/s" if rate else ""
    print(f"\n{level.name}: {level.text}{pace}; median of {reps} x {seconds:g} s")
    print(f"  {'':7}{'CPU us/req':>11}{'spread':>18}{'req/s':>10}{'p50 us':>9}{'p99 us':>9}"
          f"{'cores':>7}{'load':>6}{'RSS MB':>8}{'PSS MB':>8}{'up conns':>9}{'errors':>8}")
    for peer, runs in results.items():
        least, most = spread(runs, "cpu")
        print(f"  {peer:7}{middle(runs, 'cpu'):11.2f}{f'{least:.2f}..{most:.2f}':>18}"
              f"{middle(runs, 'rps'):10.0f}{middle(runs, 'p50'):9.0f}{middle(runs, 'p99'):9.0f}"
              f"{middle(runs, 'cores'):7.2f}{middle(runs, 'load'):6.2f}"
              f"{middle(runs, 'rss'):8.1f}{middle(runs, 'pss'):8.1f}"
              f"{middle(runs, 'conns'):9.0f}{errors(runs):8d}")
    for peer, runs in results.items():
        if lost_lines(runs):
            print(f"  {peer} dropped {lost_lines(runs):.0f} lines of its access log")
        if not keeps_up(runs, rate):
            print(f"  {peer} did not keep up with the rate: its latency is that of a queue")
    if "cairn" in results and not level.log:
        print(f"  cairn's master and guard beside it: {middle(results['cairn'], 'others'):.2f}"
              " us/req")


def print_ratios(level, results, rate):
    """cairn beside each peer; returns whether every limit is kept."""
    kept = True
    ours = results.get("cairn")
    for peer, theirs in results.items():
        if ours is None or peer == "cairn":
            continue
        parts = []
        for figure, label in (("cpu", "CPU"), ("rps", "req/s"), ("p50", "p50"), ("p99", "p99"),
                              ("pss", "PSS")):
            found = ratio(ours, theirs, figure)
            if found:
                parts.append(f"{label} {found[0]:.3f} ({found[1]:.3f}..{found[2]:.3f})")
        print(f"  cairn / {peer}: " + ", ".join(parts))
        for limit_peer, figure, most in level.limits:
            found = ratio(ours, theirs, figure) if limit_peer == peer else None
            if found and not (keeps_up(ours, rate) and keeps_up(theirs, rate)):
                print(f"  limit: {figure} / {peer}'s, at most {most:.3f}: not judged, see above")
                kept = False
            elif found:
                kept &= _judge(f"{figure} / {peer}'s", found[0], most)
    return kept


def _judge(what, value, most):
    verdict = "kept" if value <= most else "MISSED"
    print(f"  limit: {what} {value:.3f}, at most {most:.3f}: {verdict}")
    return value <= most


def print_memory(level, results):
    """Returns whether cairn keeps its limits."""
    print(f"\n{level.name}: {level.text}")
    print(f"  {'':7}{'idle, 2 workers':>22}{'a tunnel':>22}{'a connection':>22}")
    print(f"  {'':7}" + f"{'RSS MB':>12}{'PSS MB':>10}" + f"{'RSS KB':>12}{'PSS KB':>10}" * 2)
    for peer, found in results.items():
        tunnels, conns = found["tunnels"], found["connections"]
        print(f"  {peer:7}{found['idle']['rss_kb'] / 1024:12.1f}"
              f"{found['idle']['pss_kb'] / 1024:10.1f}{tunnels['rss_kb_each']:12.1f}"
              f"{tunnels['pss_kb_each']:10.1f}{conns['rss_kb_each']:12.1f}"
              f"{conns['pss_kb_each']:10.1f}")
    held = next(iter(results.values()))
    print(f"  {held['tunnels']['tunnels']} idle tunnels on {held['tunnels']['conns']} connections; "
          f"{held['connections']['conns']} connections with one tunnel each; one worker")

    ours = results.get("cairn")
    if ours is None:
        return True
    if "envoy" in results:
        _print_memory_ratios(ours, results["envoy"])
    kept = _judge("idle PSS MB", ours["idle"]["pss_kb"] / 1024, levels.IDLE_PSS_MB)
    kept &= _judge("PSS KB a tunnel", ours["tunnels"]["pss_kb_each"], levels.TUNNEL_KB)
    kept &= _judge("PSS KB a connection", ours["connections"]["pss_kb_each"],
                   levels.CONNECTION_KB)
    return kept


def _print_memory_ratios(ours, theirs):
    idle = ours["idle"]["pss_kb"] / max(theirs["idle"]["pss_kb"], 1)
    tunnel = ours["tunnels"]["pss_kb_each"] / max(theirs["tunnels"]["pss_kb_each"], 0.001)
    conn = ours["connections"]["pss_kb_each"] / max(theirs["connections"]["pss_kb_each"], 0.001)
    print(f"  cairn / envoy, PSS: idle {idle:.3f}, a tunnel {tunnel:.3f}, "
          f"a connection {conn:.3f}")
