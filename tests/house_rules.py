#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The rules of the house that a machine can read: licences, lengths, includes, bounds, codes of errors, seeds,
promises, tracked files.

Each rule is a function from a tree to findings. Before the real tree is judged, every rule is shown a small tree that
breaks it, so a rule that has gone blind fails too.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("FR_SOURCE", Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(SOURCE / "tools"))
import bounds  # noqa: E402
SKIP_FOLDERS = re.compile(r"^(build.*|\.git|node_modules|__pycache__|seeds)$")
SPDX = "SPDX-License-Identifier: MIT OR Apache-2.0"
CODE = re.compile(r"(\.(c|h|cc|hpp|cpp|py|sh|mjs|js|cmake|map)|(^|/)(Makefile|CMakeLists\.txt|\.ci/run))$")
C_SOURCE = re.compile(r"\.(c|h|cc)$")
LINES_MAX = 1000
WIDTH_MAX = {"c": 100, "other": 120}
# What .gitignore keeps out; a file that was forced in is found by these.
FORBIDDEN = re.compile(
    r"(^|/)(\.env[^/]*|node_modules/.*|__pycache__/.*|[^/]*\.(key|pem|p12|log|o|a|so|core)|[^/]*\.so\.\d[^/]*"
    r"|id_(rsa|dsa|ecdsa|ed25519)[^/]*)$|^(build[^/]*|data|demo-data|freshet-demo[^/]*)/")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def walk(top):
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if not SKIP_FOLDERS.match(f))
        for name in sorted(files):
            path = Path(folder, name)
            yield path.relative_to(top).as_posix(), path


def text_of(path):
    return path.read_text(errors="replace")


def licence(top):
    for name, path in walk(top):
        if CODE.search(name) and SPDX not in "\n".join(text_of(path).split("\n")[:3]):
            yield f"{name}: no line '{SPDX}' at its start"


def length(top):
    for name, path in walk(top):
        if CODE.search(name) and (count := text_of(path).count("\n")) > LINES_MAX:
            yield f"{name}: {count} lines, over {LINES_MAX}"


def width(top):
    """A line that holds a URL may be as long as the URL is."""
    for name, path in walk(top):
        if CODE.search(name):
            limit = WIDTH_MAX["c" if C_SOURCE.search(name) else "other"]
            for number, line in enumerate(text_of(path).split("\n"), 1):
                if len(line) > limit and "://" not in line:
                    yield f"{name}:{number}: {len(line)} characters, over {limit}"


def includes(top):
    """Private headers are named bare, public ones as <fr/…>: a path in quotes would step around the include paths."""
    for name, path in walk(top):
        if C_SOURCE.search(name):
            for number, line in enumerate(text_of(path).split("\n"), 1):
                if re.match(r'\s*#\s*include\s*(".*/|<\.\.?/|<.*/\.\./)', line):
                    yield f"{name}:{number}: a path in an include: {line.strip()}"


CODE_OF_ERROR = (r"(?:car|commit|node|tree|key|record|limit|sig|frame|inv|json|zstd|compressed|did|fetch|pack|refresh"
                 r"|view|store)-[a-z]+(?:-[a-z]+)*")
NO_CODES = {"commit-first", "zstd-dictionary", "node-bytes", "node-entries"}  # a class of orders, options


def codes(top):
    """The first column of docs/codes.md has the codes of errors, each once and no others."""
    listed = top / "docs/codes.md"
    columns = re.findall(r"^\|([^|]*)\|", text_of(listed), re.M) if listed.exists() else []
    told = re.findall(f"`({CODE_OF_ERROR})`", "".join(columns))
    used = set()
    for name, path in walk(top / "src"):
        if name.endswith(".c") and not re.search(r"_(test|fuzz|bench)\.c$", name):
            used |= set(re.findall(f'"({CODE_OF_ERROR})"', text_of(path)))
    for code in sorted(used - NO_CODES - set(told)):
        yield f"docs/codes.md: lacks {code}"
    for code in sorted(set(told) - used):
        yield f"docs/codes.md: {code} is not in the code"
    for code in sorted(code for code in set(told) if told.count(code) > 1):
        yield f"docs/codes.md: {code} stands there twice"


def seeds(top):
    """A fuzz target has something to begin from, which every build replays (cmake/module.cmake)."""
    for name, path in walk(top / "src"):
        if name.endswith("_fuzz.c") and not any((path.parent / "seeds" / path.stem).glob("*")):
            yield f"src/{name}: no seeds in src/{Path(name).parent}/seeds/{path.stem}"


