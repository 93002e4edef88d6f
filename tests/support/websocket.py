# SPDX-License-Identifier: MIT OR Apache-2.0
"""RFC 6455 from the standard library: framing for both ends, and a client that can also misbehave."""
import base64
import hashlib
import json
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(key):
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload=b"", masked=False, fin=True, rsv=0):
    """The bytes of one frame; clients mask, servers do not."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


class Gone(Exception):
    """The other end closed; `code` and `reason` of its close frame, or None."""

    def __init__(self, code=None, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


class Link:
    """Frames over a connected socket."""

    def __init__(self, sock, early=b"", masked=True):
        self.sock, self.bytes, self.masked = sock, bytearray(early), masked

    def fill(self, size):
        while len(self.bytes) < size:
            more = self.sock.recv(1 << 18)
            if not more:
                raise Gone()
            self.bytes += more

    def take(self, size):
        self.fill(size)
        out = bytes(self.bytes[:size])
        del self.bytes[:size]
        return out

    def read_frame(self):
        """(fin, opcode, payload)"""
        first, second = self.take(2)
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack(">H", self.take(2))
        elif size == 127:
            size, = struct.unpack(">Q", self.take(8))
        mask = self.take(4) if second & 0x80 else None
        payload = self.take(size)
        if mask:
            payload = bytes(b ^ mask[i & 3] for i, b in enumerate(payload))
        return bool(first & 0x80), first & 0x0F, payload

    def send(self, opcode, payload=b"", **how):
        self.sock.sendall(frame(opcode, payload, **{"masked": self.masked, **how}))

    def read_message(self):
        """The next data message; pings are answered, Gone at the end."""
        parts = []
        while True:
            fin, opcode, payload = self.read_frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if payload else None
                raise Gone(code, payload[2:].decode())
            elif opcode != PONG:
                parts.append(payload)
                if fin:
                    return b"".join(parts)

    def close(self):
        self.sock.close()


class Client(Link):
    """Upgraded, or `status` and `body` say why not."""

    def __init__(self, port, target, timeout=30, headers=(), receive_buffer=None):
        key = base64.b64encode(os.urandom(16)).decode()
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
        super().__init__(sock)
        given = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
                 "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", **dict(headers)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value is not None)
        sock.sendall(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
        self.status, self.headers = self.read_head()
        self.body = b""
        if self.status == 101:
            assert self.headers["sec-websocket-accept"] == accept_of(key), self.headers
        elif "content-length" in self.headers:
            self.body = self.take(int(self.headers["content-length"]))

    def read_head(self):
        while b"\r\n\r\n" not in self.bytes:
            self.fill(len(self.bytes) + 1)
        head, _, rest = bytes(self.bytes).partition(b"\r\n\r\n")
        self.bytes = bytearray(rest)
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}

    def events(self, count):
        return [json.loads(self.read_message()) for _ in range(count)]
