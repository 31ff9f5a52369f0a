"""How long a download takes until its ISO and trees are on disk, as ratios against doing it by hand.

    python bench/image.py [--size 1G] [--payload incompressible] [--runs 5] [--folder .bench] [--ways ours]

The ways of one payload run in turn, A B C A B C ..., from an nginx on this machine, and each ends when all is on disk
(syncfs); the medians are compared, so that the machine's speed and its moods cancel out. "By hand" is curl, sha256sum,
unzip, bsdtar for the ISO, rm; "by strong hands" aria2c, openssl, bsdtar for both. Our own time begins with the call
that the service makes. Exit status 1 when a ratio is above its bound, for sizes of 1G and more: below, the fixed costs
count too much. Memory is the peak of the process (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import image_source as source

PACKAGES = {
    'nginx': 'nginx-light',
    'curl': 'curl',
    'unzip': 'unzip',
    'bsdtar': 'libarchive-tools',
    'aria2c': 'aria2',
    'openssl': 'openssl',
    'sha256sum': 'coreutils',
}
LARGE = 2 * 10**9
JUDGED = 10**9
MEMORY = 100 * 10**6
ROOM = 8
"""So many times the size must be free: the bundle, and what a way leaves while it works."""


@dataclass(frozen=True)
class Way:
    """One way to get the image into ``folder``; returns what it knows of itself."""

    name: str
    run: Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Claim:
    """The first way takes at most ``bound`` of the second's time."""

    ours: str
    theirs: str
    bound: float | None


@dataclass
class Results:
    """Seconds of each way, run after run, and what our process said of itself."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def main() -> int:
    """Run what is asked for; return the exit status."""
    arguments = parsed()
    missing = [package for program, package in PACKAGES.items() if not found(program)]
    if missing:
        raise SystemExit(f'programs are missing; on Debian: apt-get install {" ".join(missing)}')
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < ROOM * arguments.size:
        raise SystemExit(f'{folder} needs {ROOM * arguments.size / 1e9:.1f} GB free; name another --folder')
    kinds = [arguments.payload] if arguments.payload else list(source.KINDS)
    runs = arguments.runs or (3 if arguments.size >= LARGE else 5)
    failed = False
    for kind in kinds:
        path = source.bundle(folder, kind, arguments.size)
        print(f'\n{kind}: {arguments.size / 1e9:.2f} GB, packed {path.stat().st_size / arguments.size:.2f} of it')
        with source.served(folder) as served:
            ways, claims = chosen(*plan(kind, path, served, folder, arguments.size), arguments.ways)
            failed |= not report(measured(ways, runs, folder / 'run'), claims, arguments.size)
    if not arguments.keep:
        shutil.rmtree(folder)
    return int(failed)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--size', type=bytes_of, default='1G', help='bytes of the trees, like 300M or 4.3G')
    parser.add_argument('--payload', choices=list(source.KINDS), help='one kind only')
    parser.add_argument('--ways', type=words, help="only these, like 'ours,by hand'")
    parser.add_argument('--runs', type=int, default=0, help='of each way; else 5, or 3 for 2G and more')
    parser.add_argument('--folder', type=Path, default=Path('.bench'), help='on the disk to be measured')
    parser.add_argument('--keep', action='store_true', help='keep the payloads for the next time')
    return parser.parse_args()


def bytes_of(text: str) -> int:
    """The number that ``4.3G`` means."""
    factor = {'K': 10**3, 'M': 10**6, 'G': 10**9}.get(text[-1:].upper(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def words(text: str) -> list[str]:
    """What commas part; a comma in a way's name, which a space follows, parts nothing."""
    return re.split(r',(?! )', text)


def found(program: str) -> bool:
    """Whether a program is here; that of a server may lie beside the path of a user."""
    return shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin') is not None


