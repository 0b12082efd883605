"""FastAPI as its users write it: a Pydantic model of the row, a Booster."""

import os

import lightgbm as lgb
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

booster = lgb.Booster(model_file=os.environ["DATA"] + "/model.txt", params={"num_threads": 1})
app = FastAPI()


class Row(BaseModel):
    """A flight."""

    month: float
    day: float
    hour: float
    sched_dep_time: float
    distance: float
    temp: float
    wind_speed: float
    precip: float
    visib: float
    pressure: float


@app.post("/predict")
async def predict(row: Row):
    """The arrival delay."""
    x = np.array([list(row.__dict__.values())])
    return {"prediction": float(booster.predict(x, num_threads=1)[0])}
