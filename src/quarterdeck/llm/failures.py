"""From a provider's error to the one typed error that says what happened."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

from quarterdeck.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    LLMError,
    ProviderDownError,
    RateLimitError,
)

_LONGEST = 500
"""A provider's own message is cut after this many characters."""

_KEY = re.compile(r"\b(?:sk|gsk|pk|xai|key|AIza|csk|nvapi)[-_]?[\w*.-]{12,}")

_TOO_LONG = re.compile(
    r"context.?length|context.?window|maximum context|prompt is too long|input is too long|too many (input )?tokens|"
    r"(input|prompt).{0,40}exceeds.{0,60}(token|context)|exceeds the (available|maximum).{0,30}(context|tokens)|"
    r"reduce the length of (the|your) (messages|prompt|input)",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content.?(filter|policy|management)|responsible.?ai|safety system|SAFETY\b", re.IGNORECASE)
_NO_QUOTA = re.compile(
    r"insufficient.?(quota|balance|credit|funds)|exceeded your current quota|billing.{0,20}(limit|hard)|"
    r"credit balance is too low",
    re.IGNORECASE,
)

_STATUS_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that stands for an error inside a stream, where there is none (Anthropic's and OpenAI's types)."""


class Caller(NamedTuple):
    """Who is called, for messages; the key is held only to keep it out of them."""

    provider: str
    model: str
    key: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    def safe(self, text: str) -> str:
        """``text`` without the key and whatever looks like one, cut."""
        if len(self.key) > 3:
            text = text.replace(self.key, "[key]")
        text = _KEY.sub("[key]", text)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def failure_from(who: Caller, status: int, headers: Mapping[str, str], body: bytes) -> LLMError:
    """The error for an HTTP answer with a status of 400 or more."""
    try:
        data: Any = json.loads(body)
    except ValueError:
        data = body.decode(errors="replace").strip()
    return _failure(who, status, data, retry_after(headers))


def failure_in_body(who: Caller, data: dict[str, Any]) -> LLMError:
    """The error for a JSON object with ``error`` that came with a good status, or inside a stream."""
    error: Any = data.get("error")
    details = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code, kind = details.get("code"), str(details.get("type"))
    status = code if isinstance(code, int) and 400 <= code < 600 else _STATUS_BY_TYPE.get(kind, 500)
    return _failure(who, status, data, None)


def _failure(who: Caller, status: int, data: Any, wait: float | None) -> LLMError:
    message, code = _message_and_code(data)
    told = who.safe(message)
    error = _kind(status, f"{code} {message}")(f"{who} answered {status}: {told}", model=who.model, status=status)
    error.retry_after = wait
    if status in (402, 429) and _NO_QUOTA.search(f"{code} {message}"):
        error.retryable = False
    return error


def _kind(status: int, text: str) -> type[LLMError]:
    if status in (401, 403):
        return ContentFilteredError if status == 403 and _FILTERED.search(text) else AuthenticationError
    if status in (402, 429):
        return RateLimitError
    if status in (408, 409) or status >= 500:
        return ProviderDownError
    if _TOO_LONG.search(text) or status == 413:
        return ContextTooLongError
    if _FILTERED.search(text):
        return ContentFilteredError
    return BadRequestError


def _message_and_code(data: Any) -> tuple[str, str]:
    """What the provider says, and its code or type: of the forms that providers use."""
    if isinstance(data, list) and data:  # Gemini wraps its error in a list
        data = cast("list[Any]", data)[0]
    if not isinstance(data, dict):
        return str(cast("Any", data)), ""
    body = cast("dict[str, Any]", data)
    error: Any = body.get("error") or body
    if isinstance(error, str):
        return error, str(body.get("code") or "")
    if not isinstance(error, dict):
        return json.dumps(body), ""
    details = cast("dict[str, Any]", error)
    inner: Any = details.get("innererror")
    names = [details.get("code"), details.get("type")]
    if isinstance(inner, dict):
        names.append(cast("dict[str, Any]", inner).get("code"))
    message: Any = details.get("message") or details.get("detail") or body.get("message") or json.dumps(body)
    text = message if isinstance(message, str) else json.dumps(message)
    return text, " ".join(str(name) for name in names if name)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``Retry-After`` (seconds or a date; RFC 9110, 10.2.3)."""
    milliseconds = headers.get("retry-after-ms")
    value = headers.get("retry-after")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        if not value:
            return None
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, TypeError):
        return None