def plan(kind: str, path: Path, served: source.Served, folder: Path, size: int) -> tuple[list[Way], list[Claim]]:
    """The ways to compare for a payload, and what is claimed of them."""
    plain, secure, slow = (f'{base}/{path.name}' for base in (served.plain, served.secure, served.slow))
    name = 'isal' if isal() else 'zlib'
    ways = [ours('ours', plain, folder, how='overlapped', inflate=name), Way('by hand', by_hand(plain))]
    bound = {'compressible': 0.32, 'entropy-coded': 0.42}.get(kind, 0.17 if size >= LARGE else 0.22)
    claims = [Claim('ours', 'by hand', bound)]
    if name == 'isal':
        ways.append(ours('ours, zlib', plain, folder, how='overlapped', inflate='zlib'))
        claims.append(Claim('ours, zlib', 'by hand', None))
    if kind == 'incompressible':
        ways += [
            Way('by strong hands', by_strong_hands(plain)),
            ours('one after the other', plain, folder, how='stages', inflate=name),
            ours('ours, HTTPS', secure, folder, how='overlapped', inflate=name, ca=served.ca),
            Way('by hand, HTTPS', by_hand(secure, '--cacert', str(served.ca))),
            # nginx slows each connection down, a link would slow all of them: so there is one.
            ours('ours, 1 Gbit/s', slow, folder, how='overlapped', inflate=name, connections=1),
            Way('curl, 1 Gbit/s', commands(['curl', '-sS', '-o', '/dev/null', slow])),
            ours('image-verify', plain, folder, how='verify', inflate=name),
            Way('openssl of all files', digests(ours('', plain, folder, how='overlapped', inflate=name))),
        ]
        claims += [
            Claim('ours', 'by strong hands', 0.5),
            Claim('ours', 'one after the other', None),
            Claim('ours, HTTPS', 'by hand, HTTPS', 0.28),
            Claim('ours, 1 Gbit/s', 'curl, 1 Gbit/s', 1.05),
            Claim('image-verify', 'openssl of all files', None),
        ]
    return ways, claims


def chosen(ways: list[Way], claims: list[Claim], names: list[str] | None) -> tuple[list[Way], list[Claim]]:
    """The ways of these names, or all, and what is claimed of them alone."""
    if names is None:
        return ways, claims
    known = [way.name for way in ways]
    for name in names:
        if name not in known:
            raise SystemExit(f'there is no way {name!r} here; there are: {"; ".join(known)}')
    return [way for way in ways if way.name in names], [
        claim for claim in claims if {claim.ours, claim.theirs} <= set(names)
    ]


def isal() -> bool:
    """Whether the extra ``fast`` is installed."""
    from ovca.image import deflate

    return deflate.NAME == 'isal'


# Ways.


def ours(
    name: str, uri: str, folder: Path, *, how: str, inflate: str, ca: Path | None = None, connections: int = 4
) -> Way:
    """Our own way, in a process of its own."""
    script = Path(__file__).with_name('image_receive.py')
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}

    def run(place: Path) -> dict[str, Any]:
        words = [sys.executable, script, uri, place, folder / 'keys', str(ca or ''), how, inflate, str(connections)]
        done = subprocess.run(words, check=True, capture_output=True, env=environment)
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    return Way(name, run)


def by_hand(uri: str, *options: str) -> Callable[[Path], dict[str, Any]]:
    """As the manual of an appliance tells it."""
    return commands(
        ['curl', '-sS', *options, '-o', 'bundle.zip', uri],
        ['sha256sum', 'bundle.zip'],
        ['unzip', '-q', 'bundle.zip'],
        ['bsdtar', '-x', '-C', 'tree', '-f', 'ovca-1.1.0.iso'],
        ['rm', 'bundle.zip'],
    )


def by_strong_hands(uri: str) -> Callable[[Path], dict[str, Any]]:
    """As somebody does it who knows which tools are fast."""
    return commands(
        ['aria2c', '-q', '-x', '4', '-s', '4', '--file-allocation=falloc', '-o', 'bundle.zip', uri],
        ['openssl', 'dgst', '-sha256', 'bundle.zip'],
        ['bsdtar', '-x', '-f', 'bundle.zip'],
        ['bsdtar', '-x', '-C', 'tree', '-f', 'ovca-1.1.0.iso'],
        ['rm', 'bundle.zip'],
    )


def commands(*lines: Sequence[str]) -> Callable[[Path], dict[str, Any]]:
    """Run commands in the folder, then sync its file system."""

    def run(place: Path) -> dict[str, Any]:
        (place / 'tree').mkdir()
        begin, stages = time.perf_counter(), {}
        for words in [*lines, ['sync', '-f', '.']]:
            start = time.perf_counter()
            subprocess.run(words, check=True, cwd=place, stdout=subprocess.DEVNULL)
            stages[' '.join(words[:2])[:16]] = time.perf_counter() - start
        return {'seconds': time.perf_counter() - begin, 'commands': stages}

    return run


