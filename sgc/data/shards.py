"""The files of a source of many: by a list, a pattern, a folder or a range of numbers, here or in a store far away.

Files far away are opened through fsspec, whose packages take credentials from where the store's own tools look for
them: the environment, or files of the user's. None of them stands in a spec.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from sgc.data.file_search import find_file, look_for
from sgc.errors import DataError, check_regular

SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
"""What a file far away may be named by, and the package that reaches it."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
_NUMBERED = re.compile(r"((?:.*[/\\])?[^/\\]*?)([0-9]+)-of-([0-9]{1,18})([^/\\]*)", re.DOTALL)  # a file, not its folder
MOST = 1_000_000  # names that braces may stand for


@dataclass(frozen=True)
class Shard:
    """One file: its name as it is shown, how many bytes it has, and what opens it."""

    name: str
    size: int
    path: Path | None = None  # None: far away
    tag: str = ""  # what the store says of its version
    system: Any = field(default=None, compare=False, repr=False)  # Any: fsspec's, which is not annotated

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open it for reading at any place. Raises: DataError, also for what goes wrong inside."""
        try:
            if self.path is not None:
                with open(self.path, "rb") as file:
                    yield file
            else:
                with self.system.open(self.name, "rb") as far:
                    yield cast(IO[bytes], far)
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", file=self.name) from error


def scheme_of(name: str) -> str | None:
    """Give the scheme of a name that is an address; None of a path. A drive's letter is none."""
    found = _SCHEME.match(name)
    if found:
        return found[1].lower()
    return name.partition("::")[0] if "::" in name and "://" in name else None  # fsspec's chains, which are refused


def fault_of_address(name: str) -> str | None:
    """Say what is wrong with an address in a spec, as far as the address alone tells; None where it is none."""
    scheme = scheme_of(name)
    if scheme is None:
        return None
    if "::" in name or scheme not in SCHEMES:
        return f"wanted a path, or an address that begins with {', '.join(f'{known}://' for known in SCHEMES)}"
    host = name.partition("://")[2].partition("/")[0]
    if "@" in host and scheme not in ("abfs", "abfss"):
        return "credentials never stand in a spec: the store's own tools say where they are looked for"
    return None


def expand(name: str) -> list[str]:
    """Write out the braces of a name: ranges of numbers, as wide as they are written, and alternatives.

    >>> expand("train-{08..10}.tar"), expand("{a,b}.tar"), expand("{a}{b,c}")
    (['train-08.tar', 'train-09.tar', 'train-10.tar'], ['a.tar', 'b.tar'], ['{a}b', '{a}c'])

    Raises: DataError where they stand for none, or for too many.
    """
    names = [name]
    while True:
        written: list[str] = []
        for one in names:
            start, words, stop = _braces(one, name)
            if (len(written) + len(words)) * len(one) > MOST * 256 or len(written) + len(words) > MOST:
                raise DataError(f"braces for too many names, wanted at most {MOST:,}", file=name)
            written += [one[:start] + word + one[stop:] for word in words]
        if written == names:
            return names
        names = written


def _braces(one: str, name: str) -> tuple[int, Sequence[str], int]:
    """Find the first braces to write out, and what they stand for; none are at the end, and stand for ''."""
    for found in _BRACES.finditer(one):
        if span := _RANGE.fullmatch(found[1]):
            first, last, width = int(span[1]), int(span[2]), len(span[1])
            if last < first:
                raise DataError(f"found the range {found[0]}, wanted one that goes up", file=name)
            if last - first >= MOST:
                raise DataError(f"braces for {last - first + 1:,} names, wanted at most {MOST:,}", file=name)
            return found.start(), [f"{number:0{width}}" for number in range(first, last + 1)], found.end()
        if "," in found[1]:
            return found.start(), found[1].split(","), found.end()
    return len(one), [""], len(one)


def find_shards(names: Sequence[str], root: str, beside: Path, endings: Sequence[str]) -> list[Shard]:
    """Find files by their names, sorted by them: paths as `find_file` searches them, patterns, folders, addresses.

    endings: of the files that a folder is searched for.

    Raises:
        DataError: a file that is not there, a pattern or folder without any, or a file of a numbered set that lacks.
    """
    found: dict[str, Shard] = {}
    for written in names:
        for name in expand(written):
            whole = f"{root.rstrip('/')}/{name}" if scheme_of(root) and not scheme_of(name) else name
            listed = _far(whole, endings) if scheme_of(whole) else _near(whole, root, beside, endings)
            found |= {shard.name: shard for shard in listed}
    shards = [found[name] for name in sorted(found)]
    _check_numbered(shards)
    return shards


