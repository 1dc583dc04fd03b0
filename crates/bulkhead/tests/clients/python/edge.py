"""Ory's own Python client of the API-key server, at an edge that keeps verdicts: the second is the first, again."""

import os

import ory_client
from ory_client.api.api_keys_api import ApiKeysApi

api = ApiKeysApi(ory_client.ApiClient(ory_client.Configuration(host=os.environ["GATEWAY"])))
secret = api.admin_issue_api_key(ory_client.IssueApiKeyRequest(actor_id="python", name="edge", ttl="1h")).secret
asked = ory_client.VerifyApiKeyRequest(credential=secret)
first, again = (api.admin_verify_api_key_with_http_info(asked) for _ in range(2))
for label, answer in (("first", first), ("again", again)):
    cache = {name.lower(): value for name, value in answer.headers.items()}["ory-talos-cache"]
    print(label, "yes" if answer.data.is_valid else "no", answer.data.status.value, cache)
print("same", "yes" if first.data == again.data else "no")
