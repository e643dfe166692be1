# SPDX-License-Identifier: Apache-2.0
"""Edits of protobuf bytes by field numbers, for what messages.py does not name.

A path is a list of "NUMBER" or "NUMBER:INDEX" (the INDEXth occurrence of the field, 0 by default),
each but the last one a message within; the lengths on the way are written anew.  An Any is a
message like another: its value is field 2."""


class WireError(Exception):
    pass


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a varint without its end")
        value |= (data[at] & 0x7f) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7


def fields(data):
    """[(number, wire type, value bytes)]; of type 2 the value is without its length."""
    found, at = [], 0

    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7

        if kind == 0:
            end = read_varint(data, at)[1]
        elif kind == 2:
            length, at = read_varint(data, at)
            end = at + length
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise WireError(f"wire type {kind}")

        if number == 0 or end > len(data):
            raise WireError("not a protobuf message")
        found.append((number, kind, data[at:end]))
        at = end
    return found


def encode(found):
    out = bytearray()
    for number, kind, value in found:
        out += varint(number << 3 | kind)
        if kind == 2:
            out += varint(len(value))
        out += value
    return bytes(out)


def field(number, data):
    """One length-delimited field."""
    return encode([(number, 2, data)])


def edit(data, path, change):
    """change is {"set": VALUE}, {"append": VALUE} or {"delete": true}; a VALUE is an integer (a
    varint) or bytes.  set of a field that is absent adds it; append adds an occurrence."""
    number, _, index = str(path[0]).partition(":")
    number, index = int(number), int(index or 0)
    found = fields(data)
    places = [i for i, (n, _, _) in enumerate(found) if n == number]
    at = places[index] if index < len(places) else None

    if len(path) > 1:
        if at is None or found[at][1] != 2:
            raise WireError(f"there is no message at {path}")
        found[at] = (number, 2, edit(found[at][2], path[1:], change))
        return encode(found)

    if "delete" in change:
        if at is None:
            raise WireError(f"there is no field at {path}")
        del found[at]
        return encode(found)

    value = change.get("set", change.get("append"))
    new = (number, 0, varint(value)) if isinstance(value, int) else (number, 2, value)
    if "set" in change and at is not None:
        found[at] = new
    else:
        found.append(new)
    return encode(found)
