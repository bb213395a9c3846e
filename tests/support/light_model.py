"""MLflow models that load in no time, made without importing MLflow: for tests of everything around a model.

`write()` makes a folder that any MLflow pyfunc server serves: an `MLmodel` file with a signature, and a
few lines of code that predict `intercept + slope * <column>`. By default it has the columns of the
air-time sample, whose holdouts it then predicts fairly well (`WINTER`, `SUMMER`); `fails` and `delay`
make models that break or are slow.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

AIR_TIME_COLUMNS = {"carrier": "string", "origin": "string", "dest": "string", "distance": "double", "hour": "long"}
"""The columns of samples/flights, in the order of its model's signature, with MLflow's types."""

_CODE = '''"""The code of a light test model."""
import json
import time
from pathlib import Path


def _load_pyfunc(path):
    parameters = json.loads(Path(path).read_text())
    if parameters["fails"] == "load":
        raise RuntimeError("this model was made to fail when it is loaded")
    return Line(parameters)


class Line:
    def __init__(self, parameters):
        self.parameters = parameters

    def predict(self, data, params=None):
        time.sleep(self.parameters["delay"])
        if self.parameters["fails"] == "predict":
            raise RuntimeError("this model was made to fail when it predicts")
        slope, intercept = self.parameters["slope"], self.parameters["intercept"]
        return [intercept + slope * float(value) for value in data[self.parameters["column"]].tolist()]
'''


@dataclass(frozen=True, slots=True)
class Line:
    """What a light model predicts, and how it misbehaves."""

    slope: float
    intercept: float
    column: str = "distance"
    delay: float = 0.0
    """Seconds that each prediction takes at least."""
    fails: str = ""
    """`load`: it can't be loaded; `predict`: every prediction raises."""


WINTER = Line(slope=0.1295, intercept=22.0)
"""The least-squares line of the winter flights: 9.9 minutes off on the winter holdout, 14.4 on the summer one."""
SUMMER = Line(slope=0.1215, intercept=17.5)
"""The same of the summer flights: 14.5 minutes off on the winter holdout, 7.8 on the summer one."""
HOURS = Line(slope=0.1295 / 60, intercept=22.0 / 60)
"""`WINTER` by someone who took hours for minutes: wrong by more than two hours."""


def write(folder: Path, line: Line = WINTER, columns: Mapping[str, str] | None = None) -> Path:
    """Write the model into `folder` (made if needed) and return it."""
    columns = dict(columns or AIR_TIME_COLUMNS)
    code = folder / "code"
    code.mkdir(parents=True, exist_ok=True)
    # A module name of its own: one process may load several light models.
    module = f"light_model_{uuid.uuid4().hex}"
    (code / f"{module}.py").write_text(_CODE, encoding="utf-8")
    (folder / "line.json").write_text(json.dumps(asdict(line)), encoding="utf-8")
    signature = {
        "inputs": json.dumps([{"type": kind, "name": name, "required": True} for name, kind in columns.items()]),
        "outputs": json.dumps([{"type": "double", "required": True}]),
        "params": None,
    }
    description = {
        "flavors": {
            "python_function": {"loader_module": module, "data": "line.json", "code": "code", "env": {}, "python_version": "3.13.0"}
        },
        "mlflow_version": "3.17.2",
        "model_uuid": uuid.uuid4().hex,
        "signature": signature,
        "utc_time_created": "2026-01-01 00:00:00.000000",
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
    return folder