def digests(before: Way) -> Callable[[Path], dict[str, Any]]:
    """Read all that another way has written; only that is measured."""
    read = commands(['find', '.', '-type', 'f', '-exec', 'openssl', 'dgst', '-sha256', '{}', '+'])

    def run(place: Path) -> dict[str, Any]:
        before.run(place)
        return read(place)

    return run


# Figures.


def measured(ways: list[Way], runs: int, place: Path) -> Results:
    """Run all ways in turn, so often."""
    results, begin = Results(), time.monotonic()
    emptied = place.with_name('emptied')
    shutil.rmtree(emptied, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    for number in range(runs):
        for way in ways:
            place.mkdir()
            os.sync()
            facts = way.run(place)
            results.seconds.setdefault(way.name, []).append(facts['seconds'])
            results.facts.setdefault(way.name, []).append(facts)
            empty(place)
            emptied.mkdir(exist_ok=True)
            place.rename(emptied / f'{number} {way.name.replace("/", " ")}')
        if number == 0 and runs > 1:
            rest = (time.monotonic() - begin) * (runs - 1)
            print(f'the first of {runs} rounds took {rest / (runs - 1):.0f} s; about {rest:.0f} s to go', flush=True)
    shutil.rmtree(emptied)
    return results


def empty(folder: Path) -> None:
    """Give back the room of what was measured, but not the files' names.

    ext4 takes the inodes of files that were just removed for new ones only some time later, and goes past each of
    them; with thousands of them every way would take longer than the first.
    """
    for path in folder.rglob('*'):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)


def report(results: Results, claims: list[Claim], size: int) -> bool:
    """Print the figures; return whether all bounds are held."""
    print(f'{"seconds":<22}{"median":>8}{"min":>8}{"max":>8}{"peak MB":>9}')
    held = True
    for name, seconds in results.seconds.items():
        memory = max(facts.get('memory', 0) for facts in results.facts[name])
        peak = f'{memory / 1e6:>9.0f}' if memory else ''
        print(f'{name:<22}{statistics.median(seconds):>8.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}{peak}')
        held = held and memory <= MEMORY
    print(f'{"ratio":<42}{"median":>8}{"min":>8}{"max":>8}{"bound":>8}')
    for claim in claims:
        ours, theirs = results.seconds[claim.ours], results.seconds[claim.theirs]
        pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        said = '' if claim.bound is None else f'{claim.bound:>8.2f}' + ('' if ratio <= claim.bound else '  above')
        print(f'{claim.ours + " / " + claim.theirs:<42}{ratio:>8.2f}{min(pairs):>8.2f}{max(pairs):>8.2f}{said}')
        held = held and (claim.bound is None or ratio <= claim.bound)
    profile(results)
    return held or size < JUDGED


def profile(results: Results) -> None:
    """Print where the time goes, in the run of median length."""
    for name in ('ours', 'by hand'):
        if name not in results.facts:
            continue
        runs = sorted(results.facts[name], key=lambda facts: float(facts['seconds']))
        facts = runs[len(runs) // 2]
        if 'commands' in facts:
            print(f'{name}: ' + ', '.join(f'{word} {seconds:.2f}' for word, seconds in facts['commands'].items()))
            continue
        cores = os.cpu_count() or 1
        print(
            f'{name}, with {facts["inflate"]}: {facts["seconds"]:.2f} s, of which all stages together '
            f'{facts["processor"]:.2f} s on {cores} processors '
            f'({facts["processor"] / facts["seconds"] / cores:.0%} of what they can)'
        )
        print(f'  {"stage":<10}{"busy":>8}{"(processor)":>13}{"starved":>9}{"blocked":>9}')
        rest = facts['processor']
        for stage, times in facts['stages'].items():
            busy = times['total'] - times['starved'] - times['blocked']
            rest -= times['processor']
            print(
                f'  {stage:<10}{busy:>8.2f}{times["processor"]:>13.2f}{times["starved"]:>9.2f}{times["blocked"]:>9.2f}'
            )
        print(f'  {"others":<10}{"":>8}{rest:>13.2f}   keeping the part, judging, links')


if __name__ == '__main__':
    raise SystemExit(main())
