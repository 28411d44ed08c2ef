"""Eight-hour candles and funding rates of six real pairs, made from the recorded files for the tests."""

import numpy as np
import pandas as pd

from tests.shared_data import shared_file

EIGHT_HOURS_MS = 28_800_000
FILES = {
    "BTCUSDT": "BTCUSDT_um_1h_2021Aug_2024H1.parquet",
    "ETHUSDT": "ETHUSDT_um_mark_8h_to2024H1.parquet",  # the one file of Ether that covers the years
    "SOLUSDT": "SOLUSDT_um_15m_2022_2024H1.parquet",
    "BNBUSDT": "BNBUSDT_um_15m_2022_2024H1.parquet",
    "XRPUSDT": "XRPUSDT_um_15m_2022_2024H1.parquet",
    "DOGEUSDT": "DOGEUSDT_um_15m_2022_2024H1.parquet",
}


def real_closes() -> pd.DataFrame:
    """Return the closes of whole 8-hour candles by their open time, a column per pair; NaN before a file begins."""
    columns = {}
    for pair, name in FILES.items():
        frame = pd.read_parquet(shared_file(name))
        step = int(np.median(np.diff(frame.open_time)))
        grouped = frame.groupby(frame.open_time // EIGHT_HOURS_MS).close
        whole = grouped.size() == EIGHT_HOURS_MS // step
        columns[pair] = grouped.last()[whole]
    closes = pd.DataFrame(columns)
    closes.index = closes.index * EIGHT_HOURS_MS
    return closes
