"""The REST and MCP server: ``python3 src/mcp_server.py``. It is put together in ``src.apps.mcp_server``."""

import sys

from src.apps.mcp_server import (
    contract,
    main,
    owner_of,
    run,
    speak,
)

__all__ = ["contract", "main", "owner_of", "run", "speak"]

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
