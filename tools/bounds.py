#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""tools/bounds.py --check|--write [TREE]: docs/bounds.md against the named bounds in the code (invariant 6).

A bound is a #define FR_… or FRESHET_… with _MAX, _MIN, _TIMEOUT, _CAPACITY or _BUDGET in its name, or a time that
ends in _MS or _NS, outside tests, fuzz targets and benches. Each has one row in its module's table: name, value as it
stands in the code, meaning. --check names what is missing, stale or without meaning; --write brings names and values
up to date, keeps the meanings that are written, and proposes the comment at the #define for a new one.
"""
import re
import sys
from pathlib import Path

DEFINE = re.compile(r"^(?:/\*+[ ]*(.*?)[ ]*\*/\n)?"
                    r"#define (FR(?:ESHET)?_\w*?(?:(?:_MAX|_MIN|_TIMEOUT|_CAPACITY|_BUDGET)(?:_\w+)?|_MS|_NS))[ \t]+"
                    r"(.*?)[ \t]*(?://[ ]*(.*)|/\*+[ ]*(.*?)[ ]*(?:\*/)?)?$", re.M)
ROW = re.compile(r"^\| `(FR(?:ESHET)?_\w+)` \| `([^`]*)` \| *(.*?) *\|$", re.M)
BEGIN, END = "<!-- tables: tools/bounds.py --write -->\n", "<!-- end of tables -->\n"


def module_of(name):
    parts = name.split("/")
    if parts[0] != "src":
        return parts[0]
    inside = parts[1:-1]
    return "/".join(inside[:inside.index("include")] if "include" in inside else inside)


def code_bounds(top):
    """module -> [(name, value, comment)], in the order of the files."""
    found = {}
    for folder in ("include", "src"):
        for path in sorted((top / folder).rglob("*.[ch]")) + sorted((top / folder).rglob("*.cc")):
            if re.search(r"_(test|fuzz|bench)\.c$", path.name):
                continue
            for above, name, value, slashes, stars in DEFINE.findall(path.read_text(errors="replace")):
                module = module_of(path.relative_to(top).as_posix())
                found.setdefault(module, []).append((name, value, slashes or stars or above))
    return found


def written(top):
    path = top / "docs/bounds.md"
    text = path.read_text() if path.exists() else ""
    return text, {name: (value, meaning) for name, value, meaning in ROW.findall(text)}


def findings(top):
    _, rows = written(top)
    names = set()
    for module, bounds in code_bounds(top).items():
        for name, value, _ in bounds:
            names.add(name)
            row_value, meaning = rows.get(name, (None, None))
            if row_value is None:
                yield f"docs/bounds.md: lacks {name} (src/{module}): tools/bounds.py --write"
            elif row_value != value:
                yield f"docs/bounds.md: {name} is {value}, not {row_value}: tools/bounds.py --write"
            elif not meaning:
                yield f"docs/bounds.md: {name} has no meaning written"
    for name in rows.keys() - names:
        yield f"docs/bounds.md: {name} is not in the code"
    yield from stale_by_hand(top)


def stale_by_hand(top):
    """The rows below the tables have values that are held by hand; their names must at least be in the code."""
    text = written(top)[0].split(END)[-1] if END in written(top)[0] else ""
    wanted = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))
    code = " ".join(path.read_text(errors="replace") for path in (top / "src").rglob("*.[ch]")) if wanted else ""
    for name in sorted(wanted - set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", code))):
        yield f"docs/bounds.md: {name} is not in the code"


def write(top):
    text, rows = written(top)
    tables = []
    for module, bounds in sorted(code_bounds(top).items()):
        tables.append(f"\n### {module}\n\n| bound | value | what it bounds, and what happens there |\n|---|---|---|\n")
        for name, value, comment in dict((b[0], b) for b in bounds).values():
            meaning = rows.get(name, ("", ""))[1] or comment.replace("|", "/")
            tables.append(f"| `{name}` | `{value}` | {meaning} |\n")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    (top / "docs/bounds.md").write_text(before + BEGIN + "".join(tables) + "\n" + END + after)


def main(arguments):
    top = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).resolve().parent.parent
    if arguments[:1] == ["--write"]:
        write(top)
    elif arguments[:1] != ["--check"]:
        sys.exit(__doc__)
    lines = list(findings(top))
    print("\n".join(lines) or "bounds: code and docs/bounds.md agree")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
