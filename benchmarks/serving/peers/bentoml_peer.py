"""BentoML: one worker, the row as typed arguments."""

import os

import bentoml
import lightgbm as lgb
import numpy as np


@bentoml.service(workers=1, metrics={"enabled": False}, traffic={"timeout": 10})
class Flights:
    """The model."""

    def __init__(self):
        self.booster = lgb.Booster(model_file=os.environ["DATA"] + "/model.txt", params={"num_threads": 1})

    @bentoml.api
    async def predict(
        self,
        month: float,
        day: float,
        hour: float,
        sched_dep_time: float,
        distance: float,
        temp: float,
        wind_speed: float,
        precip: float,
        visib: float,
        pressure: float,
    ) -> dict:
        """The arrival delay."""
        row = [month, day, hour, sched_dep_time, distance, temp, wind_speed, precip, visib, pressure]
        return {"prediction": float(self.booster.predict(np.array([row]), num_threads=1)[0])}
