"""Ory's own Python client of the API-key server, step by step; each step prints what it was told."""

import json
import os

import jwt
import ory_client
from ory_client.api.api_keys_api import ApiKeysApi
from ory_client.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
    UnauthorizedException,
)

ME = "python"
PREFIX, NID = os.environ["PREFIX"], os.environ["NID"]

client = ory_client.ApiClient(ory_client.Configuration(host=os.environ["GATEWAY"], access_token=os.environ["KEY"]))
if os.environ["HOST"]:
    client.set_default_header("Host", os.environ["HOST"])
api = ApiKeysApi(client)


def say(*words):
    print(*["yes" if word is True else "no" if word is False else "-" if word is None else text(word) for word in words])


def text(word):
    return str(getattr(word, "value", word))


def raises(expected, label, call):
    try:
        call()
    except expected as e:
        assert type(e) is expected, e
        error = json.loads(e.body)["error"]
        assert error["code"] == e.status and error["message"], error
        say(label, e.status, error["status"], error["details"][0]["reason"])
    else:
        raise AssertionError(f"{label}: no {expected.__name__}")


def verify(credential, **headers):
    return api.admin_verify_api_key(ory_client.VerifyApiKeyRequest(credential=credential), **headers)


def issue(**fields):
    return api.admin_issue_api_key(ory_client.IssueApiKeyRequest(actor_id=ME, **fields))


def update(key_id, mask=None, **fields):
    return api.admin_update_issued_api_key(key_id, ory_client.AdminUpdateIssuedApiKeyRequest(**fields), update_mask=mask)


limit = ory_client.RateLimitPolicy(quota="100", window="60s", unit="requests")
issued = issue(name="one", scopes=["read", "write"], ttl="24h", metadata={"team": "a"}, rate_limit_policy=limit)
one, secret = issued.issued_api_key, issued.secret
say("issue", secret.startswith(PREFIX + "_v1_"), one.status, one.visibility, ",".join(one.scopes), one.rate_limit_policy.quota)
say("lifetime", round((one.expire_time - one.create_time).total_seconds()))

told = verify(secret)
say("verify", told.is_valid, told.status, told.key_id == one.key_id, told.issuer, told.metadata["team"])
say("get", api.admin_get_issued_api_key(one.key_id).name)

others = [issue(name=f"more {n}").issued_api_key.key_id for n in range(2)]
mine = f'actor_id="{ME}" AND status=KEY_STATUS_ACTIVE'
first = api.admin_list_issued_api_keys(page_size=2, filter=mine)
second = api.admin_list_issued_api_keys(page_size=2, filter=mine, page_token=first.next_page_token)
listed = [key.key_id for page in (first, second) for key in page.issued_api_keys]
say("list", len(first.issued_api_keys), len(second.issued_api_keys), second.next_page_token == "")
say("listed", sorted(listed) == sorted([one.key_id, *others]))

told = update(one.key_id, "name,scopes", name="renamed", scopes=["read", "list"])
say("update", told.name, ",".join(told.scopes), told.metadata["team"])
told = update(one.key_id, "rate_limit_policy,metadata")
say("clear", told.rate_limit_policy, told.metadata, told.name)
told = update(one.key_id, name="implied")
say("implicit", told.name, ",".join(told.scopes), told.status)
say("fresh", ",".join(verify(secret, cache_control="no-cache").scopes))

rotated = api.admin_rotate_issued_api_key(one.key_id, ory_client.AdminRotateIssuedApiKeyBody(name="rotated"))
old, new = verify(secret), verify(rotated.secret)
say("rotate", rotated.issued_api_key.name, ",".join(rotated.issued_api_key.scopes), rotated.old_issued_api_key.status)
say("old", old.is_valid, old.error_code, old.key_id)
say("new", new.is_valid, new.key_id == rotated.issued_api_key.key_id)
secret = rotated.secret


def derive(algorithm, credential, **fields):
    wanted = ory_client.DeriveTokenRequest(credential=credential, algorithm=algorithm, **fields)
    return api.admin_derive_token(wanted).token


tokens = {}
for form in ("JWT", "MACAROON"):
    wanted = dict(ttl="10m", scopes=["read"], custom_claims={"env": "prod"}, audiences=["web"])
    token = derive("TOKEN_ALGORITHM_" + form, secret, **wanted)
    tokens[form] = token.token
    question = ory_client.VerifyApiKeyRequest(credential=token.token, expected_audiences=["web"])
    told = api.admin_verify_api_key(question)
    say("derive", form, ",".join(token.scopes), ",".join(token.audiences), token.claims["env"])
    say("verify", form, told.is_valid, told.key_id == new.key_id, ",".join(told.scopes), ",".join(told.audiences))

