"""Which process listens on a port of this machine, where that can be known."""

from pathlib import Path

_LISTENING = "0A"
UNKNOWN = "another process"


def port_owner(port: int) -> str:
    """Return ``process 123 (python3 src/x.py)`` of the listener on ``port``; "another process" if unknown."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(handle.readlink()) in inodes for handle in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {folder.name} ({command[:120]})"
        except OSError:  # it ended meanwhile, or belongs to another user
            continue
    return UNKNOWN


def _listening_inodes(port: int) -> set[str]:
    found = set[str]()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for cells in map(str.split, rows):
            if cells[3] == _LISTENING and int(cells[1].rpartition(":")[2], 16) == port:
                found.add(cells[9])
    return found
