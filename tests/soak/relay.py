"""What stands between the proxies and the control plane: a network that can be cut. Byte for byte, in a thread of its own.

`refuse`: every connection is reset, and every new one; `hole`: nothing passes any more, and nobody is told.
"""
import selectors
import socket
import struct
import threading


class Relay:
    def __init__(self, host, port):
        self.to = host, port
        self.mode = "pass"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.pairs, self.lock, self.stopped = {}, threading.Lock(), False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def set(self, mode):
        self.mode = mode
        if mode == "refuse":
            with self.lock:
                for one in list(self.pairs):
                    self.drop(one)

    def drop(self, one):
        """Both ends are reset."""
        if one not in self.pairs:
            return
        other = self.pairs.pop(one)
        self.pairs.pop(other)
        for end in (one, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    def accept(self):
        try:
            one, _ = self.listener.accept()
        except OSError:
            return
        try:
            if self.mode == "refuse":
                raise OSError
            other = socket.create_connection(self.to, timeout=2)
        except OSError:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return one.close()
        for end in (one, other):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[one], self.pairs[other] = other, one

    def move(self, one):
        other = self.pairs[one]
        try:
            one.setblocking(False)
            data = one.recv(65536)
            if not data:
                self.pairs.pop(one), self.pairs.pop(other)
                one.close(), other.close()
                return
            other.settimeout(5)
            other.sendall(data)
        except BlockingIOError:
            pass
        except OSError:
            self.drop(one)

    def run(self):
        while not self.stopped:
            with selectors.PollSelector() as wait:
                with self.lock:
                    if self.mode != "hole":
                        wait.register(self.listener, selectors.EVENT_READ)
                        for one in self.pairs:
                            wait.register(one, selectors.EVENT_READ)
                try:
                    ready = [key.fileobj for key, _ in wait.select(0.05)]
                except OSError:
                    continue
            with self.lock:
                for one in ready:
                    if one is self.listener:
                        self.accept()
                    elif one in self.pairs and self.mode != "hole":
                        self.move(one)

    def close(self):
        self.stopped = True
        self.thread.join()
        self.listener.close()
        for one in list(self.pairs):
            self.drop(one)
