"""Stands in the middle of a connection and keeps what was said: a relay to one address, or, between two proxies, one
that each of them takes for the other, since it has a certificate of the name that both have."""
import select
import socket
import ssl
import struct
import threading

from support.mesh_tls import ALPN
from support.recording import Conversation

SO_ORIGINAL_DST = 80


class Relay:
    """Each connection to `port` of 127.0.0.1 goes on to `target` (host, port), or to where it was going before it was
    redirected. `certificate`: it is mesh TLS. `conversations` has one Conversation for each, in order of their opening."""

    def __init__(self, target=None, certificate=None):
        self.target, self.certificate = target, certificate
        self.conversations = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        target = self.target or original(client)
        try:
            if self.certificate:
                client, up = self.meet(client, target)
            else:
                up = socket.create_connection(target, 10)
            conversation = Conversation()
            conversation.target = target
            self.conversations.append(conversation)
            carry(client, up, conversation)
        except OSError:
            pass

    def meet(self, client, target):
        """Both sides of mesh TLS, with the server name and the protocol that the client asked for."""
        asked = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.chain, self.certificate.key)
        context.load_verify_locations(self.certificate.anchors)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols([ALPN])
        context.sni_callback = lambda _, name, __: asked.update(name=name)
        client = context.wrap_socket(client, server_side=True)
        context = self.certificate.client_context()
        if client.selected_alpn_protocol():
            context.set_alpn_protocols([ALPN])
        return client, context.wrap_socket(socket.create_connection(target, 10), server_hostname=asked["name"])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def original(client):
    _, port, a, b, c, d = struct.unpack_from("!HHBBBB", client.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    return f"{a}.{b}.{c}.{d}", port


def carry(client, up, conversation):
    other = {client: up, up: client}
    with client, up:
        for end in other:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            ready = [e for e in other if isinstance(e, ssl.SSLSocket) and e.pending()] or select.select(list(other), [], [])[0]
            for end in ready:
                end.settimeout(0)  # a session ticket alone makes it readable, too
                try:
                    data = end.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    continue
                if not data:
                    return
                conversation.add(">" if end is client else "<", data)
                other[end].settimeout(10)
                other[end].sendall(data)
