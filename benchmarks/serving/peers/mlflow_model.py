"""The served model as MLflow keeps it: `python mlflow_model.py MODEL.txt FIELDS.json FOLDER`."""

import json
import sys
from pathlib import Path

import lightgbm as lgb
import mlflow
import pandas as pd

booster = lgb.Booster(model_file=sys.argv[1], params={"num_threads": 1})
sample = pd.DataFrame([[0.5] * booster.num_feature()], columns=json.loads(Path(sys.argv[2]).read_text()))
signature = mlflow.models.infer_signature(sample, booster.predict(sample))
mlflow.lightgbm.save_model(booster, sys.argv[3], signature=signature)
