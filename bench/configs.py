"""What HAProxy, nginx and the server behind all pairs are configured with, and the certificates of the peers.

Every pair has the same ports, all on its address: where the client connects, what is between the two proxies, and what
the server listens on.
"""
import subprocess

#         client, between, server
HTTP1 = (8000, 8443, 8080)
HTTP2 = (8001, 8444, 8081)
TCP = (8002, 8445, 8082)
TCP_FULL = (8003, 8445, 8082)  # each connection with a whole handshake, where the peer resumes otherwise

ORIGIN = """daemon off; worker_processes 1; pid {dir}/origin.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; sendfile on; open_file_cache max=16; {temp}
  server {{ listen {address}:8080 backlog=4096; default_type text/plain; root {dir}/www;
    location = /1k {{ return 200 "{body}"; }} location / {{ }} }} }}
"""
TEMP = "client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;"

HAPROXY = """global
  nbthread 1
  maxconn {connections}
  ssl-server-verify required
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""
TLS_TO = "ssl verify required ca-file {certs}/ca.pem crt {certs}/client.pem sni str(server.bench) verifyhost server.bench"
TLS_FROM = "ssl crt {certs}/server.pem ca-file {certs}/ca.pem verify required"
HAPROXY_OUT = HAPROXY + f"""
listen http1
  bind {{address}}:8000
  server in {{address}}:8443 {TLS_TO} alpn h2
listen http2
  bind {{address}}:8001 proto h2
  server in {{address}}:8444 {TLS_TO} alpn h2
listen tcp
  mode tcp
  bind {{address}}:8002
  server in {{address}}:8445 {TLS_TO}
listen tcp_full
  mode tcp
  bind {{address}}:8003
  server in {{address}}:8445 {TLS_TO} no-ssl-reuse
"""
HAPROXY_IN = HAPROXY + f"""
listen http1
  bind {{address}}:8443 {TLS_FROM} alpn h2
  server app {{address}}:8080
listen http2
  bind {{address}}:8444 {TLS_FROM} alpn h2
  server app {{address}}:8081 proto h2
listen tcp
  mode tcp
  bind {{address}}:8445 {TLS_FROM}
  server app {{address}}:8082
"""
NGINX = """daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; proxy_http_version 1.1; proxy_set_header Connection ""; {temp}
"""
NGINX_OUT = NGINX + """
  upstream in {{ server {address}:8443; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen {address}:8000; location / {{
    proxy_pass https://in; proxy_ssl_certificate {certs}/client.pem; proxy_ssl_certificate_key {certs}/client.pem;
    proxy_ssl_trusted_certificate {certs}/ca.pem; proxy_ssl_verify on; proxy_ssl_protocols TLSv1.3;
    proxy_ssl_name server.bench; proxy_ssl_server_name on; }} }} }}
"""
NGINX_IN = NGINX + """
  upstream app {{ server {address}:8080; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen {address}:8443 ssl; ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.pem;
    ssl_client_certificate {certs}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;
    location / {{ proxy_pass http://app; }} }} }}
"""


def make_certificates(folder):
    """A CA and a client's and a server's certificate (P-256), key and certificate in one file."""
    folder.mkdir()

    def openssl(*words):
        subprocess.run(["openssl", *[str(w) for w in words]], check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-subj", "/CN=bench", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name in ("client", "server"):
        openssl("req", *key[:-2], "-subj", f"/CN={name}.bench", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        (folder / "ext").write_text(f"subjectAltName=DNS:{name}.bench\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", folder / "ext", "-out", folder / f"{name}.crt")
        (folder / f"{name}.pem").write_text((folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text())
