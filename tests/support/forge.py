"""Certificates of any shape, signed with a mesh's own issuer: what a thief of a workload's name, an old workload or a
broken tool might show. By openssl, as nothing of ours would make most of them."""
import os
import pathlib
import subprocess
import time

HOUR = 3600

CONFIG = """
[ca]
default_ca = it
[it]
new_certs_dir = {folder}
database = {folder}/database
default_md = sha256
policy = anything
rand_serial = yes
unique_subject = no
[anything]
commonName = optional
[shape]
basicConstraints = critical, CA:{is_ca}
keyUsage = critical, {usage}
{extended}
{names}
"""


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def state_of(mesh_name):
    home = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state"
    return pathlib.Path(home) / "tulle" / mesh_name


def other_ber_names(*names):
    """The value of a subjectAltName extension with dNSNames of any bytes, which openssl's own syntax would refuse."""
    body = b"".join(bytes([0x82, len(n)]) + n for n in names)
    return "DER:" + (bytes([0x30, 0x81, len(body)]) + body).hex()


class Issuer:
    """Signs with `certificate` and `key`, both PEM files. `chain`: what goes below a leaf for a peer to reach the root."""

    def __init__(self, folder, certificate, key, chain=""):
        self.folder, self.certificate, self.key, self.chain = folder, certificate, key, chain
        self.count = 0

    @classmethod
    def of_mesh(cls, mesh, folder):
        state = state_of(mesh.name)
        return cls(folder, state / "issuer.crt", state / "issuer.key", (state / "issuer.crt").read_text())

    @classmethod
    def stranger(cls, folder, name):
        """A root of another mesh, with the same name."""
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", folder / "stranger.key", "-out", folder / "stranger.crt")
        return cls(folder, folder / "stranger.crt", folder / "stranger.key")

    def issue(self, names, start=-HOUR, end=HOUR, is_ca=False, extended="serverAuth,clientAuth"):
        """`names`: the value of subjectAltName; `start`, `end`: seconds from now. Returns an Issued."""
        self.count += 1
        place = self.folder / f"{os.path.basename(self.key)}-{self.count}"
        place.mkdir()
        (place / "database").touch()
        (place / "config").write_text(CONFIG.format(
            folder=place, is_ca=str(is_ca).upper(), usage="keyCertSign,digitalSignature" if is_ca else "digitalSignature",
            extended=f"extendedKeyUsage = {extended}" if extended else "", names=f"subjectAltName = {names}" if names else ""))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=forged", "-keyout", place / "key",
                "-out", place / "csr")
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + t)) for t in (start, end)]
        openssl("ca", "-batch", "-notext", "-config", place / "config", "-extensions", "shape", "-in", place / "csr", "-out", place / "leaf",
                "-cert", self.certificate, "-keyfile", self.key, "-startdate", dates[0], "-enddate", dates[1])
        return Issued(place, self.chain)


class Issued:
    def __init__(self, place, chain):
        self.certificate, self.key, self.chain = place / "leaf", place / "key", place / "chain"
        self.chain.write_text((place / "leaf").read_text() + chain)

    def as_issuer(self):
        """That a certificate may not sign does not keep anybody from signing with it."""
        return Issuer(self.chain.parent, self.certificate, self.key, self.chain.read_text())