def _near(name: str, root: str, beside: Path, endings: Sequence[str]) -> list[Shard]:
    if _MAGIC.search(name):
        for folder in dict.fromkeys(Path(place) / root for place in (os.environ.get("SGC_DATA", ""), beside) if place):
            listed = [Path(path) for path in glob.glob(os.path.join(glob.escape(str(folder)), name), recursive=True)]
            files = [path for path in listed if path.is_file() and not _hidden(path.relative_to(folder))]
            if files:
                return [_shard(path) for path in files]
        plain = look_for((name,), root, beside, folders=True)  # whose own name has such letters
        if plain is None:
            raise DataError("no such file: no name fits the pattern", file=str(Path(root, name)))
        return _at(plain, endings)
    return _at(find_file((name,), root, beside, folders=True), endings)


def shards_at(path: Path, endings: Sequence[str]) -> list[Shard]:
    """Give the one file at a path, or those of a folder, sorted by their names. Raises: DataError, as `find_shards`."""
    shards = sorted(_at(path, endings), key=lambda shard: shard.name)
    if path.is_dir():
        _check_numbered(shards)
    return shards


def _at(path: Path, endings: Sequence[str]) -> list[Shard]:
    if not path.is_dir():
        return [_shard(path)]
    inside = [Path(above) / file for above, _, files in os.walk(path) for file in files]
    files = [
        file for file in inside if file.name.lower().endswith(tuple(endings)) and not _hidden(file.relative_to(path))
    ]
    if not files:
        raise DataError(f"found no files that end in {' or '.join(endings)} in the folder", file=str(path))
    return [_shard(file) for file in files]


def _hidden(path: Path) -> bool:
    """Tell a file that writers leave beside their parts: `_SUCCESS`, `.part.crc`."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _shard(path: Path) -> Shard:
    check_regular(path)
    return Shard(str(path), path.stat().st_size, path)


def _far(address: str, endings: Sequence[str]) -> list[Shard]:
    """List files of a store. Raises: DataError."""
    fault = fault_of_address(address)
    if fault:
        raise DataError(fault, file=address)
    scheme = scheme_of(address) or ""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        package = SCHEMES[scheme]
        needed = f"files at {scheme}:// need {package}: pip install 'sgc[parquet]' {package}"
        raise DataError(needed, file=address) from error
    try:
        if _MAGIC.search(path):
            listed = system.glob(path)
        elif system.isfile(path):
            listed = [path]
        else:
            listed = [each for each in system.find(path) if each.lower().endswith(tuple(endings))]
        infos = [system.info(each) for each in listed]
    except Exception as error:  # every store raises its own kinds
        words = " ".join(str(error).split())[:200]
        raise DataError(f"cannot be listed: {words or type(error).__name__}", file=address) from error
    files = [info for info in infos if info.get("type", "file") == "file"]
    if not files:
        raise DataError(f"no such file, or none that ends in {' or '.join(endings)}", file=address)
    shards = []
    for info in files:
        tag = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or "")
        shards.append(Shard(system.unstrip_protocol(info["name"]), int(info.get("size") or 0), None, tag, system))
    return shards


def _check_numbered(shards: Sequence[Shard]) -> None:
    """Check that of files `NAME-00003-of-00010` all are there. Raises: DataError."""
    sets: dict[tuple[str, str, str], set[int]] = {}
    for shard in shards:
        found = _NUMBERED.fullmatch(shard.name)
        if found:
            sets.setdefault((found[1], found[3], found[4]), set()).add(int(found[2]))
    for (before, count, after), numbers in sets.items():
        first = 1 if 0 not in numbers and int(count) in numbers else 0
        lacking = [number for number in range(first, first + min(int(count), MOST)) if number not in numbers]
        if lacking:
            name = f"{before}{lacking[0]:0{len(count)}}-of-{count}{after}"
            raise DataError(f"no such file: found {len(numbers)} of the {int(count)} files of its set", file=name)
