"""A node's end of a link, written from src/cluster/proto/link/links.md alone.

Needs nothing but Python 3: the primitives are below, small and slow, from their standards (X25519:
RFC 7748, AES: FIPS 197, GCM: SP 800-38D, HMAC and SHA-256 from the library, BLAKE3: its paper).

    links.py vectors FILE                          recomputes a recorded handshake
    links.py dial HOST PORT SECRET CLUSTER NAME    links up, talks a little, says what happened
"""

import hashlib
import hmac
import os
import socket
import struct
import sys

# --- X25519 ---

P = 2**255 - 19


def x25519(scalar, point):
    k = bytearray(scalar)
    k[0] &= 248
    k[31] = (k[31] & 127) | 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swapped ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")

# --- AES-256 ---


def make_sbox():
    sbox, p, q = [0] * 256, 1, 1
    while True:
        p ^= (p << 1) ^ (0x11B if p & 0x80 else 0)
        p &= 0xFF
        for shift in (1, 2, 4):
            q ^= q << shift
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        x = q
        for turn in (1, 2, 3, 4):
            x ^= ((q << turn) | (q >> (8 - turn))) & 0xFF
        sbox[p] = x ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    return sbox


SBOX = make_sbox()


def double(byte):
    return ((byte << 1) ^ (0x1B if byte & 0x80 else 0)) & 0xFF


