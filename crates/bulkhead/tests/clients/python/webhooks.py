# Deliveries as they arrived, verified by the public `standardwebhooks` library: one line of event id and type for each.
# A body, an id or a secret that is not the one that was signed must be refused.
import json
import os
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def refused(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


stranger = Webhook("whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=")
for delivery in json.loads(os.environ["DELIVERIES"]):
    body, headers = delivery["body"], delivery["headers"]
    for secret in os.environ["SECRETS"].split():
        webhook = Webhook(secret)
        event = webhook.verify(body, headers)
        for tampered in (body + " ", body.replace('"type"', '"Type"')):
            if not refused(webhook, tampered, headers):
                sys.exit("a tampered body was taken")
        if not refused(webhook, body, dict(headers, **{"webhook-id": "evt_other"})):
            sys.exit("another id was taken")
    if not refused(stranger, body, headers):
        sys.exit("a stranger's secret was taken")
    print(headers["webhook-id"], event["type"])
