# SPDX-License-Identifier: Apache-2.0
"""Many services out of one that was recorded: its clusters, endpoints, chains and addresses, each
time by another name of the same length, so that what is written stays what istiod writes."""

import ipaddress

import messages as m
from snapshot import SnapshotError

LISTENER = "main_internal"


def name_of(template, number):
    """s000001 for details: as long as the name that it takes the place of."""
    name = f"s{number:0{len(template) - 1}d}"
    if len(name) != len(template):
        raise SnapshotError(f"{number} services have no names as long as {template!r}")
    return name


def _copies_of(snapshot, url, host, renamed):
    end = f"|{host}"
    for item in [each for each in snapshot.items(url).values() if each.name.endswith(end)]:
        for old, new in renamed:
            snapshot.put(url, item.name.replace(old, new),
                         item.data.replace(old.encode(), new.encode()))


def _copy_chains(listener, host, renamed):
    chains = [each.SerializeToString() for each in listener.filter_chains
              if each.name.endswith(f"|{host}")]
    if not chains:
        raise SnapshotError(f"no chain of {host!r} in {LISTENER!r}")
    for old, new in renamed:
        for chain in chains:
            listener.filter_chains.add().ParseFromString(chain.replace(old.encode(), new.encode()))


def _copy_addresses(listener, host, renamed, first):
    custom = listener.filter_chain_matcher.matcher_tree.custom_match.typed_config
    within = m.IPMatcher.FromString(custom.value)
    rows = [each for each in within.range_matchers if host.encode() in each.SerializeToString()]
    if len(rows) != 1 or len(rows[0].ranges) != 1:
        raise SnapshotError(f"{host!r} has not one address")
    row = rows[0].SerializeToString()
    for number, (old, new) in enumerate(renamed):
        made = within.range_matchers.add()
        made.ParseFromString(row.replace(old.encode(), new.encode()))
        made.ranges[0].address_prefix = str(first + number)
    custom.value = m.to_bytes(within)


def multiply(snapshot, host, count, address):
    """Services s000001 ... beside host, at addresses from `address` on; [their hosts]."""
    short, dot, rest = host.partition(".")
    # the host's own label, and the last field of a workload's: both end where they must
    renamed = [(f"{short}{dot}{rest}", f"{name_of(short, each)}{dot}{rest}")
               for each in range(1, count + 1)]
    item = snapshot.get(m.LISTENER, LISTENER)
    listener = m.Listener.FromString(item.data)

    for url in (m.CLUSTER, m.ENDPOINT):
        _copies_of(snapshot, url, host, renamed)
    _copy_chains(listener, host, renamed)
    _copy_addresses(listener, host, renamed, ipaddress.ip_address(address))
    snapshot.put(m.LISTENER, LISTENER, m.to_bytes(listener))
    return [new for _, new in renamed]
