# SPDX-License-Identifier: Apache-2.0
"""A client of the control plane under test, on gRPC's own library: it does what the lines of its
standard input say, JSON each, and answers with a line of JSON each.

    channel  id, target, root (file; none: plaintext), name (to verify)
    open     id, channel, protocol ("delta", "sotw"), metadata
    send     id, message (fields of the request)
    receive  id, seconds: a response as fields, {"nothing"}, or {"status", "message"} at the end;
             brief: resources by their SHA-256 instead of hex
    cancel   id
    csr      channel, metadata, ttl, key ("p256", "p384", "rsa"), uris, text, seconds"""

import datetime
import hashlib
import json
import os
import queue
import sys
import threading

import grpc
from google.protobuf import json_format

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib/control_plane"))

from cryptography import x509                                               # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization            # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, padding           # noqa: E402

import messages as m                                                        # noqa: E402
from authority import new_key                                               # noqa: E402

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
PROTOCOLS = {
    "delta": ("DeltaAggregatedResources", m.DeltaDiscoveryRequest, m.DeltaDiscoveryResponse),
    "sotw": ("StreamAggregatedResources", m.DiscoveryRequest, m.DiscoveryResponse),
}


class Stream:
    def __init__(self, channel, protocol, metadata):
        method, self.request, self.response = PROTOCOLS[protocol]
        self.out, self.arrived = queue.Queue(), queue.Queue()
        self.call = channel.stream_stream(ADS + method)(
            iter(self.out.get, None), metadata=list(metadata.items()))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for data in self.call:
                self.arrived.put(self.fields(data))
            self.arrived.put({"status": "OK", "message": ""})
        except grpc.RpcError as error:
            self.arrived.put({"status": error.code().name, "message": error.details()})

    def fields(self, data):
        try:
            response = self.response.FromString(data)
        except Exception:
            return {"undecodable": len(data)}
        resources = []
        for each in response.resources:
            packed = each.resource if hasattr(each, "resource") else each
            resources.append({
                "name": each.name if hasattr(each, "resource") else m.first_text(packed.value),
                "version": getattr(each, "version", ""), "type": packed.type_url,
                "hex": packed.value.hex() if len(packed.value) < 1 << 20 else len(packed.value)})
        return {"type": response.type_url, "nonce": response.nonce, "resources": resources,
                "removed": list(getattr(response, "removed_resources", [])),
                "version": getattr(response, "system_version_info", None)
                or getattr(response, "version_info", None)}

    def send(self, message):
        self.out.put(json_format.ParseDict(message, self.request()).SerializeToString())

    def receive(self, seconds, brief):
        try:
            response = self.arrived.get(timeout=seconds)
        except queue.Empty:
            return {"nothing": True}
        for each in response.get("resources", []) if brief else []:
            each["hex"] = hashlib.sha256(each["hex"].encode()).hexdigest()
        return response


def signed_by(certificate, issuer):
    key = issuer.public_key()
    arguments = (certificate.signature, certificate.tbs_certificate_bytes)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(*arguments, ec.ECDSA(certificate.signature_hash_algorithm))
        else:
            key.verify(*arguments, padding.PKCS1v15(), certificate.signature_hash_algorithm)
        return certificate.issuer == issuer.subject
    except Exception:
        return False


def public_bytes(key):
    return key.public_bytes(serialization.Encoding.DER,
                            serialization.PublicFormat.SubjectPublicKeyInfo)


def describe(text, key):
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return {"junk": True}
    now = datetime.datetime.utcnow()
    extensions = certificate.extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris, critical = names.value.get_values_for_type(x509.UniformResourceIdentifier), \
            names.critical
    except x509.ExtensionNotFound:
        uris, critical = [], False
    return {
        "subject": certificate.subject.rfc4514_string(), "uris": uris, "critical": critical,
        "begun": (now - certificate.not_valid_before).total_seconds(),
        "left": (certificate.not_valid_after - now).total_seconds(),
        "ca": extensions.get_extension_for_class(x509.BasicConstraints).value.ca,
        "own_key": public_bytes(certificate.public_key()) == public_bytes(key.public_key()),
        "pem": text,
    }


def chain_holds(chain):
    try:
        certificates = [x509.load_pem_x509_certificate(text.encode()) for text in chain]
    except ValueError:
        return False
    return len(chain) > 1 and all(signed_by(one, other) for one, other in
                                  zip(certificates, certificates[1:] + certificates[-1:]))


def ask_certificate(channel, request):
    key = new_key(request.get("key", "p256"))
    names = [x509.UniformResourceIdentifier(uri) for uri in request.get("uris", [])]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    message = m.IstioCertificateRequest(csr=request.get("text", csr),
                                        validity_duration=request.get("ttl", 86400))
    message.metadata.update({"CertSigner": ""})
    try:
        data = channel.unary_unary(CREATE)(
            m.to_bytes(message), metadata=list(request.get("metadata", {}).items()),
            timeout=request.get("seconds", 20))
    except grpc.RpcError as error:
        return {"status": error.code().name, "message": error.details()}
    try:
        chain = list(m.IstioCertificateResponse.FromString(data).cert_chain)
    except Exception:
        return {"status": "OK", "undecodable": True}
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()).decode()
    return {"status": "OK", "chain": [describe(text, key) for text in chain], "key": private,
            "holds": chain_holds(chain)}


def open_channel(request):
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0),
               ("grpc.use_local_subchannel_pool", 1)]
    if not request.get("root"):
        return grpc.insecure_channel(request["target"], options)
    with open(request["root"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    name = request.get("name", "istiod.istio-system.svc")
    return grpc.secure_channel(request["target"], credentials,
                               options + [("grpc.ssl_target_name_override", name)])


def main():
    channels, streams = {}, {}

    def run(request):
        what = request["do"]
        if what == "channel":
            channels[request["id"]] = open_channel(request)
        elif what == "open":
            streams[request["id"]] = Stream(channels[request["channel"]], request["protocol"],
                                            request["metadata"])
        elif what == "send":
            streams[request["id"]].send(request["message"])
        elif what == "receive":
            return streams[request["id"]].receive(request["seconds"], request.get("brief"))
        elif what == "cancel":
            streams[request["id"]].call.cancel()
        elif what == "csr":
            return ask_certificate(channels[request["channel"]], request)
        return {}

    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
    os._exit(0)


main()
