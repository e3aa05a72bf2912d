"""Errors: codes are stable, unique and drawn in the module's text."""

from chatroom import errors
from chatroom.errors import ChatroomError


def every(kind: type[ChatroomError]) -> list[type[ChatroomError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in every(child))]


def test_codes_are_unique_and_the_tree_is_whole() -> None:
    kinds = [kind for kind in every(ChatroomError) if kind.__module__ == errors.__name__]
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.__name__ in (errors.__doc__ or "")


def test_message_and_retry() -> None:
    error = errors.TooManyRequests("Wait a little.", retry_after_s=2)
    assert (str(error), error.message, error.retry_after_s) == (error.message,) * 2 + (2,)
