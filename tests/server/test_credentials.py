"""The token and the webhooks' secret: given, made once, kept for the owner alone."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quarterdeck.cli.credentials import token_hash, webhook_secret
from quarterdeck.errors import ConfigError
from quarterdeck.server.auth import hash_of
from quarterdeck.server.webhooks.guard import key_of

SHARED = "postgresql://user@host/db"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUARTERDECK_TOKEN", "QUARTERDECK_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_made_at_the_first_start_and_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prefix: str
) -> None:
    database = f"{prefix}{tmp_path}/new/runs.db"
    hashed, secret = token_hash(database), webhook_secret(database)
    shown = capsys.readouterr().out
    token = shown.partition("Token: ")[2].split()[0]
    assert hash_of(token) == hashed
    assert secret in shown
    assert len(key_of(secret)) == 32
    kept = tmp_path / "new" / "webhook.secret"
    assert {item.name for item in kept.parent.iterdir()} == {"token.sha256", "webhook.secret"}
    assert {stat.S_IMODE(item.stat().st_mode) for item in kept.parent.iterdir()} == {0o600}
    assert (token_hash(database), webhook_secret(database)) == (hashed, secret)
    shown = capsys.readouterr().out
    assert secret not in shown
    assert hashed not in shown
    assert str(kept) in shown


def test_processes_that_start_at_once_have_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(webhook_secret, [f"{tmp_path}/runs.db"] * 8))
    assert len(secrets) == 1


def test_given_ones_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUARTERDECK_TOKEN", "mine\n")  # as from a file
    monkeypatch.setenv("QUARTERDECK_WEBHOOK_SECRET", " whsec_new whsec_old ")
    for database in (SHARED, f"{tmp_path}/runs.db"):
        assert token_hash(database) == hash_of("mine")
        assert webhook_secret(database) == "whsec_new whsec_old"
    assert not list(tmp_path.iterdir())


def test_none_for_a_shared_database(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A token must be given; without a secret webhooks are not signed, and that is said."""
    for given in ("", " \n"):
        monkeypatch.setenv("QUARTERDECK_TOKEN", given)
        with pytest.raises(ConfigError, match="QUARTERDECK_TOKEN"):
            token_hash(SHARED)
    assert webhook_secret(SHARED) == ""
    captured = capsys.readouterr()
    assert "NOT SIGNED" in captured.err
    assert "QUARTERDECK_WEBHOOK_SECRET" in captured.err
