#!/usr/bin/env python3
"""Reads and writes beacons, from src/cluster/proto/beacons.md alone.

  beacons.py check FOLDER   each FOLDER/*.txt: its fields give its bytes, its bytes give its fields
  beacons.py make N         N beacons and some that must be refused, a line each: VERDICT HEX

Needs nothing but Python 3: BLAKE3 for short inputs stands at the end of this file.
"""

import ipaddress
import pathlib
import random
import struct
import sys

KINDS = {1: "ping", 2: "pong", 3: "beat"}


def keys(secret, cluster):
    tag_key = blake3_derive_key(b"waymesh beacon tag v1", secret)
    cluster_key = blake3_derive_key(b"waymesh beacon cluster v1", secret)
    return tag_key, blake3_keyed(cluster_key, cluster.encode())[:8]


def write(fields):
    tag_key, cluster = keys(bytes.fromhex(fields["secret"]), fields["cluster"])
    kind = {name: number for number, name in KINDS.items()}[fields["kind"]]
    signed = b"WMSH" + bytes([1, kind, int(fields["settled"]) | int(fields["few"]) << 1]) + cluster
    signed += struct.pack(
        ">QQQQQQH",
        int(fields["id"], 16),
        int(fields["incarnation"]),
        int(fields["run"], 16),
        int(fields["digest"], 16),
        int(fields["nonce"], 16),
        int(fields["pinger"], 16),
        int(fields["port"]),
    )
    if fields["address"] == "none":
        signed += b"\0"
    else:
        host, port = fields["address"].rsplit(":", 1)
        ip = ipaddress.ip_address(host.strip("[]"))
        signed += bytes([ip.version]) + ip.packed + struct.pack(">H", int(port))
    name = fields["name"].encode()
    signed += bytes([len(name)]) + name
    return signed + blake3_keyed(tag_key, signed)[:16]


def read(datagram, secret, cluster):
    """The fields, or the verdict as a text."""
    if len(datagram) > 511:
        return "too long"
    if datagram[:4] != b"WMSH" or len(datagram) < 5:
        return "malformed"
    if datagram[4] != 1:
        return "other version"
    if len(datagram) < 15 + 16:
        return "malformed"
    tag_key, our_cluster = keys(secret, cluster)
    signed, tag = datagram[:-16], datagram[-16:]
    if blake3_keyed(tag_key, signed)[:16] != tag:
        return "wrong secret"
    if signed[7:15] != our_cluster:
        return "other cluster"
    try:
        kind, flags = signed[5], signed[6]
        numbers = struct.unpack_from(">QQQQQQHB", signed, 15)
        node, incarnation, run, digest, nonce, pinger, port, family = numbers
        at = 66
        address = "none"
        if family != 0:
            size = {4: 4, 6: 16}[family]
            ip = ipaddress.ip_address(signed[at : at + size])
            (address_port,) = struct.unpack_from(">H", signed, at + size)
            shown = f"[{ip}]" if family == 6 else str(ip)
            address = f"{shown}:{address_port}"
            at += size + 2
        length = signed[at]
        name = signed[at + 1 : at + 1 + length]
        if not 1 <= length <= 64 or len(name) != length:
            return "malformed"
        return {
            "secret": secret.hex(),
            "cluster": cluster,
            "kind": KINDS[kind],
            "settled": str(flags & 1),
            "few": str(flags >> 1 & 1),
            "id": f"{node:016x}",
            "incarnation": str(incarnation),
            "run": f"{run:016x}",
            "digest": f"{digest:016x}",
            "nonce": f"{nonce:016x}",
            "pinger": f"{pinger:016x}",
            "port": str(port),
            "address": address,
            "name": name.decode(),
        }
    except (KeyError, IndexError, ValueError, struct.error):
        return "malformed"


