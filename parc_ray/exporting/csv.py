"""CSV: one row per frame, one column per number, with a header."""

from __future__ import annotations

import io

import numpy as np

from parc_ray.exporting.format import ExportFormat
from parc_ray.exporting.recording import Recording


def csv_bytes(recording: Recording) -> bytes:
    """Return the columns of a recording. Nine digits keep every float32."""
    columns = recording.columns()
    file = io.BytesIO()
    header = ",".join(name.replace(",", "_") for name in columns)
    np.savetxt(
        file, np.stack(list(columns.values()), axis=1), "%.9g", ",", header=header, comments="", encoding="utf-8"
    )
    return file.getvalue()


FORMAT = ExportFormat("csv", ".csv", csv_bytes)
