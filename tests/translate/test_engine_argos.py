"""Argos packages of random weights: installed, found, run; nothing downloaded, home untouched."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chatroom.errors import ModelUnavailable
from translate.engine_argos import ArgosEngine, find_packages, split_sentences
from translate.packages_argos import install_file, install_pair


def test_sentences_end_where_they_should() -> None:
    assert split_sentences("Good morning. How are you?") == ["Good morning.", "How are you?"]
    assert split_sentences("今天很冷。你好吗？好！") == ["今天很冷。", "你好吗？", "好！"]
    assert split_sentences("It costs 3.5 euros. Yes") == ["It costs 3.5 euros.", "Yes"]
    assert split_sentences("no full stop") == ["no full stop"]
    assert split_sentences("...") == ["..."]
    assert split_sentences('He said "stop!" Then he left.') == ['He said "stop!"', "Then he left."]


def test_a_local_package_is_installed_found_and_run(tmp_path: Path, argos_package) -> None:
    assert install_file(argos_package("en", "es"), tmp_path) == ("en", "es")
    engine = ArgosEngine(tmp_path)
    assert engine.pairs() == {("en", "es")}
    engine.load("en", "es")
    first = engine.translate(["hello world", "good morning. thank you"], "en", "es")
    assert len(first) == 2
    assert all(isinstance(line, str) for line in first)
    assert engine.translate(["hello world"], "en", "es") == first[:1]
    engine.close()


def test_nothing_is_written_to_the_home_and_nothing_is_asked_of_the_network(
    tmp_path: Path, argos_package
) -> None:
    install_file(argos_package("en", "es"), tmp_path / "models")
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import socket, pathlib\n"
        "def refuse(*a, **k): raise AssertionError('asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from translate.engine_argos import ArgosEngine\n"
        f"engine = ArgosEngine(pathlib.Path({str(tmp_path / 'models')!r}))\n"
        "print(len(engine.translate(['hello world. thank you.'], 'en', 'es')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "1", done.stderr
    assert list(home.iterdir()) == []


def test_the_newest_package_of_the_index_is_installed(tmp_path: Path, argos_package, web) -> None:
    file = argos_package("en", "es")
    web.files["/es.argosmodel"] = file.read_bytes()
    web.files["/index.json"] = json.dumps(
        [
            {
                "from_code": "en",
                "to_code": "es",
                "package_version": "1.9",
                "links": ["ipfs://x", f"{web.url}/old.argosmodel"],
            },
            {
                "from_code": "en",
                "to_code": "es",
                "package_version": "1.10",
                "links": [f"{web.url}/gone.argosmodel", f"{web.url}/es.argosmodel"],
            },
            {"from_code": "en", "to_code": "de", "package_version": "1", "links": ["http://x"]},
            "nonsense",
        ]
    ).encode()
    index = f"{web.url}/index.json"
    assert install_pair("en", "es", tmp_path, index=index) == ("en", "es")
    assert set(find_packages(tmp_path / "argos")) == {("en", "es")}
    assert [path for path, _ in web.seen] == ["/index.json", "/gone.argosmodel", "/es.argosmodel"]
    with pytest.raises(ModelUnavailable, match="no package zh to en"):
        install_pair("zh", "en", tmp_path, index=index)
    with pytest.raises(ModelUnavailable, match="404"):
        install_pair("zh", "en", tmp_path, index=f"{web.url}/nowhere.json")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({}, "one folder at its top"),
        ({"p/metadata.json": b"{}"}, "no usable from_code"),
        ({"p/metadata.json": b"[]"}, "no object"),
        ({"p/metadata.json": b'{"from_code": "../x", "to_code": "en"}'}, "no usable from_code"),
        ({"../evil": b"", "p/metadata.json": b"{}"}, "outside itself"),
        ({"/evil": b"", "p/metadata.json": b"{}"}, "outside itself"),
        ({"a/x": b"", "b/x": b""}, "one folder at its top"),
        ({"p/metadata.json": b'{"from_code": "en", "to_code": "es"}'}, "model.bin"),
    ],
)
def test_what_is_no_package_is_refused(tmp_path: Path, names, why: str) -> None:
    file = tmp_path / "bad.argosmodel"
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in names.items():
            archive.writestr(name, body)
    with pytest.raises(ModelUnavailable, match=why):
        install_file(file, tmp_path / "models")
    assert list((tmp_path / "models" / "argos").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_what_is_no_zip_is_refused_and_broken_folders_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "bad.argosmodel"
    file.write_bytes(b"not a zip")
    with pytest.raises(ModelUnavailable, match="no Argos package"):
        install_file(file, tmp_path)
    (tmp_path / "argos" / "half" / "model").mkdir(parents=True)
    (tmp_path / "argos" / "half" / "metadata.json").write_text("{")
    assert ArgosEngine(tmp_path).pairs() == set()


def test_a_package_broken_on_the_disk_is_a_clear_error(tmp_path: Path, argos_package) -> None:
    install_file(argos_package("en", "es"), tmp_path)
    (tmp_path / "argos" / "en_es" / "model" / "model.bin").write_bytes(b"broken")
    with pytest.raises(ModelUnavailable, match="chatroom models add en es"):
        ArgosEngine(tmp_path).translate(["hello"], "en", "es")
