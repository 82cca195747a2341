"""AWS KMS for the tests: moto's server, signing digests as AWS does.

moto 5.2 ignores MessageType and hashes once more what is a digest already; nothing else is changed.
"""

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.responses import KmsResponse
from moto.server import main

as_moto_signs = KmsResponse.sign


def sign(self):
    if self._get_param("MessageType") != "DIGEST":
        return as_moto_signs(self)
    key = self.kms_backend.describe_key(self._get_param("KeyId"))
    digest = self._get_param("Message")
    prehashed = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    signature = base64.b64encode(key.private_key.private_key.sign(digest, prehashed)).decode()
    return json.dumps({"KeyId": key.arn, "Signature": signature, "SigningAlgorithm": "ECDSA_SHA_256"})


KmsResponse.sign = sign
main()