def promises(top):
    """docs/repositories.md names files and tests that there are."""
    listed = top / "docs/repositories.md"
    files = {}
    for name, path in (*walk(top / "src"), *walk(top / "tests")):
        files.setdefault(Path(name).stem if re.search(r"_(test|fuzz)\.\w+$", name) else Path(name).name, path)
    for row in re.findall(r"^\|.*\|$", text_of(listed) if listed.exists() else "", re.M):
        _, where, tests = row.strip("|").split("|")
        for name in re.findall(r"\w+\.c\b", where):
            if name not in files:
                yield f"docs/repositories.md: no file {name}"
        for stem, test in re.findall(r"`(\w+)(?:: (\w+))?`", tests):
            text = text_of(files[stem]) if stem in files else ""
            if not re.search(rf"(?:static void|def) (?:test_)?{test}\(" if test else ".", text):
                yield f"docs/repositories.md: no test {stem}: {test or 'at all'}"


def tracked(top):
    names = subprocess.run(["git", "-C", str(top), "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        path = top / name
        if FORBIDDEN.search(name):
            yield f"{name}: must not be tracked"
        elif path.is_file() and path.stat().st_size < 1 << 20 and PRIVATE_KEY.search(path.read_bytes()):
            yield f"{name}: holds a private key"


def is_checkout(top):
    done = subprocess.run(["git", "-C", str(top), "rev-parse", "--show-toplevel"], capture_output=True, text=True)
    return done.returncode == 0 and Path(done.stdout.strip()).resolve() == top.resolve()


def plant(top, files):
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


BROKEN = {
    licence: {"src/x.c": "int x;\n"},
    length: {"src/x.c": f"// {SPDX}\n" * (LINES_MAX + 1)},
    width: {"src/x.c": f"// {SPDX}" + " x" * 50},
    includes: {"src/os/x.c": '#include "../engine/private.h"\n'},
    codes: {"src/os/x.c": 'x("fetch-nothing");\n', "docs/codes.md": "| `fetch-other` | of old |\n"},
    seeds: {"src/os/x_fuzz.c": "int x;\n", "src/os/seeds/y_fuzz/one": "x"},
    promises: {"docs/repositories.md": "| all | x.c | `x_test: good` |\n", "src/x.c": "", "src/x_test.c": "x"},
    bounds.findings: {"src/os/x.h": "#define FR_THING_BYTES_MAX 7\n",
                      "docs/bounds.md": "| `FR_THING_BYTES_MAX` | `8` | a thing |\n"},
}
SECRETS = [".env", ".env.local", "a/.env.test", "keys/host.pem", "x.key", "run.log", "node_modules/a/b.js",
           "build/x", "build-asan/x", "data/log/1", "src/id_ed25519", "lib/libx.so.1"]
# In two pieces, so that this file is not its own finding.
KEY_TEXT = "-----BEGIN EC " + "PRIVATE KEY-----\nx\n"


def prove_rules():
    for rule, files in BROKEN.items():
        with tempfile.TemporaryDirectory() as folder:
            plant(Path(folder), files)
            assert list(rule(Path(folder))), f"rule {rule.__name__} does not see what breaks it"


def prove_tracked():
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        git = ["git", "-C", folder, "-c", "core.excludesFile=/dev/null"]
        subprocess.run(git + ["init", "-q"], check=True)
        plant(top, {"src/ok.c": "int x;\n", "docs/key.md": KEY_TEXT, **{name: "x\n" for name in SECRETS}})
        (top / ".gitignore").write_text(text_of(SOURCE / ".gitignore"))
        subprocess.run(git + ["add", "-A"], check=True)
        added = subprocess.run(git + ["ls-files"], capture_output=True, text=True, check=True).stdout.split()
        let_in = sorted(set(added) & set(SECRETS))
        assert not let_in, f".gitignore lets in {let_in}"
        subprocess.run(git + ["add", "-Af"], check=True)
        found = {line.split(":")[0] for line in tracked(top)}
        assert found == {"docs/key.md", *SECRETS}, f"tracked finds {sorted(found)}"


def main():
    prove_rules()
    rules = list(BROKEN)
    if is_checkout(SOURCE):
        prove_tracked()
        rules.append(tracked)
    else:
        print("SKIPPED: tracked files: this tree is not a git checkout")
    findings = [line for rule in rules for line in rule(SOURCE)]
    print("\n".join(findings) or f"house rules: {len(rules)} hold")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
