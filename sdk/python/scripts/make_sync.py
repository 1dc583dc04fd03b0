"""Makes `src/bulkhead/_sync` from `src/bulkhead/_async`: the same calls without `await`.

`python scripts/make_sync.py` writes the files; with `--check` it only tells whether they are current.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src/bulkhead"
#: Written twice by hand.
BY_HAND = {"http.py", "__init__.py"}

WORDS = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bhttpx\.AsyncClient\b", "httpx.Client"),
    (r"\baclose\b", "close"),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"(?<!`)\b(Bulkhead|AdminAPI)\b(?! at)", r"Sync\1"),
    (r"<(Bulkhead|AdminAPI) at", r"<Sync\1 at"),
    (r"Its methods are awaited; `Sync(Bulkhead|AdminAPI)` has the same\s+ones without\.", r"`\1` has the same methods to be awaited."),
]
ASYNC_ONLY = re.compile(r"^ *# <async>\n.*?^ *# </async>\n", re.DOTALL | re.MULTILINE)


def made(name: str, source: str) -> str:
    """The text of a file of `_sync`."""
    source = ASYNC_ONLY.sub("", source)
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    source = source.replace("Callable, Generator, Mapping", "Callable, Mapping")
    return f"# Made by scripts/make_sync.py from _async/{name}: change that file.\n{source}"


def main() -> int:
    stale = []
    for file in sorted((ROOT / "_async").glob("*.py")):
        if file.name in BY_HAND:
            continue
        target = ROOT / "_sync" / file.name
        text = made(file.name, file.read_text())
        if not target.exists() or target.read_text() != text:
            stale.append(file.name)
            if "--check" not in sys.argv:
                target.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"_sync is not current: {', '.join(stale)}. Run scripts/make_sync.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