def expand(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[-1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for number, key in enumerate(keys[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            mixed = []
            for i in range(0, 16, 4):
                a, b, c, d = state[i : i + 4]
                for w, x, y, z in ((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c)):
                    mixed.append(double(w) ^ double(x) ^ x ^ y ^ z)
            state = mixed
        state = [a ^ b for a, b in zip(state, key)]
    return bytes(state)


# --- GCM ---


def gmul(x, y):
    z = 0
    for i in reversed(range(128)):
        if (y >> i) & 1:
            z ^= x
        x = (x >> 1) ^ (0xE1 << 120 if x & 1 else 0)
    return z


def gcm(key, nonce, ad, text, is_sealing):
    keys = expand(key)
    h = int.from_bytes(aes(keys, bytes(16)), "big")
    out = bytearray()
    for i in range(0, len(text), 16):
        pad = aes(keys, nonce + struct.pack(">I", i // 16 + 2))
        out += bytes(a ^ b for a, b in zip(text[i : i + 16], pad))
    sealed = bytes(out) if is_sealing else text
    y = 0
    for part in (ad, sealed):
        for i in range(0, len(part), 16):
            y = gmul(y ^ int.from_bytes(part[i : i + 16].ljust(16, b"\0"), "big"), h)
    y = gmul(y ^ (len(ad) * 8 << 64 | len(sealed) * 8), h)
    first = int.from_bytes(aes(keys, nonce + b"\0\0\0\1"), "big")
    return bytes(out), (y ^ first).to_bytes(16, "big")


class Forged(Exception):
    pass


def nonce_of(n):
    return b"\0\0\0\0" + struct.pack(">Q", n)


def seal(key, n, ad, text):
    sealed, tag = gcm(key, nonce_of(n), ad, text, True)
    return sealed + tag


def unseal(key, n, ad, message):
    text, tag = gcm(key, nonce_of(n), ad, message[:-16], False)
    if not hmac.compare_digest(tag, message[-16:]):
        raise Forged
    return text


# --- BLAKE3, inputs of at most one chunk (1024 bytes) ---

IV = [
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
MASK = 0xFFFFFFFF


def compress(value, block, length, flags):
    v = value + IV[:4] + [0, 0, length, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))

    def mix(a, b, c, d, x, y):
        for turns, more in (((16, 12), x), ((8, 7), y)):
            v[a] = (v[a] + v[b] + more) & MASK
            v[d] = rotated(v[d] ^ v[a], turns[0])
            v[c] = (v[c] + v[d]) & MASK
            v[b] = rotated(v[b] ^ v[c], turns[1])

    for _ in range(7):
        for i in range(4):
            mix(i, i + 4, i + 8, i + 12, m[2 * i], m[2 * i + 1])
        for i in range(4):
            mix(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def rotated(x, n):
    return (x >> n | x << (32 - n)) & MASK


def blake3(key, flags, data):
    value = list(key)
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        edge = (1 if i == 0 else 0) | (10 if last else 0)
        value = compress(value, block, len(block), flags | edge)
    return struct.pack("<8I", *value)


def derive_key(context, material):
    key = blake3(IV, 32, context.encode())
    return blake3(struct.unpack("<8I", key), 64, material)


def keyed_hash(key, data):
    return blake3(struct.unpack("<8I", key), 16, data)


# --- The link, from its page ---


class Noise:
    """NNpsk0 with X25519, AES-256-GCM and SHA-256."""

    def __init__(self, prologue, psk, private):
        self.ck = self.h = b"Noise_NNpsk0_25519_AESGCM_SHA256"
        self.private, self.n, self.key = private, 0, None
        self.mix_hash(prologue)
        # psk0: before the first message.
        self.ck, extra, self.key = self.hkdf(psk, 3)
        self.mix_hash(extra)

    def hkdf(self, material, count):
        secret = hmac.digest(self.ck, material, "sha256")
        out = []
        for i in range(count):
            previous = out[-1] if out else b""
            out.append(hmac.digest(secret, previous + bytes([i + 1]), "sha256"))
        return out

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material):
        self.ck, self.key = self.hkdf(material, 2)
        self.n = 0

    def write_e(self):
        public = x25519(self.private, BASE)
        self.mix_hash(public)
        self.mix_key(public)
        return public

    def read_e(self, public):
        self.theirs = public
        self.mix_hash(public)
        self.mix_key(public)

    def mix_ee(self):
        self.mix_key(x25519(self.private, self.theirs))

    def seal_empty(self):
        tag = seal(self.key, self.n, self.h, b"")
        self.n += 1
        self.mix_hash(tag)
        return tag

    def open_empty(self, tag):
        unseal(self.key, self.n, self.h, tag)
        self.n += 1
        self.mix_hash(tag)

    def split(self):
        """The key of the end that dialled, and of the end that was called."""
        return self.hkdf(b"", 2)


def call_of(secret, cluster):
    tag = keyed_hash(derive_key("waymesh link cluster v1", secret), cluster.encode())[:16]
    return b"wmlk\x01\x01" + tag


def psk_of(secret):
    return derive_key("waymesh link psk v1", secret)


def leb128(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def frame(kind, payload):
    return bytes([kind]) + leb128(len(payload)) + payload


def text(value):
    return leb128(len(value.encode())) + value.encode()


def hello(node_id, name, link_port, incarnation=1, run=99):
    """Of a node that takes in vehicles and stores nothing."""
    return b"".join(
        (
            b"\x01\x01",
            struct.pack("<Q", node_id),
            text(name),
            leb128(incarnation),
            struct.pack("<Q", run),
            b"\x01",
            b"\x00" + bytes(4) + leb128(link_port),
            b"\x00",
            b"\x00",
            struct.pack("<Q", 42),
            text("links.py"),
        )
    )


def id_in(payload):
    return struct.unpack_from("<Q", payload, 2)[0]


def name_in(payload):
    length = payload[10]
    return payload[11 : 11 + length].decode()


REASONS = {
    1: "leaving", 2: "duplicate", 3: "not accepted", 4: "name taken", 5: "itself",
    6: "protocol", 7: "silent", 8: "unwanted", 9: "not ready", 10: "superseded",
}
VERDICTS = {1: "other version", 2: "other cluster", 3: "wrong secret"}


class Refused(Exception):
    pass


class Link:
    def __init__(self, stream):
        self.stream, self.buffer = stream, b""
        self.n_out = self.n_in = 0

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.stream.recv(count - len(data))
            if not piece:
                raise Refused("closed")
            data += piece
        return data

    def shake(self, secret, cluster):
        call = call_of(secret, cluster)
        noise = Noise(call, psk_of(secret), os.urandom(32))
        message = noise.write_e() + noise.seal_empty()
        self.stream.sendall(call + struct.pack(">H", len(message)) + message)
        answer = self.exactly(7)
        if answer[:4] != b"wmlk":
            raise Refused("no node")
        if answer[6] != 0:
            raise Refused(VERDICTS.get(answer[6], "unknown verdict"))
        (length,) = struct.unpack(">H", self.exactly(2))
        message = self.exactly(length)
        noise.read_e(message[:32])
        noise.mix_ee()
        noise.open_empty(message[32:])
        self.key_out, self.key_in = noise.split()

    def answer(self, secret, cluster):
        """The called end's part of the handshake."""
        call = self.exactly(22)
        if call[:4] != b"wmlk":
            raise Refused("no node")
        verdict = 0 if call == call_of(secret, cluster) else 3
        (length,) = struct.unpack(">H", self.exactly(2))
        message = self.exactly(length)
        answer = b"wmlk\x01\x01" + bytes([verdict])
        if verdict != 0:
            self.stream.sendall(answer)
            raise Refused(VERDICTS[verdict])
        noise = Noise(call, psk_of(secret), os.urandom(32))
        noise.read_e(message[:32])
        noise.open_empty(message[32:])
        message = noise.write_e()
        noise.mix_ee()
        message += noise.seal_empty()
        self.stream.sendall(answer + struct.pack(">H", len(message)) + message)
        self.key_in, self.key_out = noise.split()

    def send(self, *frames):
        message = seal(self.key_out, self.n_out, b"", b"".join(frames))
        self.n_out += 1
        self.stream.sendall(struct.pack(">H", len(message)) + message)

    def receive(self):
        """The next frame: kind and payload."""
        while True:
            found = self.cut()
            if found:
                return found
            (length,) = struct.unpack(">H", self.exactly(2))
            self.buffer += unseal(self.key_in, self.n_in, b"", self.exactly(length))
            self.n_in += 1

    def cut(self):
        length, shift, at = 0, 0, 1
        while at < len(self.buffer):
            byte = self.buffer[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                if len(self.buffer) < at + length:
                    return None
                kind, payload = self.buffer[0], self.buffer[at : at + length]
                self.buffer = self.buffer[at + length :]
                return kind, payload
        return None

    def wait_for(self, wanted):
        while True:
            kind, payload = self.receive()
            if kind == wanted:
                return payload
            if kind == 4:
                raise Refused(REASONS.get(payload[0], "unknown reason"))


def dial(host, port, secret, cluster, name):
    with socket.create_connection((host, int(port)), timeout=20) as stream:
        link = Link(stream)
        link.shake(bytes.fromhex(secret), cluster)
        link.send(frame(0, hello(0x1122334455667788, name, 4321)))
        print("linked", name_in(link.wait_for(0)))
        flow, granted = struct.unpack("<BI", link.wait_for(2))
        print("credit", flow, granted)
        link.send(frame(1, b"from python"), frame(2, struct.pack("<BI", 0, 100_000)))
        link.send(frame(9, b"of a later version" * 20), frame(5, b"pingpong"))
        print("pong", link.wait_for(6).decode())
        link.send(frame(16, b"a record"), frame(40, b"a question"))
        print("members", link.wait_for(3).decode())
        print("records", len(link.wait_for(16)))
        link.send(frame(4, b"\x01"))


def vectors(path):
    with open(path) as file:
        lines = [line.split("=") for line in file if "=" in line and not line.startswith("#")]
    values = {name.strip(): value.strip() for name, value in lines}
    given = {name: bytes.fromhex(value) for name, value in values.items() if name != "cluster"}
    secret, checked = given["secret"], []

    def check(name, computed):
        if computed != given[name]:
            sys.exit(f"{name}: {computed.hex()}, recorded is {given[name].hex()}")
        checked.append(name)

    check("psk", psk_of(secret))
    call = call_of(secret, values["cluster"])
    check("call", call)
    one = Noise(call, psk_of(secret), given["dialling one-time key"])
    other = Noise(call, psk_of(secret), given["called one-time key"])
    message = one.write_e() + one.seal_empty()
    check("first message", message)
    other.read_e(message[:32])
    other.open_empty(message[32:])
    message = other.write_e()
    other.mix_ee()
    message += other.seal_empty()
    check("second message", message)
    one.read_e(message[:32])
    one.mix_ee()
    one.open_empty(message[32:])
    keys = one.split()
    if keys != other.split():
        sys.exit("the two ends have different keys")
    for key, side in zip(keys, ("dialling", "called")):
        number = 0
        while f"{side} plain {number}" in given:
            plain = given[f"{side} plain {number}"]
            check(f"{side} sealed {number}", seal(key, number, b"", plain))
            number += 1
    print("ok", len(checked))


def main():
    try:
        {"dial": dial, "vectors": vectors}[sys.argv[1]](*sys.argv[2:])
    except Refused as reason:
        print("refused", reason)


if __name__ == "__main__":
    main()
