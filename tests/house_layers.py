#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Upward includes and cycles do not build: shown on a copy of the build files and public headers.

Each module of the copy gets one source file, its probe. A probe asks the preprocessor for the public headers of every
module that stands later in the list, so one build of all probes says that no module sees upward. Then the rule is
broken on purpose, in the two ways there are, and each must fail with its reason.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("FR_SOURCE", Path(__file__).resolve().parent.parent))


def skeleton(top):
    for name in ["CMakeLists.txt", "cmake", "include"]:
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, top / name)
        else:
            shutil.copy(SOURCE / name, top / name)
    for headers in (SOURCE / "src").glob("**/include"):
        shutil.copytree(headers, top / headers.relative_to(SOURCE))
    # The page, what is installed and what is tested need sources; the layers do not.
    text = (top / "CMakeLists.txt").read_text()
    text = re.sub(r"^include\((cmake/product|cmake/embed|tests/house)\.cmake\)\n", "", text, flags=re.M)
    (top / "CMakeLists.txt").write_text(text)


def modules_of(text):
    """Name -> folder, in the order of FR_LAYERS; a layer without fr_module (the command) is left out."""
    layers = re.search(r"set\(FR_LAYERS([^)]*)\)", text).group(1).split()
    calls = dict(re.findall(r"^fr_module\((\w+)([^)]*)\)", text, re.M))
    folders = {}
    for name in layers:
        if name in calls:
            folder = re.search(r"\bDIR (\S+)", calls[name])
            folders[name] = folder.group(1) if folder else f"src/{name}"
    return folders


def headers_of(top, folder):
    return sorted(p.name for p in (top / folder / "include/fr").glob("*.h"))


def write_probes(top, modules):
    names = list(modules)
    refused = 0
    for at, name in enumerate(names):
        lines = ["// SPDX-License-Identifier: MIT OR Apache-2.0"]
        lines += [f"#include <fr/{header}>" for header in headers_of(top, modules[name])]
        for above in names[at + 1:]:
            for header in headers_of(top, modules[above]):
                lines += [f"#if __has_include(<fr/{header}>)", f'#error "{name} sees {above}: {header}"', "#endif"]
                refused += 1
        lines += [f"int fr_probe_{name};", ""]
        folder = top / modules[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "probe.c").write_text("\n".join(lines))
    return refused


def run(*command):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def configure(top):
    return run("cmake", "-S", top, "-B", top / "out", "-G", "Ninja", "-DCMAKE_C_COMPILER=gcc",
               "-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_BUILD_TYPE=Debug")


def build(top, target):
    return run("cmake", "--build", top / "out", "--target", target, "--", "-j2")


def expect(good, what, output):
    if not good:
        print(output[-4000:])
        sys.exit(f"layers: {what}")


def edit(path, old, new):
    text = path.read_text()
    assert old in text, f"{path}: expected {old!r}"
    path.write_text(text.replace(old, new, 1))


def main():
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        skeleton(top)
        lists = top / "CMakeLists.txt"
        modules = modules_of(lists.read_text())
        expect(len(modules) > 10, "the module list cannot be read", lists.read_text())
        refused = write_probes(top, modules)
        code, output = configure(top)
        expect(code == 0, "the untouched skeleton does not configure", output)
        code, output = build(top, "modules")
        expect(code == 0, "a module sees a header above it, or the skeleton does not build", output)

        upper = next(name for name in ("engine", "log") if headers_of(top, modules[name]))
        header = headers_of(top, modules[upper])[0]
        probe = top / modules["os"] / "probe.c"
        good = probe.read_text()
        # Without the questions: gcc 12 says nothing about a missing header that __has_include asked for.
        probe.write_text(f"#include <fr/{header}>\nint fr_probe_os;\n")
        code, output = build(top, "fr_os")
        expect(code != 0 and re.search(rf"fr/{header}.*No such file", output),
               f"an upward include of <fr/{header}> builds", output)
        probe.write_text(good)
        code, output = build(top, "fr_os")
        expect(code == 0, "os does not build after the upward include is gone", output)

        good = lists.read_text()
        for old, new, words in [
                ("fr_module(os DEPS base", f"fr_module(os DEPS base {upper}", f"module os may not depend on {upper}"),
                ("fr_module(base)", "fr_module(base DEPS os)", "module base may not depend on os"),
                ("fr_module(base)", "fr_module(base DEPS base)", "module base may not depend on base"),
                ("fr_module(base)", "fr_module(base)\nfr_module(attic)", "module attic is not in FR_LAYERS")]:
            edit(lists, old, new)
            code, output = configure(top)
            expect(code != 0 and words in " ".join(output.split()), f"configures in spite of: {new}", output)
            lists.write_text(good)
        code, output = configure(top)
        expect(code == 0, "the restored skeleton does not configure", output)
    print(f"layers: {len(modules)} modules, {refused} upward headers out of sight, 5 broken ones refused")


if __name__ == "__main__":
    main()
