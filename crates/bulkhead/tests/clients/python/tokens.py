"""Derived tokens in the hands of others: PyJWT with the gateway's own key set, and pymacaroons with the root key."""

import base64
import hashlib
import hmac
import json
import os
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from pymacaroons import MACAROON_V2, Macaroon, Verifier

PREFIX = "mc_v1_"
# The dossier's vector (5.4), made with its secret.
VECTOR = (
    "mc_v1_AgEXaHR0cHM6Ly9hcGkuZXhhbXBsZS5jb20CDHsianRpIjoiajEifQACX3siaXNzIjoiaHR0cHM6Ly9hcGkuZXhhbXBsZS5jb20iLCJl"
    "eHAiOjE3NjcyMjkyMDAsIm5pZCI6IjU1MGU4NDAwLWUyOWItNDFkNC1hNzE2LTQ0NjY1NTQ0MDAwMSJ9AAAGIE9E3zHCi8d0ZJPOgXqGlqvbb_"
    "2QpuyMx4ME3pyeLAR0"
)


def rsa_key_set():
    """A private RS256 key set, as `base64://`."""
    key = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
    keys = {"keys": [key | {"kid": "rsa-1", "use": "sig", "alg": "RS256"}]}
    print("base64://" + base64.b64encode(json.dumps(keys).encode()).decode())


def jose():
    """The claims of each token, checked with the key set that its tenant's host answers, at both addresses."""
    for token in json.loads(os.environ["TOKENS"]):
        for path in ("/.well-known/jwks.json", "/v2alpha1/derivedKeys/jwks.json"):
            keys = jwt.PyJWKClient(os.environ["GATEWAY"] + path, headers={"Host": token["host"]})
            key = keys.get_signing_key_from_jwt(token["token"])
            claims = jwt.decode(
                token["token"],
                key.key,
                algorithms=[token["alg"]],
                issuer=token["issuer"],
                audience=token.get("audience"),
                options={"require": ["exp", "iat", "nbf", "iss", "sub", "jti"]},
            )
        print(json.dumps(claims))


def root_key():
    return hmac.new(os.environ["SECRET"].encode(), b"talos/macaroon/v1/root-key", hashlib.sha256).digest()


def verifies(text):
    macaroon = Macaroon.deserialize(text.removeprefix(PREFIX))
    check = Verifier()
    check.satisfy_general(lambda caveat: isinstance(json.loads(caveat), dict))
    return check.verify(macaroon, root_key())


def macaroons():
    """Whether ours and the dossier's verify, then one made here, and ours and it narrowed."""
    ours = os.environ["TOKEN"]
    print(verifies(ours), verifies(VECTOR))
    claims = json.loads(os.environ["CLAIMS"])
    made = Macaroon(location=claims["iss"], identifier='{"jti":"j1"}', key=root_key(), version=MACAROON_V2)
    made.add_first_party_caveat(json.dumps(claims))
    print(PREFIX + made.serialize())
    for macaroon in (Macaroon.deserialize(ours.removeprefix(PREFIX)), made):
        macaroon.add_first_party_caveat('{"scp": ["read"]}')
        print(PREFIX + macaroon.serialize())
    print(VECTOR)


{"rsa": rsa_key_set, "jose": jose, "macaroons": macaroons}[os.environ["PART"]]()
sys.exit(0)