def check(folder):
    n_beacons = 0
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        lines = path.read_text("utf-8").splitlines()
        fields = dict(line.split(" = ", 1) for line in lines)
        datagram = bytes.fromhex(fields.pop("bytes"))
        secret, cluster = bytes.fromhex(fields["secret"]), fields["cluster"]
        assert write(fields) == datagram, f"{path}: written otherwise"
        assert read(datagram, secret, cluster) == fields, f"{path}: read otherwise"
        assert read(datagram, b"guess", cluster) == "wrong secret", path
        assert read(datagram, secret, cluster + "x") == "other cluster", path
        n_beacons += 1
    print(f"{n_beacons} beacons read and written alike")


def make(n_beacons):
    dice = random.Random(4)
    number = lambda: f"{dice.getrandbits(64):016x}"
    secret = b"\x55" * 32
    for _ in range(n_beacons):
        kind = dice.choice(["ping", "pong", "beat"])
        address = dice.choice(["none", "198.51.100.9:5001", "[2001:db8::1]:7"])
        fields = {
            "secret": secret.hex(),
            "cluster": "waymesh",
            "kind": kind,
            "settled": str(dice.getrandbits(1)),
            "few": str(dice.getrandbits(1)),
            "id": number(),
            "incarnation": str(dice.getrandbits(20)),
            "run": number(),
            "digest": number(),
            "nonce": number(),
            "pinger": number() if kind == "pong" else "0" * 16,
            "port": str(dice.getrandbits(16)),
            "address": address,
            "name": dice.choice(["a", "bus-17", "Süd", "x" * 64]),
        }
        datagram = write(fields)
        assert read(datagram, secret, "waymesh") == fields
        print("ok", datagram.hex())
    print("wrong-secret", write(fields | {"secret": "66" * 32}).hex())
    print("other-cluster", write(fields | {"cluster": "elsewhere"}).hex())
    print("malformed", write(fields | {"name": "\n"}).hex())
    print("other-version", (b"WMSH\x02" + datagram[5:]).hex())
    print("too-long", (datagram + bytes(512)).hex())


# BLAKE3 of at most one chunk (1,024 bytes), after its specification (O'Connor, Aumasson, Neves,
# Wilcox-O'Hearn, 2020), sections 2.1 to 2.6.

IV = [
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
]  # fmt: skip
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, ROOT, KEYED, CONTEXT, MATERIAL = 1, 2, 8, 16, 32, 64
MASK = 0xFFFFFFFF


def blake3_compress(chaining, block, flags):
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    state = chaining + IV[:4] + [0, 0, len(block), flags]

    def turn(word, bits):
        return ((word >> bits) | (word << (32 - bits))) & MASK

    def mix(a, b, c, d, first, second):
        for message, one, other in ((first, 16, 12), (second, 8, 7)):
            state[a] = (state[a] + state[b] + message) & MASK
            state[d] = turn(state[d] ^ state[a], one)
            state[c] = (state[c] + state[d]) & MASK
            state[b] = turn(state[b] ^ state[c], other)

    for _ in range(7):
        for column in range(4):
            mix(column, 4 + column, 8 + column, 12 + column, *words[2 * column : 2 * column + 2])
        for diagonal in range(4):
            b, c, d = (4 + (diagonal + step) % 4 for step in (1, 2, 3))
            mix(diagonal, b, 4 + c, 8 + d, *words[8 + 2 * diagonal : 10 + 2 * diagonal])
        words = [words[at] for at in PERMUTATION]
    return [state[at] ^ state[at + 8] for at in range(8)]


def blake3_chunk(key, data, flags):
    assert len(data) <= 1024
    blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
    chaining = key
    for index, block in enumerate(blocks):
        start = CHUNK_START if index == 0 else 0
        end = CHUNK_END | ROOT if index == len(blocks) - 1 else 0
        chaining = blake3_compress(chaining, block, flags | start | end)
    return struct.pack("<8I", *chaining)


def blake3_keyed(key, data):
    return blake3_chunk(list(struct.unpack("<8I", key)), data, KEYED)


def blake3_derive_key(context, material):
    key = blake3_chunk(IV, context, CONTEXT)
    return blake3_chunk(list(struct.unpack("<8I", key)), material, MATERIAL)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "make":
        make(int(sys.argv[2]))
    else:
        sys.exit(__doc__)
