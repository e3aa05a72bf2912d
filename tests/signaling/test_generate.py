"""Generated files in the repository are what the declarations say now."""

import pytest

from chatroom.protocol import COMMANDS, EVENTS, RECORDS, REPLIES
from signaling.generate import GENERATED, ROOT


@pytest.mark.parametrize("path", GENERATED)
def test_the_checked_in_file_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == GENERATED[path](), (
        f"{path} differs: run python -m signaling.generate"
    )


def test_every_message_is_on_the_page() -> None:
    page = GENERATED["docs/protocol.md"]()
    for kind in (*COMMANDS, *EVENTS, *REPLIES):
        assert f"\n### {kind.__struct_config__.tag}\n" in page
    for record in RECORDS:
        assert f"\n### {record.__name__}\n" in page
