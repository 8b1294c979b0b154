"""A node that is a member of a cluster, written from src/cluster/proto/link/links.md and beacons.md alone.

    members.py vectors FOLDER                           each FOLDER/*.txt: its fields give its bytes, its
                                                        bytes give its fields
    members.py node ADDRESS ID SECRET CLUSTER NAME      asks around at this address of this machine, dials
                                                        and is dialled, and says who comes and goes until
                                                        a line `leave` comes in, or the end of the input
    members.py talk HOST PORT ID SECRET CLUSTER NAME    the same over one link, until that ends

It takes in vehicles and stores nothing, and never judges others: whom it hears called down is down.
"""

import ipaddress
import os
import pathlib
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True  # Nothing is left behind in the folder of the tests.

import beacons
from links import IV, Forged, Link, REASONS, Refused, blake3, frame, hello, id_in, leb128, name_in, text

STANDINGS = ["up", "down", "left", "forgotten"]
ENDS = ["closed", "silent", "unreachable", "left", "restarted", "forgotten"]
TABLE, CHANGE, REPORT = 0, 1, 2
HELLO, HEARTBEAT, CREDIT, MEMBERS, CLOSE, PING, PONG = range(7)
LEAVING, DUPLICATE = 1, 2
GROUP, PORT = "239.192.0.1", 50337

# --- The words of the page ---


class Malformed(Exception):
    pass


