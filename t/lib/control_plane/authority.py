# SPDX-License-Identifier: Apache-2.0
"""The certificate authority, as istiod's: it signs CSRs for the identity of a token, whatever the
CSR asks for, and makes certificates for the server and for other peers of a test."""

import datetime
import ipaddress
import os
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEFAULT_TTL = 24 * 3600
MAX_TTL = 90 * 24 * 3600
BEFORE = 120


class BadRequest(Exception):
    """A CSR or a lifetime that is refused."""


def new_key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def write_file(path, text, mode=0o644):
    """At once: a reader sees the old or the new."""
    with os.fdopen(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(text)
    os.rename(path + ".new", path)


def _usage(**which):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: which.get(name, False) for name in names})


def _now():
    return datetime.datetime.utcnow().replace(microsecond=0)


class Signer:
    """A certificate and its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @classmethod
    def load(cls, certificate_path, key_path):
        with open(certificate_path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
        with open(key_path, "rb") as file:
            return cls(certificate, serialization.load_pem_private_key(file.read(), None))

    @classmethod
    def make(cls, issuer=None, kind="rsa", unit=None):
        """A root, or an intermediate of issuer."""
        key = new_key(kind)
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")]
        if unit:
            names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
        subject = x509.Name(names)
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(issuer.certificate.subject if issuer else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(_now() - datetime.timedelta(seconds=BEFORE))
                   .not_valid_after(_now() + datetime.timedelta(days=3650))
                   .add_extension(x509.BasicConstraints(True, None), True)
                   .add_extension(_usage(key_cert_sign=True), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                                  False))
        signing = issuer.key if issuer else key
        return cls(builder.sign(signing, hashes.SHA256()), key)

    def sign(self, public_key, names, ttl, before=BEFORE):
        """A leaf without a subject; names are x509 general names."""
        start = _now() - datetime.timedelta(seconds=before)
        return (x509.CertificateBuilder().subject_name(x509.Name([]))
                .issuer_name(self.certificate.subject).public_key(public_key)
                .serial_number(x509.random_serial_number()).not_valid_before(start)
                .not_valid_after(_now() + datetime.timedelta(seconds=ttl))
                .add_extension(x509.BasicConstraints(False, None), True)
                .add_extension(_usage(digital_signature=True, key_encipherment=True), True)
                .add_extension(x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self.certificate.public_key()), False)
                .add_extension(x509.SubjectAlternativeName(names), True)
                .sign(self.key, hashes.SHA256()))


def uri_names(texts):
    return [x509.UniformResourceIdentifier(text) for text in texts]


def server_names(texts):
    names = []
    for text in texts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    return names


def describe_csr(csr):
    key = csr.public_key()
    kind = f"rsa{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else f"ec{key.curve.key_size}"
    try:
        extension = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    return {"key": kind, "uris": uris, "subject": csr.subject.rfc4514_string()}


class Authority:
    """Roots (the newest first; all are written to root-cert.pem), intermediates below the newest,
    and what it signs."""

    def __init__(self, trust_domain, root=None, intermediates=0):
        self.trust_domain = trust_domain
        self.roots = [root or Signer.make()]
        self.depth = intermediates
        self._make_intermediates()

    def _make_intermediates(self):
        self.intermediates = []
        for number in range(self.depth):
            self.intermediates.insert(0, Signer.make(self.signer(), unit=f"intermediate {number}"))

    def signer(self):
        return self.intermediates[0] if self.intermediates else self.roots[0]

    def new_root(self, root=None):
        """As in istiod, a root that takes over from another has the same subject."""
        self.roots.insert(0, root or Signer.make())
        self._make_intermediates()

    def retire_roots(self):
        """Only the newest is trusted from now on."""
        del self.roots[1:]

    def roots_pem(self):
        return "".join(pem(each.certificate) for each in self.roots)

    def chain(self, leaf):
        """The last element has all roots, as istiod's while they change."""
        return [pem(leaf)] + [pem(each.certificate) for each in self.intermediates] \
            + [self.roots_pem()]

    def spiffe_id(self, identity):
        """ns/sa, or a whole SPIFFE id."""
        if identity.startswith("spiffe://"):
            return identity
        namespace, account = identity.split("/", 1)
        return f"spiffe://{self.trust_domain}/ns/{namespace}/sa/{account}"

    @staticmethod
    def parse_csr(text):
        try:
            csr = x509.load_pem_x509_csr(text.encode())
            good = csr.is_signature_valid
        except Exception:
            good = False
        if not good:
            raise BadRequest("CSR signing error (certificate signing request is not properly "
                             "encoded)")
        return csr

    @staticmethod
    def lifetime(asked):
        if asked > MAX_TTL:
            raise BadRequest(f"CSR signing error (requested TTL {asked}s is greater than the max "
                             f"allowed TTL {MAX_TTL}s)")
        return asked if asked > 0 else DEFAULT_TTL

    def leaf(self, public_key, uris, ttl, before=BEFORE):
        return self.signer().sign(public_key, uri_names(uris), ttl, before)

    def server(self, names, ttl=DEFAULT_TTL, before=BEFORE):
        """(key PEM, chain PEM) of the server."""
        key = new_key("p256")
        leaf = self.signer().sign(key.public_key(), server_names(names), ttl, before)
        chain = [leaf] + [each.certificate for each in self.intermediates]
        return key_pem(key).encode(), "".join(pem(each) for each in chain).encode()

    def issue(self, directory, identity, uris=None, ttl=DEFAULT_TTL, before=BEFORE, kind="p256"):
        """Writes key and certificate for a peer; returns {certificate, key, root, id}."""
        uris = uris or [self.spiffe_id(identity)]
        key = new_key(kind)
        leaf = self.leaf(key.public_key(), uris, ttl, before)
        stem = re.sub(r"\W+", "-", identity).strip("-") + f"-{leaf.serial_number % 0xffffffff:x}"
        stem = os.path.join(directory, stem)
        write_file(stem + ".pem", "".join(self.chain(leaf)[:-1]))
        write_file(stem + ".key", key_pem(key), 0o600)
        write_file(stem + ".root.pem", self.roots_pem())
        return {"certificate": stem + ".pem", "key": stem + ".key", "root": stem + ".root.pem",
                "id": uris[0]}
