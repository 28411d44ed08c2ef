"""Which files of the chart folder are pictures that the page may show."""

import re
import stat
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[A-Z0-9]{1,24}_\d{1,3}[mhd]_\d{8}T\d{9}Z\.png")
_LARGEST: Final = 4 * 1024 * 1024


def picture_file(folder: Path, name: str) -> Path | None:
    """Return the file of a picture: a name as the chart bot gives it, a plain file, no larger than a picture is."""
    if not _NAME.fullmatch(name):
        return None
    path = folder / name
    try:
        found = path.lstat()
    except OSError:
        return None
    return path if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST else None


def picture_address(folder: Path | None, kept_as: str) -> str:
    """Return where the page finds a picture, empty where it is not in the folder (pruned, or drawn elsewhere)."""
    name = Path(kept_as).name
    return f"api/chart-picture/{name}" if folder is not None and picture_file(folder, name) is not None else ""
