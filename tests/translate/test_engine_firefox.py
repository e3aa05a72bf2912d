"""Firefox's real en-pt and pt-en weights, and how folders of models are recognised."""

import hashlib
import json
import shutil
import struct
import threading
from pathlib import Path

import pytest

from chatroom.errors import ModelUnavailable
from translate.engine_firefox import FirefoxEngine, find_pairs
from translate.packages_firefox import choose, install_pair


def zstd(data: bytes) -> bytes:
    """A zstd frame of raw blocks (RFC 8878, 3.1.1): what Mozilla's attachments are, unpressed."""
    out = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
    blocks = [data[i : i + 100_000] for i in range(0, len(data), 100_000)] or [b""]
    for index, block in enumerate(blocks):
        last = index == len(blocks) - 1
        out += struct.pack("<I", len(block) << 3 | last)[:3] + block
    return out


def test_both_directions_translate(models_root: Path) -> None:
    engine = FirefoxEngine(models_root)
    assert engine.pairs() == {("en", "pt"), ("pt", "en")}
    (portuguese,) = engine.translate(["Good morning, how are you today?"], "en", "pt")
    assert portuguese == "Bom dia, como você está hoje?"
    english = engine.translate(["A reunião começa às nove horas.", "Obrigado."], "pt", "en")
    assert english == ["The meeting begins at nine o'clock.", "Thank you very much."]
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.translate(["Thanks."], "en", "pt")


def test_threads_may_share_an_engine(models_root: Path) -> None:
    engine = FirefoxEngine(models_root)
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(engine.translate(["Thanks."], "en", "pt")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(answers) == 4
    engine.close()


def test_folders_are_recognised_by_mozillas_names(tmp_path: Path) -> None:
    def make(folder: str, *names: str) -> None:
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()

    make("en-zh", "model.enzh.intgemm.alphas.bin", "srcvocab.enzh.spm", "trgvocab.enzh.spm")
    make("anything", "model.deen.intgemm.alphas.bin", "vocab.deen.spm", "lex.50.50.deen.s2t.bin")
    make("es-en", "model.esen.intgemm.alphas.bin")
    make("fr-en", "model.fren.bin", "srcvocab.fren.spm")
    make(".get-x", "model.iten.bin", "vocab.iten.spm")
    found = find_pairs(tmp_path)
    assert set(found) == {("en", "zh"), ("de", "en")}
    assert found["en", "zh"].target_vocabulary.name == "trgvocab.enzh.spm"
    assert found["de", "en"].source_vocabulary == found["de", "en"].target_vocabulary
    assert find_pairs(tmp_path / "nowhere") == {}


def test_a_broken_model_is_a_clear_error_and_refresh_sees_what_changed(tmp_path: Path) -> None:
    engine = FirefoxEngine(tmp_path)
    assert engine.pairs() == set()
    folder = tmp_path / "firefox" / "en-pt"
    folder.mkdir(parents=True)
    (folder / "model.enpt.bin").write_bytes(b"broken")
    (folder / "vocab.enpt.spm").write_bytes(b"broken")
    engine.refresh()
    assert engine.pairs() == {("en", "pt")}
    with pytest.raises(ModelUnavailable, match="chatroom models verify"):
        engine.load("en", "pt")
    shutil.rmtree(folder)
    engine.refresh()
    assert engine.pairs() == set()
    engine.close()


def record(name: str, kind: str, version: str = "2.0", **more: object) -> dict[str, object]:
    return {
        "name": name,
        "fileType": kind,
        "sourceLanguage": "en",
        "targetLanguage": "zh-Hans",
        "version": version,
        "architecture": "base",
        "decompressedHash": "00",
        "attachment": {"location": f"w/{name}", "size": 1},
        **more,
    }


def test_the_best_whole_released_model_is_chosen() -> None:
    records = [
        record("old.bin", "model", "1.9"),
        record("old.spm", "vocab", "1.9"),
        record("good.bin", "model"),
        record("good.src.spm", "srcvocab"),
        record("good.trg.spm", "trgvocab"),
        record("tiny.bin", "model", architecture="tiny"),
        record("tiny.spm", "vocab", architecture="tiny"),
        record("half.bin", "model", "2.1"),
        record("half.spm", "srcvocab", "2.1"),
        record("alpha.bin", "model", "3.0a1"),
        record("alpha.spm", "vocab", "3.0a1"),
        record("hant.bin", "model", "4.0", targetLanguage="zh-Hant"),
        record("hant.spm", "vocab", "4.0", targetLanguage="zh-Hant"),
        record("../evil.bin", "model", "5.0"),
        record("evil.spm", "vocab", "5.0"),
        {"name": "broken"},
        None,
    ]
    chosen = choose(records, "en", "zh")
    assert [file.name for file in chosen] == ["good.bin", "good.src.spm", "good.trg.spm"]
    assert choose(records, "zh", "en") == []
    assert choose("nonsense", "en", "zh") == []


def test_a_pair_of_firefoxs_list_is_installed(models_root: Path, tmp_path: Path, web) -> None:
    """The real en-pt weights, served in the form of Mozilla's list and attachments."""
    files = {"vocab": "vocab.enpt.spm", "model": "model.enpt.intgemm.alphas.bin"}
    records = []
    for kind, name in files.items():
        data = (models_root / "firefox" / "en-pt" / name).read_bytes()
        web.files[f"/w/{name}"] = zstd(data)
        records.append(
            record(
                name,
                kind,
                targetLanguage="pt",
                decompressedHash=hashlib.sha256(data).hexdigest(),
                attachment={"location": f"w/{name}", "size": len(zstd(data))},
            )
        )
    web.files["/records"] = json.dumps({"data": records}).encode()
    told: list[tuple[str, int, int]] = []
    install_pair(
        "en",
        "pt",
        tmp_path,
        records=f"{web.url}/records",
        attachments=web.url,
        tell=lambda *step: told.append(step),
    )
    engine = FirefoxEngine(tmp_path)
    said = engine.translate(["Thank you very much for your help."], "en", "pt")
    assert said == ["Muito obrigado pela sua ajuda."]
    engine.close()
    assert told[-1][1] == told[-1][2]

    records[0]["decompressedHash"] = "00" * 32
    web.files["/records"] = json.dumps({"data": records}).encode()
    with pytest.raises(ModelUnavailable, match=r"vocab\.enpt\.spm .* is broken"):
        install_pair("en", "pt", tmp_path / "b", records=f"{web.url}/records", attachments=web.url)
    assert find_pairs(tmp_path / "b" / "firefox") == {}
    with pytest.raises(ModelUnavailable, match="no model en to de"):
        install_pair("en", "de", tmp_path, records=f"{web.url}/records", attachments=web.url)
