"""A fleet of trackers that speak Wialon IPS, written from the protocol's description alone.

Needs nothing but Python 3. Each vehicle keeps a line until it is acknowledged, knows several
addresses, and goes to another one when the one that it talks to is gone or says nothing.

    wialon.py VEHICLES PREFIX PERIOD WINDOW PATIENCE HOST:PORT...

A vehicle has a line to say every PERIOD seconds (0: whenever it may), says at most WINDOW ahead of
their answers, and gives a connection up that is silent for PATIENCE seconds. Orders come as lines on
standard input, each is answered by one line of JSON:

    mark    from here on answers count; says how many vehicles there are
    stand   how many vehicles had an answer since the mark
    stop    no more lines; when all have their answers, or after a minute, what became of them
"""

import asyncio
import json
import random
import sys
import time

# 2025-11-01 00:00:00 UTC, the time of each vehicle's first fix.
DAY = "011125"
BASE = 1761955200


def crc16(data):
    """CRC-16/ARC."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return "%04X" % crc


class Line:
    """What is said at once: one fix, or two that belong together."""

    def __init__(self, number, is_second_version):
        self.number = number
        self.due = time.monotonic()
        n_fixes = 2 if number % 3 == 2 else 1
        # Two seconds for each line, so that no two fixes of a vehicle share their time.
        self.seconds = [number * 2 + part for part in range(n_fixes)]
        fixes = [fix(second) for second in self.seconds]
        kind, body, self.answer = [
            ("SD", fixes[0], b"#ASD#1"),
            ("D", fixes[0] + ";1.1;0;0;;NA;count:1:%d" % number, b"#AD#1"),
            ("B", "|".join(fixes), b"#AB#2"),
        ][number % 3]
        if is_second_version:
            body += "|" if kind == "B" else ";"
            body += crc16(body.encode())
        self.text = ("#%s#%s\r\n" % (kind, body)).encode()


def fix(second):
    minute = second // 60
    clock = "%02d%02d%02d" % (minute // 60 % 24, minute % 60, second % 60)
    place = "5926.%04d;N;02445.%04d;E" % (second % 10000, second * 7 % 10000)
    return "%s;%s;%s;42;90;30;9" % (DAY, clock, place)


class Vehicle:
    def __init__(self, fleet, number):
        self.fleet = fleet
        self.id = "%s%04d" % (fleet.prefix, number)
        self.is_second_version = number % 2 == 1
        self.door = number
        self.unanswered = []
        self.n_on_wire = 0
        self.next_number = 0
        self.next_due = time.monotonic() + random.random() * max(fleet.period, 0.1)
        self.acknowledged = []
        self.heard_at = time.monotonic()
        self.is_heard = False
        self.silence = 0.0
        self.silence_ended = 0.0

    def login(self):
        if not self.is_second_version:
            return ("#L#%s;NA\r\n" % self.id).encode()
        body = "2.0;%s;NA;" % self.id
        return ("#L#%s%s\r\n" % (body, crc16(body.encode()))).encode()

    def gather(self):
        """Takes what is due into the window."""
        now = time.monotonic()
        while not self.fleet.is_over and self.next_due <= now:
            if len(self.unanswered) >= self.fleet.window:
                return
            line = Line(self.next_number, self.is_second_version)
            if self.fleet.period > 0:
                line.due = self.next_due
            self.next_due = max(self.next_due, now - 1) + self.fleet.period
            self.next_number += 1
            self.unanswered.append(line)

    def is_done(self):
        return self.fleet.is_over and not self.unanswered

    async def drive(self):
        delay = 0.02
        while not self.is_done():
            heard_before = self.heard_at
            try:
                await self.connection()
                return
            except (OSError, EOFError, asyncio.TimeoutError):
                self.fleet.n_lost_connections += 1
            if self.heard_at > heard_before:
                delay = 0.02
            await asyncio.sleep(delay * (0.5 + random.random() / 2))
            delay = min(delay * 2, 0.5)
            self.door += 1

    async def connection(self):
        """Talks until all is said; an exception tells that the connection is gone."""
        patience = self.fleet.patience
        host, port = self.fleet.doors[self.door % len(self.fleet.doors)]
        opening = asyncio.open_connection(host, port)
        reader, writer = await asyncio.wait_for(opening, min(patience, 1.0))
        try:
            writer.write(self.login())
            answer = await asyncio.wait_for(reader.readline(), patience)
            if answer != b"#AL#1\r\n":
                raise EOFError("no answer to a login")
            self.n_on_wire = 0
            while not self.is_done():
                await self.turn(reader, writer, patience)
        finally:
            writer.close()

    async def turn(self, reader, writer, patience):
        """Says what is due, and takes what is answered by then."""
        self.gather()
        fresh = self.unanswered[self.n_on_wire :]
        if fresh:
            self.fleet.n_said += len(fresh)
            writer.write(b"".join(line.text for line in fresh))
            self.n_on_wire = len(self.unanswered)
            await asyncio.wait_for(writer.drain(), patience)
        if not self.unanswered:
            await asyncio.sleep(min(0.2, max(0.001, self.next_due - time.monotonic())))
            return
        answer = await asyncio.wait_for(reader.readline(), patience)
        if not answer.endswith(b"\r\n"):
            raise EOFError("closed")
        self.note(answer[:-2])

    def note(self, answer):
        line = self.unanswered.pop(0)
        self.n_on_wire -= 1
        now = time.monotonic()
        silence = now - max(line.due, self.heard_at)
        if silence > self.silence:
            self.silence, self.silence_ended = silence, time.time()
        self.heard_at = now
        self.is_heard = True
        self.fleet.n_answered += 1
        if answer == line.answer:
            self.acknowledged.extend(line.seconds)
        else:
            self.fleet.unmet.append([self.id, line.text.decode(), answer.decode("latin1")])


class Fleet:
    def __init__(self, arguments):
        n_vehicles, self.prefix, period, window, patience, *doors = arguments
        self.period = float(period)
        self.window = int(window)
        self.patience = float(patience)
        self.doors = [(host, int(port)) for host, port in (d.split(":") for d in doors)]
        self.is_over = False
        self.n_answered = 0
        self.n_said = 0
        self.n_lost_connections = 0
        self.unmet = []
        self.vehicles = [Vehicle(self, number) for number in range(int(n_vehicles))]

    async def run(self):
        orders = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(orders)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        driving = [asyncio.ensure_future(vehicle.drive()) for vehicle in self.vehicles]
        while True:
            order = (await orders.readline()).strip()
            if order == b"mark":
                for vehicle in self.vehicles:
                    vehicle.is_heard = False
                say({"vehicles": len(self.vehicles)})
            elif order == b"stand":
                n_heard = sum(vehicle.is_heard for vehicle in self.vehicles)
                say({"heard": n_heard})
            else:
                # An order to stop, or the end of whoever gives orders.
                break
        self.is_over = True
        _, late = await asyncio.wait(driving, timeout=60)
        for task in late:
            task.cancel()
        for task in driving:
            if task not in late and task.exception():
                raise task.exception()
        say(self.told())

    def told(self):
        def of(vehicle):
            return {
                "acknowledged": [BASE + second for second in vehicle.acknowledged],
                "last": BASE + vehicle.next_number * 2,
                "unanswered": len(vehicle.unanswered),
                "silence": vehicle.silence,
                "silence_ended": vehicle.silence_ended,
            }

        return {
            "said": self.n_said,
            "answered": self.n_answered,
            "lost_connections": self.n_lost_connections,
            "unmet": self.unmet[:20],
            "vehicles": {vehicle.id: of(vehicle) for vehicle in self.vehicles},
        }


def say(what):
    print(json.dumps(what), flush=True)


asyncio.run(Fleet(sys.argv[1:]).run())
