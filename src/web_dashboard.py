"""The dashboard: ``python3 src/web_dashboard.py``. It is put together in ``src.apps.web_dashboard``."""

import sys

from src.apps.web_dashboard import (
    main,
)
from src.runtime.process import run_process

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_process("web_dashboard", main))
