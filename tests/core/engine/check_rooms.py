#!/usr/bin/env python3
"""Checks the rooms: every header compiles alone, no include points upward, liburing is known to core/uring only.

usage: check_rooms.py ROOT COMPILER [FLAG...]      FLAGs: include directories and definitions of the build
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

# What each room may include of the others. Tests and benches see everything and are seen by nobody.
ROOMS = {"core": {"core"}, "policy": {"core", "policy"}, "net": {"core", "policy", "net"}}
OTHERS = {"tests", "bench", "packaging", "docs"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
KERNEL_DOOR = "core/uring/"
KERNEL_HEADERS = ("liburing.h", "liburing/", "linux/io_uring.h")


def sources(root):
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield path.relative_to(root).as_posix()


def include_errors(root, generated, name):
    """Yields a message for each include of the file that its room forbids. `generated`: folders of made headers."""
    room = name.split("/")[0]
    text = (root / name).read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        quoted, target = match.group(1) == '"', match.group(2)
        line = text.count("\n", 0, match.start(2)) + 1
        where = f"{name}:{line}: "
        if target.startswith(KERNEL_HEADERS) and not name.startswith(KERNEL_DOOR):
            yield where + f"{target} is for {KERNEL_DOOR} only"
        if not quoted:
            continue
        target_room = target.split("/")[0]
        if not any((folder / target).is_file() for folder in [root, *generated]):
            yield where + f'"{target}" is not a path from the root'
        elif target_room in OTHERS or (target_room in ROOMS and target_room not in ROOMS[room]):
            yield where + f"{room} must not include {target}: arrows point downward"
        elif target.startswith(KERNEL_DOOR) and not name.startswith(KERNEL_DOOR):
            yield where + f"{target} is for {KERNEL_DOOR} only"


def compile_error(root, name, compiler, flags):
    """Returns what the compiler says about a file that includes only this header, twice."""
    program = f'#include "{name}"\n#include "{name}"\n'
    command = [compiler, "-std=c++23", "-fsyntax-only", "-x", "c++", f"-I{root}", *flags, "-"]
    run = subprocess.run(command, input=program, capture_output=True, text=True, cwd=root)
    return "" if run.returncode == 0 else f"{name} does not compile alone:\n{run.stderr}"


def main():
    root, compiler = pathlib.Path(sys.argv[1]), sys.argv[2]
    # The build's lists repeat themselves; an empty list arrives as a bare -I; the system's folder needs no naming.
    flags = [flag for flag in dict.fromkeys(sys.argv[3:]) if flag not in ("-I", "-I/usr/include")]
    generated = [pathlib.Path(flag[2:]) for flag in flags if flag.startswith("-I")]
    # Others' headers stay out of the warnings, as in the build. Ours must not be named so: that would win.
    flags = [flag.replace("-I", "-isystem", 1) for flag in flags if flag != f"-I{root}"]
    names = list(sources(root))
    headers = [name for name in names if name.endswith(".h")]
    errors = [error for name in names for error in include_errors(root, generated, name)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors += filter(None, pool.map(lambda name: compile_error(root, name, compiler, flags), headers))
    if not headers:
        errors.append(f"no headers under {root}")
    print(*errors, sep="\n")
    print(f"{len(names)} files, {len(headers)} headers, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
