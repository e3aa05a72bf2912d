"""Every error has a status; incidents are logged at a bounded rate."""

import json
import logging

import pytest
import redis.exceptions

from chatroom import errors
from chatroom.errors import ChatroomError, RoomFull, Unavailable
from signaling import problems
from signaling.problems import STATUS, Incidents, as_known, problem


def kinds(base: type[ChatroomError] = ChatroomError) -> list[type[ChatroomError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


def test_every_code_has_a_status() -> None:
    assert errors
    assert problems
    assert {k.code for k in kinds() if k.__module__ in (errors.__name__, problems.__name__)} == set(
        STATUS
    )


def test_the_body_of_a_problem() -> None:
    response = problem(RoomFull("No more room.", retry_after_s=1.2))
    assert response.status == 503
    assert response.content_type == "application/problem+json"
    assert response.headers["Retry-After"] == "2"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "urn:chatroom:problem:room_full",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "No more room.",
        "code": "room_full",
    }


def fault() -> Exception:
    try:
        raise ValueError("token=secret")
    except ValueError as error:
        return error


def test_a_cause_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    incidents = Incidents(clock=lambda: now[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            reported = incidents.report(fault(), "GET /")
        assert len(caplog.records) == 1
        now[0] = 61.0
        reported = incidents.report(fault(), "GET /")
        assert len(caplog.records) == 2
        assert "4 more" in caplog.records[1].getMessage()
    assert reported.code == "internal"
    assert "secret" not in reported.message
    assert incidents.count == 6


def test_refusals_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    incidents = Incidents(clock=lambda: 0.0)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            as_known(errors.BadOffer("This is no SDP."), incidents, "POST /rooms/{room}/whip")
        as_known(errors.NoOpus("No Opus."), incidents, "POST /rooms/{room}/whip")
    assert incidents.refused == {"bad_offer": 5, "no_opus": 1}
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]


def test_redis_away_is_unavailable() -> None:
    incidents = Incidents()
    error = as_known(redis.exceptions.ConnectionError("x"), incidents, "x")
    assert isinstance(error, Unavailable)
    assert incidents.count == 0