class Bytes:
    """What is read from front to back."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise Malformed("cut")
        self.at += count
        return piece

    def byte(self, below=256):
        (value,) = self.take(1)
        if value >= below:
            raise Malformed("no such value")
        return value

    def number(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise Malformed("a long number")

    def text(self):
        return self.take(self.number()).decode()

    def address(self):
        ip = ipaddress.ip_address(self.take([4, 16][self.byte(2)]))
        return ip, self.number()

    def perhaps_address(self):
        return self.address() if self.byte(2) else None

    def list(self, item):
        return [item() for _ in range(self.number())]


def written_address(address):
    if address is None:
        return b"\0"
    ip, port = address
    return bytes([1, 0 if ip.version == 4 else 1]) + ip.packed + leb128(port)


class Member:
    FIELDS = "id name incarnation refutation standing run reason vehicles stores link http".split()

    def __init__(self, *values):
        for field, value in zip(self.FIELDS, values, strict=True):
            setattr(self, field, value)

    @classmethod
    def read(cls, said):
        return cls(
            said.number(), said.text(), said.number(), said.number(), STANDINGS[said.byte(4)],
            said.number(), ENDS[said.byte(6)], said.byte(2), said.byte(2),
            said.perhaps_address(), said.perhaps_address(),
        )  # fmt: skip

    def write(self):
        return b"".join(
            (
                leb128(self.id), text(self.name), leb128(self.incarnation), leb128(self.refutation),
                bytes([STANDINGS.index(self.standing)]), leb128(self.run),
                bytes([ENDS.index(self.reason), self.vehicles, self.stores]),
                written_address(self.link), written_address(self.http),
            )
        )  # fmt: skip

    def claim(self):
        """The greater counts."""
        return (self.incarnation, self.refutation, STANDINGS.index(self.standing), -self.run)

    def is_up(self):
        return self.standing == "up"


def written_list(items):
    return leb128(len(items)) + b"".join(items)


def table(members):
    return bytes([TABLE]) + written_list([member.write() for member in members]) + b"\1"


def change(members):
    return bytes([CHANGE]) + written_list([member.write() for member in members])


def report(reached, stores):
    ways = [leb128(node) + bytes([links]) for node, links in reached]
    return bytes([REPORT]) + written_list(ways) + bytes([stores])


def heartbeat(stores, epoch, digest):
    return bytes([stores]) + leb128(epoch) + leb128(digest)


def view(members):
    """The digest of those that are up."""
    key = blake3(IV, 32, b"waymesh view v1")
    material = b"".join(
        struct.pack(">QQQ", member.id, member.incarnation, member.refutation)
        for member in sorted(members, key=lambda member: member.id)
        if member.is_up()
    )
    return int.from_bytes(blake3(struct.unpack("<8I", key), 64, material)[:8], "big")


def said_in(payload):
    """What a frame of members says: its kind and its parts."""
    said = Bytes(payload)
    kind = said.byte(3)
    if kind == REPORT:
        return kind, said.list(lambda: (said.number(), said.byte())), said.byte(2)
    members = said.list(lambda: Member.read(said))
    return kind, members, said.byte(2) if kind == TABLE else 0


def heard_in(payload):
    """What a heartbeat says: whether the store takes records, epoch and digest."""
    said = Bytes(payload)
    return said.byte(2), said.number(), said.number()


# --- A node ---


class Node:
    def __init__(self, node_id, name, secret, cluster, port):
        run = int.from_bytes(os.urandom(8), "big")
        self.own = Member(node_id, name, 7, 0, "up", run, "closed", 1, 0, None, None)
        self.secret, self.cluster, self.port = bytes.fromhex(secret), cluster, port
        self.members, self.links, self.lock = {}, [], threading.RLock()

    def say(self, *words):
        print(*words, flush=True)

    def hear(self, members, source):
        """What a link says of members; what is new is told over the others."""
        news = [member for member in members if self.take_in(member)]
        if news:
            self.tell(change(news), source)

    def take_in(self, member):
        if member.id == self.own.id:
            self.hear_of_self(member)
            return False
        known = self.members.get(member.id)
        if known and member.claim() <= known.claim():
            return False
        if not known and member.standing == "forgotten":
            return False
        if member.link is None and known:
            member.link = known.link
        self.members[member.id] = member
        if (member.standing, member.run) != (known and (known.standing, known.run)):
            why = "" if member.is_up() else member.reason
            self.say(member.standing, member.name, f"{member.id:016x}", member.incarnation, why)
        return True

    def hear_of_self(self, member):
        own = self.own
        if not own.is_up() or member.incarnation < own.incarnation:
            return
        if member.run != own.run:
            own.incarnation, own.refutation = member.incarnation + 1, 0
            self.say("was here before and is now in incarnation", own.incarnation)
        elif not member.is_up() and member.claim() >= own.claim():
            own.refutation = member.refutation + 1
            self.say("called", member.standing, "and speaks up", own.refutation)
        else:
            return
        self.tell(change([own]), None)

    def digest(self):
        return view([self.own, *self.members.values()])

    def n_up(self):
        return 1 + sum(member.is_up() for member in self.members.values())

    def report(self):
        reached = sorted({link.peer for link in self.links if link.is_usable})
        return report([(peer, 1) for peer in reached], 0)

    def heartbeat(self):
        return heartbeat(0, 0, self.digest())

    def tell(self, message, source):
        for link in self.links:
            if link is not source:
                link.try_send(frame(MEMBERS, message), frame(HEARTBEAT, self.heartbeat()))

    def is_linked(self, peer):
        return any(link.peer == peer for link in self.links)

    def welcome(self, link):
        """A link whose other end is known now. Of two ends the lower keeps what it had first."""
        with self.lock:
            if self.own.id < link.peer and self.is_linked(link.peer):
                return False
            self.links.append(link)
            return True

    def introduce(self, link):
        with self.lock:
            self.say("linked", link.name)
            members = [self.own, *self.members.values()]
            link.try_send(frame(MEMBERS, self.report()), frame(MEMBERS, table(members)))

    def take(self, link, kind, payload):
        with self.lock:
            if kind == HEARTBEAT and payload:
                _, _, digest = heard_in(payload)
                if digest == self.digest():
                    self.say("agrees", link.name, self.n_up())
            elif kind == MEMBERS:
                what, items, switch = said_in(payload)
                if what != REPORT:
                    self.hear(items, link)
                if what == TABLE and switch and not link.is_usable:
                    link.is_usable = True
                    self.tell(self.report(), None)
            elif kind == PING:
                link.try_send(frame(PONG, payload))

    def lost(self, link):
        with self.lock:
            if link in self.links:
                self.links.remove(link)
                self.tell(self.report(), None)

    def leave(self):
        with self.lock:
            self.own.standing, self.own.reason = "left", "left"
            for link in self.links:
                link.try_send(frame(MEMBERS, change([self.own])), frame(CLOSE, bytes([LEAVING])))
                link.end()


class MemberLink(Link):
    def __init__(self, stream, node):
        super().__init__(stream)
        self.node, self.peer, self.is_usable = node, None, False
        self.writing = threading.Lock()

    def try_send(self, *frames):
        with self.writing:
            try:
                self.send(*frames)
            except OSError:
                pass  # Whoever reads notices as well.

    def end(self):
        """Nothing more is said; the other end closes when it has read what was."""
        with self.writing:
            try:
                self.stream.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # It was quicker.

    def run(self, is_caller):
        """From the handshake to the end."""
        node = self.node
        own = hello(node.own.id, node.own.name, node.port, node.own.incarnation, node.own.run)
        try:
            if is_caller:
                self.shake(node.secret, node.cluster)
                self.send(frame(HELLO, own))
            else:
                self.answer(node.secret, node.cluster)
            other = self.wait_for(HELLO)
            self.peer, self.name = id_in(other), name_in(other)
            if not node.welcome(self):
                self.send(frame(CLOSE, bytes([DUPLICATE])))
                return
            if not is_caller:
                self.send(frame(HELLO, own))
            node.introduce(self)
            threading.Thread(target=self.beat, daemon=True).start()
            while True:
                kind, payload = self.receive()
                if kind == CLOSE:
                    raise Refused(REASONS.get(payload[0], "unknown reason"))
                node.take(self, kind, payload)
        except (Refused, OSError, Forged) as end:
            if not (self.peer and str(end) in ("closed", "leaving")):
                node.say("refused", end)
        finally:
            node.lost(self)
            self.stream.close()

    def beat(self):
        node = self.node
        while self in node.links:
            with node.lock:
                self.try_send(frame(HEARTBEAT, node.heartbeat()))
            time.sleep(0.2)


def until_told(node):
    for line in sys.stdin:
        if line.strip() == "leave":
            break
    node.leave()
    deadline = time.monotonic() + 5
    while node.links and time.monotonic() < deadline:
        time.sleep(0.01)
    os._exit(0)


def talk(host, port, node_id, secret, cluster, name):
    node = Node(int(node_id), name, secret, cluster, 4321)
    with socket.create_connection((host, int(port)), timeout=20) as stream:
        MemberLink(stream, node).run(True)


def node(address, node_id, secret, cluster, name):
    listener = socket.create_server((address, 0))
    node = Node(int(node_id), name, secret, cluster, listener.getsockname()[1])
    group = open_group(address)
    for work in (lambda: accept(node, listener), lambda: listen(node, group), lambda: until_told(node)):
        threading.Thread(target=work, daemon=True).start()
    nonces = node.nonces = {}
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
        nonce = int.from_bytes(os.urandom(8), "big")
        nonces[nonce] = time.monotonic()
        with node.lock:
            ping = written_ping(node, nonce)
        group.sendto(ping, (GROUP, PORT))
        time.sleep(pause)
    threading.Event().wait()


def open_group(address):
    group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    group.bind(("", PORT))
    here = socket.inet_aton(address)
    group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
    group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here)
    return group


def written_ping(node, nonce):
    own = node.own
    fields = {
        "secret": node.secret.hex(), "cluster": node.cluster, "kind": "ping", "settled": "0", "few": "1",
        "id": f"{own.id:x}", "incarnation": str(own.incarnation), "run": f"{own.run:x}",
        "digest": f"{node.digest():x}", "nonce": f"{nonce:x}", "pinger": "0",
        "port": str(node.port), "address": "none", "name": own.name,
    }  # fmt: skip
    return beacons.write(fields)


def listen(node, group):
    """Beacons lead to dials of those with a higher identity; the others dial."""
    dialled = {}
    while True:
        datagram, (host, _) = group.recvfrom(2048)
        heard = beacons.read(datagram, node.secret, node.cluster)
        now = time.monotonic()
        if isinstance(heard, str):
            node.say("hears", heard)
            continue
        peer = int(heard["id"], 16)
        sent_at = node.nonces.get(int(heard["nonce"], 16), now - 9)
        if heard["kind"] == "pong" and now - sent_at > 1:
            continue
        is_due = now - dialled.get(peer, now - 9) > 0.25
        if node.own.id < peer and is_due and not node.is_linked(peer):
            dialled[peer] = now
            where = (host, int(heard["port"]))
            threading.Thread(target=dial, args=(node, where), daemon=True).start()


def dial(node, where):
    try:
        stream = socket.create_connection(where, timeout=20)
    except OSError as error:
        node.say("refused", error)
        return
    MemberLink(stream, node).run(True)


def accept(node, listener):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=MemberLink(stream, node).run, args=(False,), daemon=True).start()


# --- Recorded frames ---


def read_vector(path):
    """Its values, and its members line by line."""
    values, members = {}, []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, value = line.split(" = ", 1)
        if name == "member":
            members.append(member_of(value))
        else:
            values[name] = value
    return values, members


def member_of(line):
    words = line.split(" ")
    return Member(
        int(words[0], 16), words[1], int(words[2]), int(words[3]), words[4], int(words[5], 16),
        words[6], int(words[7]), int(words[8]), *(perhaps(word) for word in words[9:]),
    )  # fmt: skip


def perhaps(word):
    if word == "none":
        return None
    host, port = word.rsplit(":", 1)
    return ipaddress.ip_address(host.strip("[]")), int(port)


def check(path):
    values, members = read_vector(path)
    kind, stores = values["kind"], int(values.get("stores", 0))
    ways = [way.split(":") for way in values.get("reached", "").split()]
    ways = [(int(node, 16), int(links)) for node, links in ways]
    digest = int(values.get("digest", "0"), 16)
    if kind == "view":
        assert view(members) == digest, f"{path}: another digest"
        return
    recorded = bytes.fromhex(values["bytes"])
    if kind == "heartbeat":
        epoch = int(values["epoch"], 16)
        assert heartbeat(stores, epoch, digest) == recorded, f"{path}: written otherwise"
        assert heard_in(recorded) == (stores, epoch, digest), f"{path}: read otherwise"
        return
    wrote = {"table": lambda: table(members), "change": lambda: change(members)}
    wrote["report"] = lambda: report(ways, stores)
    assert wrote[kind]() == recorded, f"{path}: written otherwise"
    found, items, switch = said_in(recorded)
    assert found == ["table", "change", "report"].index(kind), path
    assert switch == (1 if kind == "table" else stores), path
    if kind == "report":
        assert items == ways, path
    else:
        assert [vars(item) for item in items] == [vars(item) for item in members], path
    for count in range(len(recorded)):
        try:
            said_in(recorded[:count])
        except Malformed:
            continue
        sys.exit(f"{path}: {count} bytes of it are read")


def vectors(folder):
    paths = sorted(pathlib.Path(folder).glob("*.txt"))
    for path in paths:
        check(path)
    print("ok", len(paths))


if __name__ == "__main__":
    {"vectors": vectors, "node": node, "talk": talk}[sys.argv[1]](*sys.argv[2:])
