# python3 verify.py < body, with WEBHOOK_SECRET and the three header fields in the environment. Exits 0 if it is genuine.
import base64
import hashlib
import hmac
import os
import sys
import time

TOLERANCE_S = 300


def is_genuine(body: bytes, headers: dict[str, str], secret: str) -> bool:
    """Whether a message is genuine and new. `body` is what arrived, byte by byte."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not timestamp.isascii() or not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(each.encode(), expected.encode()) for each in given)


if __name__ == "__main__":
    fields = ("webhook-id", "webhook-timestamp", "webhook-signature")
    received = {name: os.environ[name.upper().replace("-", "_")] for name in fields}
    sys.exit(0 if is_genuine(sys.stdin.buffer.read(), received, os.environ["WEBHOOK_SECRET"]) else 1)
