"""Runs a command whenever somebody outside of its pod asks: on_request.py SOCKET WORD… serves HTTP on a Unix socket, and
`curl --unix-socket SOCKET http://pod/X` runs WORD… X and is answered with what it wrote when it has ended."""
import http.server
import socketserver
import subprocess
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        done = subprocess.run([*sys.argv[2:], self.path.removeprefix("/")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(done.stdout)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    def get_request(self):
        return self.socket.accept()[0], ("pod", 0)


if __name__ == "__main__":
    Server(sys.argv[1], Handler).serve_forever()
