"""How settings are declared, and that ours are: a default inside its bounds, and a sentence."""

from dataclasses import dataclass, field, fields

import pytest

from chatroom.redis_settings import RedisSettings
from chatroom.room_settings import RoomSettings
from chatroom.settings import default_of, setting, setting_info, settings_of


@dataclass(frozen=True)
class Section:
    many: list[str] = setting(["a"], "Some.")
    one: int = setting(3, "One.", unit="s", minimum=1, maximum=5, choices=(3, 4), secret=True)
    plain: int = field(default=1)


def test_declaration_is_kept() -> None:
    many, one, plain = settings_of(Section)
    assert default_of(many) == ["a"]
    assert Section().many is not Section().many
    info = setting_info(one)
    assert (info.help, info.unit, info.minimum, info.maximum) == ("One.", "s", 1, 5)
    assert (info.choices, info.secret) == ((3, 4), True)
    assert default_of(plain) == 1
    with pytest.raises(KeyError):
        setting_info(plain)


@pytest.mark.parametrize("section", [RedisSettings, RoomSettings])
def test_defaults_are_allowed_and_explained(section: type) -> None:
    for declared in fields(section):
        info, default = setting_info(declared), default_of(declared)
        assert info.help.endswith((".", ". "))
        assert info.minimum is None or default >= info.minimum
        assert info.maximum is None or default <= info.maximum
        assert info.choices is None or default in info.choices
