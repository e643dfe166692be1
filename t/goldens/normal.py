# SPDX-License-Identifier: Apache-2.0
"""What is compared of what came: without what differs from one run to another (dates, request ids,
durations, ports), without the order of headers of different names, which says nothing, and without
how a body is cut into pieces."""

import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
REQUEST_LINE = re.compile(r"(?:^|\n)([A-Z]+) \S+ HTTP/1")
LOG = re.compile(
    r'\[[^]]*\] "(?P<line>.*?)" (?P<code>\d+) (?P<flags>\S+) (?P<details>\S+) (?P<termination>\S+) '
    r'"(?P<failure>.*?)" (?P<received>\d+) (?P<sent>\d+) (?P<duration>\S+) (?P<service_time>\S+) '
    r'"(?P<xff>.*?)" "(?P<agent>.*?)" "(?P<id>.*?)" "(?P<authority>.*?)" "(?P<host>\S*?)" '
    r'(?P<cluster>\S+) (?P<upstream_local>\S+) (?P<local>\S+) (?P<remote>\S+) (?P<sni>\S+) '
    r'(?P<route>\S+)')
CUT_LOG = re.compile(r'\[[^]]*\] "([^"]*)\.\.\.<\d+ chars>$')
COMPARED = ["line", "code", "flags", "details", "termination", "failure", "received", "sent", "xff",
            "agent", "authority", "cluster", "route"]


def header(name, value):
    if name.lower() in ("date", "x-envoy-upstream-service-time"):
        value = "*"
    elif name.lower() == "x-request-id":
        value = UUID.sub("*", value)
    elif name.lower() == "x-forwarded-for":
        value = re.sub(r"\b(127\.\d+\.\d+\.\d+|192\.0\.2\.2)\b", "*", value)
    return name, value


def headers(pairs):
    """In the order of names; those of one name in the order in which they came."""
    return sorted((header(name, value) for name, value in pairs), key=lambda pair: pair[0])


def _dechunk(text):
    """The body, its trailers, and what follows; None: it is not chunked, or not all there."""
    body = ""
    while True:
        line, found, text = text.partition("\r\n")
        if not found or not re.fullmatch(r"[0-9a-fA-F]+(;.*)?", line):
            return None
        size = int(line.split(";")[0], 16)
        if size == 0:
            break
        if len(text) < size + 2:
            return None
        body, text = body + text[:size], text[size + 2:]
    trailers = []
    while True:
        line, found, text = text.partition("\r\n")
        if not found:
            return None
        if not line:
            return body, trailers, text
        trailers.append(tuple(line.partition(":")[::2]))


def _body(fields, text, bodyless):
    """What the message has besides its head, and what follows it."""
    lower = {name.lower(): value.strip() for name, value in fields}
    if bodyless:
        return {}, text
    if lower.get("transfer-encoding", "").lower() == "chunked":
        parts = _dechunk(text)
        if parts:
            return {"body": parts[0], "trailers": headers(parts[1])}, parts[2]
        return {"unfinished": text}, ""
    if lower.get("content-length", "").isdigit():
        size = int(lower["content-length"])
        return {"body": text[:size]}, text[size:]
    return {"rest": text}, ""


def http1(raw, methods=None):
    """The messages in what came of a connection; methods are those that its responses answer, None
    for requests."""
    messages, methods = [], None if methods is None else list(methods)
    while raw:
        head, found, rest = raw.partition("\r\n\r\n")
        if not found:
            return messages + [{"part": raw}]
        line, *lines = head.split("\r\n")
        fields = [(name, value.strip(" ")) for name, _, value in
                  (each.partition(":") for each in lines)]
        bodyless = not any(name.lower() in ("content-length", "transfer-encoding")
                           for name, _ in fields) and (
            methods is None and "upgrade" not in {name.lower() for name, _ in fields})
        if methods is not None:
            status = line[9:12]
            method = methods[0] if methods else ""
            bodyless = (status[:1] == "1" and status != "101" or status in ("204", "304")
                        or method == "HEAD")
            if status[:1] != "1" and methods:
                methods.pop(0)
        body, raw = _body(fields, rest, bodyless)
        messages.append({"line": line, "headers": headers(fields), **body})
    return messages


def methods_of(operations):
    sent = "".join(each[1] for each in operations if each[0] == "send")
    return REQUEST_LINE.findall(sent)


def http2(events):
    """{stream: what it was}, in the order in which streams began; 0 is the connection."""
    streams = {}
    for event in events:
        stream = streams.setdefault(event["sid"], {"heads": [], "data": "", "ended": False})
        if event["ev"] == "headers":
            stream["heads"].append(headers(map(tuple, event["headers"])))
        elif event["ev"] == "data":
            stream["data"] += event["data"]
        elif event["code"] != "NO_ERROR" or not stream["ended"]:
            # after the answer: the rest of the request is not wanted, if it was not there yet
            stream[event["ev"]] = event["code"]
        stream["ended"] = stream["ended"] or bool(event.get("end"))
    return [streams[each] for each in sorted(streams)]


def upstream(records):
    """What each upstream was asked, in its order, on however many connections."""
    seen = {}
    for record in records:
        asked = seen.setdefault(record["upstream"], [])
        raw = record.get("raw") or ""
        if record.get("events"):
            asked += http2([each for each in record["events"] if each["sid"]])
        elif raw:
            asked += http1(raw.decode("latin-1") if isinstance(raw, bytes) else raw)
        elif record.get("end") == "connected, nothing sent":
            continue
    return {name: asked for name, asked in sorted(seen.items()) if asked}


def log(line):
    found = LOG.fullmatch(re.sub(r"@\d\b", "", line))
    if not found:
        begun = CUT_LOG.match(line)
        return {"line": begun[1] + "..." if begun else line}
    return {name: UUID.sub("*", found[name]) for name in COMPARED}
