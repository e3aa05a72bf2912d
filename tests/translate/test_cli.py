"""`chatroom models …` as a person uses it."""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from translate import cli
from translate.models import catalogue


def models(root: Path, *words: str, **options) -> tuple[int, str, str]:
    """Run one command; exit code, standard output, standard error."""
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers(dest="command"))
    args = parser.parse_args(["models", *words])
    out, err = io.StringIO(), io.StringIO()
    code = cli.run(args, root, out=out, err=err, **options)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def copy(models_root: Path, tmp_path: Path) -> Path:
    """The Firefox models in a root of their own, to be broken and removed."""
    shutil.copytree(models_root / "firefox", tmp_path / "firefox")
    return tmp_path


def test_list_shows_everything_and_what_works_now(models_root: Path, tmp_path: Path) -> None:
    code, out, _ = models(models_root, "list")
    assert code == 0
    for name, model in catalogue().items():
        assert name in out
        assert model.licence in out
    now = out.split("Translated now: ")[1]
    assert "en-pt" in now
    assert "pt-en" in now
    assert "Translated now: nothing." in models(tmp_path, "list")[1]


def test_fetch_says_what_is_here_already(models_root: Path) -> None:
    code, out, _ = models(models_root, "fetch")
    assert (code, out) == (0, "Here already: whisper-base, firefox-en-pt, firefox-pt-en.\n")
    assert models(models_root, "fetch", defaults=["whisper-base"])[1].endswith(": whisper-base.\n")


def test_fetch_from_a_folder_shows_progress(models_root: Path, tmp_path: Path) -> None:
    code, out, err = models(tmp_path, "fetch", "firefox-en-pt", "--from", str(models_root))
    assert (code, err) == (0, "")
    assert "100%" in out
    assert f"firefox-en-pt: {tmp_path / 'firefox' / 'en-pt'} (MPL-2.0)" in out
    assert models(tmp_path, "verify") == (0, "firefox-en-pt: ok\n", "")


def test_fetch_from_a_mirror_that_is_a_copy_of_the_folder(
    models_root: Path, tmp_path: Path, web
) -> None:
    for path in (models_root / "firefox" / "en-pt").iterdir():
        web.files[f"/m/firefox/en-pt/{path.name}"] = path.read_bytes()
    code, _, _ = models(tmp_path, "fetch", "firefox-en-pt", mirror=f"{web.url}/m")
    assert code == 0
    assert len(web.seen) == 3


@pytest.mark.parametrize("command", ["fetch", "remove", "verify"])
def test_a_name_that_there_is_not_lists_those_there_are(tmp_path: Path, command: str) -> None:
    code, _, err = models(tmp_path, command, "whisper-bass")
    assert code == 2
    assert "no model 'whisper-bass'; there are: whisper-base, firefox-en-pt" in err


def test_a_fetch_that_fails_names_the_command(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = models(tmp_path, "fetch", "whisper-base", "--from", str(empty))
    assert code == 1
    assert "Run `chatroom models fetch whisper-base` to try again." in err


def test_verify_finds_and_repairs(copy: Path, models_root: Path, web) -> None:
    vocabulary = copy / "firefox" / "pt-en" / "vocab.pten.spm"
    good = vocabulary.read_bytes()
    vocabulary.write_bytes(b"x" + good[1:])
    code, out, err = models(copy, "verify")
    assert code == 1
    assert out == "firefox-en-pt: ok\nfirefox-pt-en: broken\n"
    assert "vocab.pten.spm has the SHA-256" in err
    assert "chatroom models verify --repair firefox-pt-en" in err
    web.files["/firefox/pt-en/vocab.pten.spm"] = good
    assert models(copy, "verify", "--repair", mirror=web.url)[0] == 0
    assert vocabulary.read_bytes() == good
    assert models(copy / "nothing", "verify")[1].startswith("No model is here.")


def test_remove(copy: Path) -> None:
    assert models(copy, "remove", "firefox-pt-en")[1] == "Removed firefox-pt-en.\n"
    assert not (copy / "firefox" / "pt-en").exists()
    assert models(copy, "remove", "firefox-pt-en")[1] == "firefox-pt-en was not here.\n"
    assert "Translated now: en-pt." in models(copy, "list")[1]


def test_add_a_package_from_a_file_list_it_and_remove_it(tmp_path: Path, argos_package) -> None:
    file = argos_package("en", "es")
    code, out, _ = models(tmp_path, "add", "en", "es", "--from", str(file))
    assert (code, out) == (0, "Installed en-es (argos).\n")
    assert "argos-en-es" in models(tmp_path, "list")[1]
    assert models(tmp_path, "add", "en", "es")[1] == "en-es: here already (argos)\n"
    assert models(tmp_path, "remove", "argos-en-es")[0] == 0
    assert "argos-en-es" not in models(tmp_path, "list")[1]


def test_add_from_an_index_both_ways_and_through_english(
    tmp_path: Path, argos_package, web
) -> None:
    entries = []
    for pair in (("es", "en"), ("en", "de")):
        name = f"/{pair[0]}_{pair[1]}.argosmodel"
        web.files[name] = argos_package(*pair).read_bytes()
        entries.append(
            f'{{"from_code": "{pair[0]}", "to_code": "{pair[1]}", "package_version": "1.0",'
            f' "links": ["{web.url}{name}"]}}'
        )
    web.files["/index.json"] = f"[{', '.join(entries)}]".encode()
    where = ["--index", f"{web.url}/index.json", "--records", f"{web.url}/none"]
    code, out, err = models(tmp_path, "add", "es", "de", *where)
    assert (code, err) == (0, "")
    assert "Firefox's list of models at" in out
    assert "Trying through English." in out
    assert out.endswith("en-de: installed (argos)\n")
    code, _, err = models(tmp_path, "add", "es", "en", "--both", "--engine", "argos", *where)
    assert code == 1
    assert "no package en to es" in err


def test_add_a_pair_that_nobody_has_says_what_could_be_done(tmp_path: Path, web) -> None:
    where = ["--index", f"{web.url}/none", "--records", f"{web.url}/none"]
    code, _, err = models(tmp_path, "add", "en", "zh", *where)
    assert code == 1
    assert "chatroom models fetch qwen2.5-coder-1.5b-instruct" in err
    assert "captions.language_model = true" in err
    code, _, err = models(tmp_path, "add", "en", "fi", "--engine", "llm")
    assert code == 1
    assert "it translates en-es, en-zh" in err


def test_add_takes_from_the_catalogue_what_it_has(models_root: Path, tmp_path: Path, web) -> None:
    for path in (models_root / "firefox" / "en-pt").iterdir():
        web.files[f"/firefox/en-pt/{path.name}"] = path.read_bytes()
    code, out, _ = models(tmp_path, "add", "en", "pt-BR", mirror=web.url)
    assert code == 0
    assert out.endswith("en-pt: installed (firefox)\n")


def test_words_that_are_no_languages_are_refused(tmp_path: Path) -> None:
    assert "'english' is no language" in models(tmp_path, "add", "english", "zh")[2]
    assert models(tmp_path, "add", "en", "../x")[0] == 2
    assert models(tmp_path, "add", "zh-TW", "zh")[0] == 2


def test_it_runs_on_its_own(models_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "translate.cli", "--root", str(models_root), "list"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "whisper-base" in done.stdout
