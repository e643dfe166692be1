# SPDX-License-Identifier: Apache-2.0
"""istio.v1.auth.IstioCertificateService: signs CSRs for the identity of the caller's token."""

import random
import time

import grpc

import messages as m
from authority import BadRequest, BEFORE, Signer, describe_csr, new_key, pem, uri_names

SERVICE = "istio.v1.auth.IstioCertificateService"


class Certificates:
    def __init__(self, plane):
        self.plane = plane

    def create(self, data, context):
        plane = self.plane
        metadata = dict(context.invocation_metadata())
        request = m.IstioCertificateRequest.FromString(data)
        with plane.lock:
            identity = plane.caller(metadata)
            behave = plane.use("ca") or {}
        note = {"metadata": metadata, "identity": identity, "ttl": request.validity_duration,
                "csr": request.csr, "signer": dict(request.metadata)}

        self.misbehave(behave, context, note)
        if identity is None:
            self.refuse(context, note, grpc.StatusCode.UNAUTHENTICATED,
                        "request authenticate failure")
        try:
            with plane.lock:
                chain = self.sign(request, behave.get("identity", identity), behave, note)
        except BadRequest as error:
            self.refuse(context, note, grpc.StatusCode.INVALID_ARGUMENT, str(error))

        plane.record("csr", result="OK", chain=len(chain), **note)
        if behave.get("mode") == "garbage_message":
            return random.Random(1).randbytes(300)
        return m.to_bytes(m.IstioCertificateResponse(cert_chain=chain))

    def refuse(self, context, note, code, message):
        self.plane.record("csr", result=code.name, message=message, **note)
        context.abort(code, message)

    def misbehave(self, behave, context, note):
        plane = self.plane
        if behave.get("delay_ms"):
            time.sleep(behave["delay_ms"] / 1000)
        if behave.get("mode") == "refuse":
            code = getattr(grpc.StatusCode, behave.get("code", "UNAVAILABLE"))
            self.refuse(context, note, code, behave.get("message", "refused"))
        if behave.get("mode") == "hang":
            plane.record("csr", result="HANG", **note)
            with plane.lock:
                context.add_callback(self.wake)
                plane.lock.wait_for(lambda: not context.is_active()
                                    or plane.behave.get("ca") is not behave)
            context.abort(grpc.StatusCode.UNAVAILABLE, "hung")

    def wake(self):
        with self.plane.lock:
            self.plane.lock.notify_all()

    def sign(self, request, identity, behave, note):
        authority, mode = self.plane.authority, behave.get("mode")
        csr = authority.parse_csr(request.csr)
        note["asked"] = describe_csr(csr)
        ttl = authority.lifetime(request.validity_duration)
        ttl, before = behave.get("ttl", ttl), BEFORE
        if mode == "expired":
            ttl, before = -60, 7200
        if mode == "future":
            ttl, before = ttl + 7200, -3600

        key = new_key("p256").public_key() if mode == "other_key" else csr.public_key()
        uris = [authority.spiffe_id(identity)]
        if mode == "foreign":
            signer = Signer.make(kind="p256")
            names = uri_names(uris)
            chain = [pem(signer.sign(key, names, ttl, before)), pem(signer.certificate)]
        else:
            chain = authority.chain(authority.leaf(key, uris, ttl, before))
        return spoil_chain(chain, mode, behave)


def spoil_chain(chain, mode, behave):
    if mode == "short":
        return chain[:1]
    if mode == "empty":
        return []
    if mode == "reversed":
        return chain[::-1]
    if mode == "long":
        extra = pem(Signer.make(kind="p256").certificate)
        return chain[:-1] + [extra] * behave.get("extra", 20) + chain[-1:]
    if mode == "garbage":
        return ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] + chain[1:]
    if mode == "garbage_root":
        return chain[:-1] + ["no certificate"]
    return chain


def handler(plane):
    service = Certificates(plane)
    return grpc.method_handlers_generic_handler(SERVICE, {
        "CreateCertificate": grpc.unary_unary_rpc_method_handler(service.create),
    })
