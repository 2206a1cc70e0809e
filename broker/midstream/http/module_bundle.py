"""The browser's client as one file, so that a page imports it by one request, and nobody has to build anything."""

import re
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function|class|const|let)", re.MULTILINE)
_REEXPORT: Final = re.compile(r'^export \{ (.*) \} from "\./midstream/\w+\.js";\n', re.MULTILINE)


def bundled(folder: Path) -> bytes:
    """Return `midstream.js` of a folder together with all modules that it is made of.

    They share one scope, so their names must differ, and none may need another one while it is loaded.
    """
    entry = (folder / "midstream.js").read_text()
    parts = [path.read_text() for path in sorted((folder / "midstream").glob("*.js"))]
    bodies = [_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts]
    exports = ", ".join(_REEXPORT.findall(entry))
    return "\n".join([_REEXPORT.sub("", entry), *bodies, f"export {{ {exports} }};\n"]).encode()
