"""What a server's clients and receivers know it by: given by the environment, or made at the first start."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from quarterdeck.errors import ConfigError


def token_hash(database: str) -> str:
    """The token's hash: of ``QUARTERDECK_TOKEN``; else of one that is made at the first start and shown once."""
    from quarterdeck.server.auth import hash_of, new_token

    given = os.environ.get("QUARTERDECK_TOKEN", "").strip()  # a file that it was read from ends with a line's end
    if given:
        return hash_of(given)
    if _is_shared(database):
        raise ConfigError("set QUARTERDECK_TOKEN: servers that share a database must know the same token")
    token = new_token()
    kept = _beside(database, "token.sha256")
    hashed, is_new = _keep(kept, hash_of(token))
    if is_new:
        print(f"Token: {token}   (shown this once)")
    else:
        print(f"Token: as it was shown at the first start (delete {kept} for a new one, or set QUARTERDECK_TOKEN)")
    return hashed


def webhook_secret(database: str) -> str:
    """What signs webhooks: ``QUARTERDECK_WEBHOOK_SECRET``; else, beside an SQLite file, one that is made at the first
    start and shown once. With another database and none given, "": they are not signed, and that is said."""
    from quarterdeck.server.webhooks import new_secret

    given = os.environ.get("QUARTERDECK_WEBHOOK_SECRET", "").strip()
    if given:
        return given
    if _is_shared(database):
        print(
            "Webhooks are NOT SIGNED: their receivers cannot tell who has sent them. Set QUARTERDECK_WEBHOOK_SECRET "
            "to whsec_ and 32 random bytes in base64, the same for every server and worker.",
            file=sys.stderr,
            flush=True,
        )
        return ""
    kept = _beside(database, "webhook.secret")
    secret, is_new = _keep(kept, new_secret())
    print(f"Webhook secret: {secret}   (kept in {kept})" if is_new else f"Webhook secret: in {kept}")
    return secret


def _is_shared(database: str) -> bool:
    return "://" in database and not database.startswith("sqlite")


def _beside(database: str, name: str) -> Path:
    return Path(database.removeprefix("sqlite:///")).parent / name


def _keep(path: Path, text: str) -> tuple[str, bool]:
    """Writes a file for its owner alone, unless it is there: then what is in it counts.

    Several processes may start at once: the file appears with its content.

    Returns:
        What is in the file, and whether it was written now.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        os.link(draft, path)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip(), False
    finally:
        os.unlink(draft)
    return text, True