keys = {key.kid: key.to_dict() for key in api.get_jwks().jwks.keys}
jwk = jwt.PyJWK(keys[jwt.get_unverified_header(tokens["JWT"])["kid"]])
claims = jwt.decode(tokens["JWT"], jwk, algorithms=["EdDSA"], issuer=os.environ["ISSUER"], audience="web")
say("offline", claims["nid"] == NID, claims["sub"] == new.key_id, claims["env"])


def import_request(raw, actor_id=ME):
    return ory_client.ImportApiKeyRequest(raw_key=raw, name="from elsewhere", actor_id=actor_id, scopes=["read"])


raw = f"sk_live_{ME}_0"
imported = api.admin_import_api_key(import_request(raw))
say("import", len(imported.key_id), imported.status, imported.actor_id == ME, verify(raw).is_valid)
batch = [import_request(f"sk_live_{ME}_{n}") for n in (1, 0, 2, 1)]
batch += [import_request(f"sk_live_{ME}_3", actor_id=""), import_request(secret), import_request(tokens["JWT"])]
told = api.admin_batch_create_imported_api_keys(ory_client.BatchCreateImportedApiKeysRequest(requests=batch))
say("batch", told.success_count, told.failure_count, [item.index for item in told.results])
for item in told.results:
    code = item.error_code.value.removeprefix("BATCH_CREATE_IMPORTED_API_KEYS_ERROR_")
    say("item", item.index, code, bool(item.imported_api_key), bool(item.error_message))

credentials = [secret, issued.secret, raw, tokens["JWT"]] + [f"junk {ME} {n}" for n in range(96)]
questions = [ory_client.VerifyApiKeyRequest(credential=credential) for credential in credentials]
told = api.admin_batch_verify_api_keys(ory_client.BatchVerifyApiKeysRequest(requests=questions)).results
say("batch verify", len(told), *[item.is_valid for item in told[:4]], told[3].error_code, {item.error_code.value for item in told[4:]})

keys = api.admin_list_imported_api_keys(filter=f'actor_id="{ME}"').imported_api_keys
say("imported", len(keys), api.admin_get_imported_api_key(imported.key_id).name)
change = ory_client.AdminUpdateImportedApiKeyRequest(name="ours")
told = api.admin_update_imported_api_key(imported.key_id, change, update_mask="name")
say("update imported", told.name, ",".join(told.scopes))
reason = ory_client.AdminRevokeImportedApiKeyBody(reason="REVOCATION_REASON_PRIVILEGE_WITHDRAWN", description="over")
api.admin_revoke_imported_api_key(imported.key_id, reason)
told = api.admin_get_imported_api_key(imported.key_id)
say("revoke imported", verify(raw).error_code, told.status, told.revocation_reason, told.revocation_description)
api.admin_delete_imported_api_key(imported.key_id)
say("delete imported", verify(raw).error_code)

end = ory_client.SelfRevokeApiKeyRequest(credential=secret, reason="REVOCATION_REASON_KEY_COMPROMISE")
say("self revoke", api.revoke_api_key(end) is not None, api.revoke_api_key(end) is not None, verify(secret).error_code)

revoke = ory_client.AdminRevokeIssuedApiKeyBody(reason="REVOCATION_REASON_SUPERSEDED")
api.admin_revoke_issued_api_key(others[0], revoke)
raises(NotFoundException, "get unknown", lambda: api.admin_get_issued_api_key("00000000-0000-4000-8000-000000000000"))
raises(NotFoundException, "get deleted", lambda: api.admin_get_imported_api_key(imported.key_id))
raises(ConflictException, "revoke twice", lambda: api.admin_revoke_issued_api_key(others[0], revoke))
raises(BadRequestException, "bad mask", lambda: update(others[1], "actor_id", name="x"))
raises(ConflictException, "import twice", lambda: api.admin_import_api_key(import_request(f"sk_live_{ME}_1")))
raises(ConflictException, "rotate revoked", lambda: api.admin_rotate_issued_api_key(others[0], ory_client.AdminRotateIssuedApiKeyBody()))
raises(ForbiddenException, "derive from revoked", lambda: derive("TOKEN_ALGORITHM_JWT", secret))
raises(UnauthorizedException, "derive from junk", lambda: derive("TOKEN_ALGORITHM_JWT", "junk"))
raises(BadRequestException, "self revoke a token", lambda: api.revoke_api_key(ory_client.SelfRevokeApiKeyRequest(credential=tokens["JWT"])))
