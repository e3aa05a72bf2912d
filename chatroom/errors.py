"""Every error that a client or an operator can cause, each with a stable code.

::

    ChatroomError
    ├── BadRequest            what was sent cannot be understood
    │   ├── BadMessage        a message breaks the schema
    │   ├── TooLarge          a body, message or text is over its limit
    │   ├── BadOffer          an SDP offer that cannot be answered
    │   └── NoOpus            an SDP offer without Opus
    ├── Unauthorized          no token, a forged one, or an expired one
    ├── Forbidden             the role may not do this
    ├── NotFound
    │   ├── RoomNotFound
    │   ├── SessionNotFound
    │   └── ParticipantNotFound
    ├── RoomEnded             the room was there and is over
    ├── Conflict              true when asked, not any more; or an ETag that does not match
    │   ├── StageFull
    │   ├── CursorTooOld     events since then are not kept any more: start anew
    │   └── LeaseLost        another worker holds the room now
    ├── RoomFull
    ├── TooManyRequests
    ├── LanguageUnavailable   no model captions or translates this language
    ├── TranslationRejected   what the model answered is no translation; the original is shown
    └── Unavailable           a part that this needs is down (Redis, worker)
        └── ModelUnavailable  the files of a model cannot be had or do not match their hash

`code` never changes once released; the message is for people and may. `retry_after_s` is set
where trying again can help.
"""

from __future__ import annotations

from typing import ClassVar


class ChatroomError(Exception):
    """Base of every error that is shown to somebody."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class BadRequest(ChatroomError):
    code = "bad_request"


class BadMessage(BadRequest):
    code = "bad_message"


class TooLarge(BadRequest):
    code = "too_large"


class BadOffer(BadRequest):
    code = "bad_offer"


class NoOpus(BadRequest):
    code = "no_opus"


class Unauthorized(ChatroomError):
    code = "unauthorized"


class Forbidden(ChatroomError):
    code = "forbidden"


class NotFound(ChatroomError):
    code = "not_found"


class RoomNotFound(NotFound):
    code = "room_not_found"


class SessionNotFound(NotFound):
    code = "session_not_found"


class ParticipantNotFound(NotFound):
    code = "participant_not_found"


class RoomEnded(ChatroomError):
    code = "room_ended"


class Conflict(ChatroomError):
    code = "conflict"


class StageFull(Conflict):
    code = "stage_full"


class CursorTooOld(Conflict):
    code = "cursor_too_old"


class LeaseLost(Conflict):
    code = "lease_lost"


class RoomFull(ChatroomError):
    code = "room_full"


class TooManyRequests(ChatroomError):
    code = "too_many_requests"


class LanguageUnavailable(ChatroomError):
    code = "language_unavailable"


class Unavailable(ChatroomError):
    code = "unavailable"


class TranslationRejected(ChatroomError):
    code = "translation_rejected"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"
