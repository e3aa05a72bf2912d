"""Every caption setting is declared whole."""

from dataclasses import fields

from chatroom.settings import default_of, setting_info
from translate.settings import CaptionSettings


def test_each_setting_has_help_and_a_default_within_its_bounds() -> None:
    for field in fields(CaptionSettings):
        info = setting_info(field)
        default = default_of(field)
        assert info.help.endswith((".", ")")), field.name
        assert info.minimum is None or default >= info.minimum, field.name
        assert info.maximum is None or default <= info.maximum, field.name
        if field.name.endswith(("_ms", "_s")):
            assert info.unit in {"ms", "s"}, field.name
