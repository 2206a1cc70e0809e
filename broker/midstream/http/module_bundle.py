"""The browser's client as one file: a page that imports it makes one request, and nothing has to be built."""

import re
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function|class|const|let)", re.MULTILINE)
_PASSED_ON: Final = re.compile(r'^export \{ (.*) \} from "\./midstream/\w+\.js";\n', re.MULTILINE)


def bundled(folder: Path) -> bytes:
    """Return `midstream.js` of a folder together with all modules that it is made of.

    They become one scope, so their names must not meet, and none may need another while it is loaded.
    """
    entry = (folder / "midstream.js").read_text()
    parts = [path.read_text() for path in sorted((folder / "midstream").glob("*.js"))]
    bodies = [_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts]
    exports = ", ".join(_PASSED_ON.findall(entry))
    return "\n".join([_PASSED_ON.sub("", entry), *bodies, f"export {{ {exports} }};\n"]).encode()
