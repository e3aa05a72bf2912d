"""What a flood leaves in the log."""

import logging

import pytest

from media.bounded_log import BoundedLog


def test_the_first_of_a_cause_and_then_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = BoundedLog(logging.getLogger("flood"), lambda: now[0])
    for second in range(21):
        now[0] = float(second)
        log.note("srtp_auth", f"from {second}")
    log.note("other", "once", ValueError("why"))
    assert [r.getMessage() for r in caplog.records] == [
        "srtp_auth (1): from 0",
        "srtp_auth (10): from 10",
        "srtp_auth (10): from 20",
        "other (1): once",
    ]
    assert caplog.records[-1].exc_info is not None
