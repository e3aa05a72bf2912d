"""The models on disk: what the catalogue declares, what is there, what is whole.

A model is a folder of files under the models' root (`data/models`). A file gets its name only
after its SHA-256 was right (`translate.fetch`), so a file of the right size under its name is a
good file; `verify` reads them all again for those who doubt their disk.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from chatroom.errors import NotFound

Kind = Literal["recogniser", "translation", "llm"]
SourceKind = Literal["mirror", "official", "registry"]
SOURCE_ORDER: tuple[SourceKind, ...] = ("mirror", "official", "registry")
DEFAULT_LLM = "qwen2.5-coder-1.5b-instruct"

_CATALOGUE = Path(__file__).with_name("catalogue.toml")
_READ = 1 << 20


class ModelNotFound(NotFound):
    """No model of that name in the catalogue."""

    code = "model_not_found"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; `path` is relative to the model's folder, `size` in bytes."""

    path: str
    sha256: str
    size: int
    official: str = ""
    registry: tuple[str, ...] = ()
    """`pypi:NAME==VERSION:path/in/wheel`, joined in this order."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the catalogue."""

    name: str
    kind: Kind
    folder: str
    """Below the models' root."""
    title: str
    licence: str
    files: tuple[ModelFile, ...]
    languages: tuple[str, ...] = ()
    """What a recogniser hears; "*" for every language that it names itself."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Source and target of what it translates."""
    default: bool = False
    """Fetched at the first start."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is, in bytes. `done` and `total` count everything asked for in one call,
    what was there already included."""

    model: str
    file: str
    file_done: int
    file_total: int
    done: int
    total: int
    source: str = ""

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 1.0


OnProgress = Callable[[Progress], None]


def parse_catalogue(text: str) -> dict[str, Model]:
    """The models of a catalogue in TOML, by name, in its order. Raises ValueError where an
    entry lacks a field or says nonsense."""
    models: dict[str, Model] = {}
    for entry in tomllib.loads(text).get("model", []):
        model = _model(entry)
        if model.name in models:
            raise ValueError(f"model {model.name} is there twice")
        models[model.name] = model
    return models


def _model(entry: dict[str, Any]) -> Model:
    try:
        return Model(
            name=entry["name"],
            kind=entry["kind"],
            folder=_inside(entry["folder"]),
            title=entry["title"],
            licence=entry["licence"],
            languages=tuple(entry.get("languages", ())),
            pairs=tuple(_pair(pair) for pair in entry.get("pairs", ())),
            default=bool(entry.get("default", False)),
            files=tuple(
                ModelFile(
                    path=_inside(file["path"]),
                    sha256=file["sha256"],
                    size=int(file["size"]),
                    official=file.get("official", ""),
                    registry=tuple(file.get("registry", ())),
                )
                for file in entry["file"]
            ),
        )
    except KeyError as error:
        raise ValueError(f"model {entry.get('name', '?')} lacks {error}") from None


def _inside(path: str) -> str:
    """A path from the catalogue, or ValueError where it would leave the models' root."""
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts:
        raise ValueError(f"{path!r} is no path below the models' folder")
    return path


def _pair(pair: str) -> tuple[str, str]:
    source, _, target = pair.partition("-")
    if not source or not target:
        raise ValueError(f"{pair!r} is no pair of languages")
    return source, target


@cache
def catalogue() -> Mapping[str, Model]:
    """The catalogue that ships with the package."""
    return parse_catalogue(_CATALOGUE.read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ):
            digest.update(block)
    return digest.hexdigest()


class ModelStore:
    """The models' root on disk.

    `mirror` is the base URL of a re-hosted copy (`<mirror>/<folder>/<file>`), `from_folder` a
    folder of files for machines without a network, `sources` the order in which the kinds of
    sources are tried. Everything here blocks; call `fetch` in a thread.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        models: Mapping[str, Model] | None = None,
        mirror: str = "",
        from_folder: Path | None = None,
        sources: Sequence[SourceKind] = SOURCE_ORDER,
    ) -> None:
        self.root = Path(root)
        self.models = catalogue() if models is None else models
        self.mirror = mirror.rstrip("/")
        self.from_folder = from_folder
        self.sources = tuple(sources)

    def model(self, name: str) -> Model:
        """The catalogue's entry; raises ModelNotFound, which lists the names there are."""
        try:
            return self.models[name]
        except KeyError:
            known = ", ".join(self.models)
            raise ModelNotFound(f"There is no model {name!r}; there are: {known}.") from None

    def folder(self, name: str) -> Path:
        """Where the model's files lie or will lie."""
        return self.root / self.model(name).folder

    def path(self, name: str) -> Path | None:
        """The model's folder if all its files are there, else None."""
        return None if self.missing_files(name) else self.folder(name)

    def missing_files(self, name: str) -> list[ModelFile]:
        """The files that are not there, or not in their full size."""
        folder = self.folder(name)
        return [file for file in self.model(name).files if not _has_size(folder / file.path, file)]

    def defaults(self) -> list[str]:
        """The models fetched at the first start."""
        return [model.name for model in self.models.values() if model.default]

    def installed(self) -> list[str]:
        """The models that are whole."""
        return [name for name in self.models if self.path(name) is not None]

    def fetch(
        self,
        names: str | Iterable[str],
        progress: OnProgress | None = None,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Path]:
        """Bring the named models here and verify them; what is there already is left alone.
        Returns their folders.

        Raises ModelNotFound for an unknown name and ModelUnavailable where no source gave the
        right bytes, or after `cancel` was set. What was fetched so far is kept, and used by the
        next try.
        """
        from translate.fetch import Fetch

        wanted = [self.model(name) for name in ([names] if isinstance(names, str) else names)]
        with Fetch(self, progress, cancel) as fetch:
            fetch.models(wanted)
        return [self.root / model.folder for model in wanted]

    def verify(self, name: str) -> list[str]:
        """Read every file again; what is wrong, one sentence a file, empty when all is well."""
        folder = self.folder(name)
        wrong = []
        for file in self.model(name).files:
            path = folder / file.path
            if not path.is_file():
                wrong.append(f"{path} is not there.")
            elif path.stat().st_size != file.size:
                wrong.append(f"{path} has {path.stat().st_size} bytes, not {file.size}.")
            elif (found := sha256_of(path)) != file.sha256:
                wrong.append(f"{path} has the SHA-256 {found}, not {file.sha256}.")
        return wrong

    def remove(self, name: str) -> bool:
        """Delete a model's files, and its folder where nothing else lies in it. False where
        there was nothing."""
        model = self.model(name)
        folder = self.root / model.folder
        found = False
        for file in model.files:
            path = folder / file.path
            if path.is_file():
                path.unlink()
                found = True
        if found and not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder)
        return found

    def remove_broken(self, name: str) -> None:
        """Delete the files of a model whose bytes are not the catalogue's, so that the next
        fetch brings them again."""
        folder = self.folder(name)
        for file in self.model(name).files:
            path = folder / file.path
            if path.is_file() and sha256_of(path) != file.sha256:
                path.unlink()


def _has_size(path: Path, file: ModelFile) -> bool:
    try:
        return path.stat().st_size == file.size
    except OSError:
        return False
