"""The configuration file, the environment, and what is said about mistakes."""

from pathlib import Path

import pytest

from chatroom.settings import setting_info, settings_of
from signaling.config import SECTIONS, Config, ConfigError, load
from signaling.config_docs import default_file


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}) == Config()


def test_the_default_file_says_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, default_file()), environ={}) == Config()


def test_config_toml_of_the_working_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = 9\n")
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).server.port == 9


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nport = 9000\nhost = "::1"\nworker = true\n')
    environ = {
        "CHATROOM_SERVER_PORT": "9001",
        "CHATROOM_SERVER_WORKER": "off",
        "CHATROOM_MEDIA_CONSENT_TIMEOUT_S": "2.5",
        "CHATROOM_MEDIA_ADVERTISE": "192.0.2.1, 2001:db8::1",
        "CHATROOM_REDIS_URL": "redis://127.0.0.1",
        "HOME": "/",
    }
    config = load(path, environ)
    assert (config.server.port, config.server.host, config.server.worker) == (9001, "::1", False)
    assert config.media.consent_timeout_s == 2.5
    assert config.media.advertise == ["192.0.2.1", "2001:db8::1"]
    assert config.redis.url == "redis://127.0.0.1"


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nheartbeat_s = 20\n")
    assert load(path, {}).server.heartbeat_s == 20.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", ["unknown key server.prot", "port", "host"]),
        ("[sever]\nport = 1\n", ["unknown section [sever]", "[server]"]),
        ("port = 1\n", ["unknown section [port]"]),
        ("[server]\nport = 70000\n", ["server.port = 70000", "from 0 to 65535"]),
        ("[server]\nport = true\n", ["server.port = True", "a whole number"]),
        ('[server]\nport = "x"\n', ["server.port = 'x'", "a whole number"]),
        ("[server]\nheartbeat_s = nan\n", ["server.heartbeat_s", "a number of at least 1"]),
        ("[server]\nheartbeat_s = inf\n", ["server.heartbeat_s", "a number of at least 1"]),
        ('[server]\nlog_level = "loud"\n', ["server.log_level = 'loud'", '"debug", "info"']),
        ("[server]\nworker = 1\n", ["server.worker = 1", "true or false"]),
        ("[server]\nallowed_origins = [1]\n", ["server.allowed_origins", "a list of texts"]),
        ("[server\n", ["is not TOML"]),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CHATROOM_SERVER_PORT", "eighty", ["server.port = 'eighty'", "a whole number"]),
        ("CHATROOM_SERVER_WORKER", "maybe", ["server.worker", "true or false"]),
        ("CHATROOM_SERVER_PROT", "1", ["unknown key server.prot"]),
        ("CHATROOM_NOWHERE_PORT", "1", ["unknown section", "CHATROOM_SERVER_"]),
    ],
)
def test_a_mistake_in_the_environment_is_named(
    tmp_path: Path, variable: str, value: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, ""), {variable: value})
    for word in [variable, *words]:
        assert word in str(caught.value)


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "[server]\nice_servers = [[7654321]]\n"), {})
    assert "7654321" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_every_setting_is_declared_with_help() -> None:
    for section in SECTIONS.values():
        for field in settings_of(section):
            assert setting_info(field).help.strip().endswith((".", ":", "...")), field.name
