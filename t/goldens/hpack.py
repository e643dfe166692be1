# SPDX-License-Identifier: Apache-2.0
"""RFC 7541, as far as a peer in tests needs it: heads are written as literals without Huffman, and
read in every form."""

STATIC = [tuple(line.split("|")) for line in """\
:authority|
:method|GET
:method|POST
:path|/
:path|/index.html
:scheme|http
:scheme|https
:status|200
:status|204
:status|206
:status|304
:status|400
:status|404
:status|500
accept-charset|
accept-encoding|gzip, deflate
accept-language|
accept-ranges|
accept|
access-control-allow-origin|
age|
allow|
authorization|
cache-control|
content-disposition|
content-encoding|
content-language|
content-length|
content-location|
content-range|
content-type|
cookie|
date|
etag|
expect|
expires|
from|
host|
if-match|
if-modified-since|
if-none-match|
if-range|
if-unmodified-since|
last-modified|
link|
location|
max-forwards|
proxy-authenticate|
proxy-authorization|
range|
referer|
refresh|
retry-after|
server|
set-cookie|
strict-transport-security|
transfer-encoding|
user-agent|
vary|
via|
www-authenticate|""".split("\n")]

# Lengths of the codes of appendix B by symbol, of which the codes follow: 0..f are 5..20 bits,
# letters from g on 21 and up.
LENGTHS = (
    "8innnnnnnjpnnpnnnnnnnnpnnnnnnnnn1557813655363111000111111123a1758122222222222222222222223238e8"
    "91a01010111022111012100122222a698nfhffhhhihiiiiijijjhijiiiighihiijhgfhhiigihhjghiigghgihiifhhh"
    "ihhillfehihklllmmljkeglmmlmjggllnmmmfjfghggihhkkjjlilmllmmmmmnmmmmmlp")


def _codes():
    def length(mark):
        return ord(mark) - ord("g") + 21 if mark >= "g" else int(mark, 16) + 5

    codes, code, before = {}, 0, 0
    for bits, symbol in sorted((length(mark), at) for at, mark in enumerate(LENGTHS)):
        code <<= bits - before
        codes[bits, code] = symbol
        code, before = code + 1, bits
    return codes


CODES = _codes()


def unhuffman(data):
    out, code, bits = bytearray(), 0, 0
    for octet in data:
        for at in range(7, -1, -1):
            code, bits = code << 1 | octet >> at & 1, bits + 1
            symbol = CODES.get((bits, code))
            if symbol is not None:
                out.append(symbol)
                code, bits = 0, 0
    return bytes(out)


def _number(value, prefix, first):
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([first | value])
    out, value = [first | limit], value - limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes(out + [value])


def encode(headers):
    out = b""
    for name, value in headers:
        out += b"\0"
        for text in (name, value):
            octets = text.encode("latin-1")
            out += _number(len(octets), 7, 0) + octets
    return out


class Decoder:
    def __init__(self):
        self.dynamic = []
        self.limit = 4096

    def _read_number(self, prefix):
        limit = (1 << prefix) - 1
        value, self.at = self.data[self.at] & limit, self.at + 1
        if value < limit:
            return value
        shift = 0
        while True:
            octet, self.at = self.data[self.at], self.at + 1
            value += (octet & 127) << shift
            shift += 7
            if octet < 128:
                return value

    def _read_string(self):
        coded = self.data[self.at] & 128
        size = self._read_number(7)
        octets, self.at = self.data[self.at:self.at + size], self.at + size
        return (unhuffman(octets) if coded else octets).decode("latin-1")

    def _entry(self, index):
        return STATIC[index - 1] if index <= len(STATIC) else self.dynamic[index - len(STATIC) - 1]

    def _evict(self):
        while sum(len(name) + len(value) + 32 for name, value in self.dynamic) > self.limit:
            self.dynamic.pop()

    def _literal(self, prefix):
        index = self._read_number(prefix)
        name = self._entry(index)[0] if index else self._read_string()
        return name, self._read_string()

    def decode(self, data):
        self.data, self.at, headers = data, 0, []
        while self.at < len(data):
            first = data[self.at]
            if first & 128:
                headers.append(self._entry(self._read_number(7)))
            elif first & 64:
                headers.append(self._literal(6))
                self.dynamic.insert(0, headers[-1])
                self._evict()
            elif first & 32:
                self.limit = self._read_number(5)
                self._evict()
            else:
                headers.append(self._literal(4))
        return headers
