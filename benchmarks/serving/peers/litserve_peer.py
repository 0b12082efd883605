"""LitServe: one API process, one worker."""

import json
import os
import sys
from pathlib import Path

import lightgbm as lgb
import litserve as ls
import numpy as np

FOLDER = os.environ["DATA"]
FIELDS = json.loads(Path(FOLDER, "fields.json").read_text())


class Api(ls.LitAPI):
    """The model behind the server's own queue."""

    def setup(self, device):
        self.booster = lgb.Booster(model_file=FOLDER + "/model.txt", params={"num_threads": 1})

    def decode_request(self, request):
        return np.array([[request[k] for k in FIELDS]])

    def predict(self, x):
        return self.booster.predict(x, num_threads=1)

    def encode_response(self, found):
        return {"prediction": float(found[0])}


if __name__ == "__main__":
    server = ls.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    port = int(sys.argv[1])
    server.run(port=port, host="127.0.0.1", num_api_servers=1, log_level="warning", generate_client_file=False)
