"""Ray Serve: one proxy, one replica, on a local cluster: `python ray_peer.py PORT`."""

import json
import os
import sys
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import ray
from ray import serve

FOLDER = os.environ["DATA"]
FIELDS = json.loads(Path(FOLDER, "fields.json").read_text())


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Flights:
    """The model."""

    def __init__(self):
        self.booster = lgb.Booster(model_file=FOLDER + "/model.txt", params={"num_threads": 1})

    async def __call__(self, request):
        row = await request.json()
        found = self.booster.predict(np.array([[row[k] for k in FIELDS]]), num_threads=1)
        return {"prediction": float(found[0])}


ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
serve.start(
    http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False}
)
serve.run(Flights.bind(), route_prefix="/predict")
while True:
    time.sleep(60)
