"""`python -m sursum doctor`, `python -m sursum cache`, `python -m sursum port FILE` and `python -m sursum --version`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from sursum import __version__
from sursum.compat.port import examine as examine_names
from sursum.compat.port import report
from sursum.compiler.native.library.cache import clear, contents, default_directory
from sursum.errors import OptionError
from sursum.show.doctor import examine, examine_ray


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if all is well, 1 for a problem or a name that is not here, 2 for an unknown command or file."""
    parser = argparse.ArgumentParser(prog="python -m sursum", description="Tools to use outside a program.")
    parser.add_argument("--version", action="version", version=f"sursum {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="report what this machine offers, and whether sampling works on it")
    doctor.add_argument("--ray", action="store_true", help="examine Ray too: connect to its cluster, and sample there")
    cache = commands.add_parser("cache", help="show the cache of compiled densities")
    cache.add_argument("--clear", action="store_true", help="remove them")
    port = commands.add_parser("port", help="say which names of Pyro's or NumPyro's a file uses, and what they are here")
    port.add_argument("file", help="a Python file; it is read, and never run")
    options = parser.parse_args(arguments)
    if options.command == "port":
        return _port(options.file)
    return _doctor(options.ray) if options.command == "doctor" else _cache(options.clear)


def _doctor(with_ray: bool) -> int:
    failed = 0
    for finding in chain(examine(), examine_ray() if with_ray else ()):
        print(finding, flush=True)
        failed += finding.works is False
    print("\nAll is well." if not failed else f"\n{failed} thing{'s do' if failed > 1 else ' does'} not work.")
    return 1 if failed else 0


def _port(path: str) -> int:
    try:
        source = Path(path).read_text(encoding="utf-8")
        findings = examine_names(source, path)
    except (OSError, UnicodeDecodeError, OptionError) as error:
        print(f"{path} cannot be read: {error}")
        return 2
    print(report(findings))
    return 1 if any(one.verdict == "missing" for one in findings) else 0


def _cache(clearing: bool) -> int:
    try:
        place = default_directory()
    except RuntimeError as error:
        print(f"nothing is cached: {error}. Set SURSUM_CACHE to a folder to cache compiled densities there.")
        return 0
    files = contents(place)
    size = sum(file.stat().st_size for file in files) / 1e6
    if clearing:
        left = clear(place)
        print(f"{place}: removed {len(files) - len(left)} files, {size:.1f} MB")
        for file in left:
            print(f"could not remove {file}")
        return 1 if left else 0
    print(f"{place}: {len(files)} files, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
