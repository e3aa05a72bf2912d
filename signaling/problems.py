"""Errors as HTTP tells them: problem details (RFC 9457), one shape for everything.

The `code` and the sentence are the ones of `chatroom.errors`, so a client sees the same in a
WebSocket's `error` message. Errors that only HTTP knows are defined here.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
import redis.exceptions
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from chatroom.errors import ChatroomError, Unavailable

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:chatroom:problem:"
_MAX_CAUSES = 1000


class UnsupportedMediaType(ChatroomError):
    """A body of another content type than the address takes."""

    code = "unsupported_media_type"


class MethodNotAllowed(ChatroomError):
    """The address does not take this method."""

    code = "method_not_allowed"


class PreconditionFailed(ChatroomError):
    """An If-Match that does not name the session's present ETag."""

    code = "precondition_failed"


class PreconditionRequired(ChatroomError):
    """A request that needs an If-Match and has none."""

    code = "precondition_required"


class InternalError(ChatroomError):
    """A fault of the server; the message carries an incident id that is in the log."""

    code = "internal"


STATUS: dict[str, int] = {
    "error": 400,
    "bad_request": 400,
    "bad_message": 400,
    "too_large": 413,
    "bad_offer": 400,
    # RFC 9725 leaves the choice for an offer that is understood and cannot be met: what is
    # offered has nothing acceptable in it, so 406.
    "no_opus": 406,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "room_not_found": 404,
    "session_not_found": 404,
    "participant_not_found": 404,
    "room_ended": 410,
    "conflict": 409,
    "stage_full": 409,
    "cursor_too_old": 409,
    "room_full": 503,
    "too_many_requests": 429,
    "language_unavailable": 422,
    "lease_lost": 409,
    "translation_rejected": 422,
    "unavailable": 503,
    "model_unavailable": 503,
    "unsupported_media_type": 415,
    "method_not_allowed": 405,
    "precondition_failed": 412,
    "precondition_required": 428,
    "internal": 500,
}
"""Error code to HTTP status."""

_RETRY_AFTER_S = {"room_full": 5.0, "too_many_requests": 5.0, "unavailable": 2.0}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def status_of(error: ChatroomError) -> int:
    """The HTTP status of an error; a code without one is a bad request."""
    return STATUS.get(error.code, 400)


def retry_after_of(error: ChatroomError) -> float | None:
    """Seconds after which trying again can help, if it can."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return _RETRY_AFTER_S.get(error.code)


def problem(error: ChatroomError) -> web.Response:
    """The response for an error: `{type, title, status, detail, code}`."""
    status = status_of(error)
    return problem_of(status, error.code, error.message, retry_after_of(error))


def problem_of(
    status: int, code: str, detail: str, retry_after_s: float | None = None
) -> web.Response:
    body = {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    response = web.Response(
        status=status, body=msgspec.json.encode(body), content_type=PROBLEM_JSON
    )
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after_s))
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="chatroom"'
    return response


class Incidents:
    """Turns unknown exceptions into errors with an incident id; logs each cause once a minute,
    with how often it was left out."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}
        self.count = 0
        self.refused: dict[str, int] = {}
        """Errors that clients caused, by code."""

    def refuse(self, error: ChatroomError, where: str) -> None:
        """Count what a client did wrong; each code and place is logged once a minute."""
        self.refused[error.code] = self.refused.get(error.code, 0) + 1
        left_out = self._due(f"{where}:{error.code}")
        if left_out is not None:
            level = logging.WARNING if status_of(error) >= 500 else logging.INFO
            log.log(level, "refused in %s: %s: %s%s", where, error.code, error.message, left_out)

    def report(self, error: BaseException, where: str) -> InternalError:
        """What to tell the client. `where` names the part, without anything personal."""
        self.count += 1
        incident = secrets.token_hex(4)
        cause = f"{where}:{type(error).__name__}:{_place(error)}"
        left_out = self._due(cause)
        if left_out is not None:
            log.error("incident %s in %s%s", incident, where, left_out, exc_info=error)
        return InternalError(f"Something went wrong here. Incident {incident} is in the log.")

    def _due(self, cause: str) -> str | None:
        """None when the cause was logged lately; otherwise what to say of those left out."""
        now = self._clock()
        last, left_out = self._seen.get(cause, (-math.inf, 0))
        if now - last < self._every_s:
            self._seen[cause] = (last, left_out + 1)
            return None
        if len(self._seen) >= _MAX_CAUSES:
            self._seen.clear()
        self._seen[cause] = (now, 0)
        return f" ({left_out} more of the kind were not logged)" if left_out else ""


def _place(error: BaseException) -> str:
    """File and line where an exception was raised."""
    trace = error.__traceback__
    if trace is None:
        return "?"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def as_known(error: Exception, incidents: Incidents, where: str) -> ChatroomError:
    """The error to show for any exception: itself if it is one of ours, which is counted,
    Unavailable when Redis is away, an incident otherwise."""
    if isinstance(error, ChatroomError):
        incidents.refuse(error, where)
        return error
    if isinstance(
        error,
        redis.exceptions.ConnectionError
        | redis.exceptions.TimeoutError
        | redis.exceptions.BusyLoadingError,
    ):
        log.debug("redis is away: %s", error)
        return Unavailable("The room store cannot be reached just now.", retry_after_s=2.0)
    return incidents.report(error, where)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def errors_middleware(incidents: Incidents) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Middleware that answers every error as a problem, also those of the router and of
    aiohttp's own body limit."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return problem_of(413, "too_large", "The body is over the limit.")
        except web.HTTPException as error:
            if error.status < 400:
                raise
            code = _HTTP_CODES.get(error.status, "error")
            response = problem_of(error.status, code, _sentence(error.status, error.reason))
            allow = error.headers.get("Allow")
            if allow is not None:
                response.headers["Allow"] = allow
            return response
        except ConnectionResetError:
            # Gone before the body was whole: nobody reads this, and nothing is wrong here.
            return problem_of(400, "bad_request", "The connection was lost.")
        except (web.RequestPayloadError, HttpProcessingError):
            return problem_of(400, "bad_request", "The body cannot be read as its headers say.")
        except Exception as error:
            route = request.match_info.route.resource
            where = f"{request.method} {route.canonical if route is not None else '?'}"
            return problem(as_known(error, incidents, where))

    return middleware


def _sentence(status: int, reason: str) -> str:
    if status == 404:
        return "There is nothing at this address."
    if status == 405:
        return "This address does not take this method."
    return f"{reason}."
