"""Convert the served model for the limit: `python to_onnx.py MODEL.txt MODEL.onnx FEATURES`."""

import sys

import lightgbm as lgb
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

booster = lgb.Booster(model_file=sys.argv[1])
inputs = [("x", FloatTensorType([None, int(sys.argv[3])]))]
made = convert_lightgbm(booster, initial_types=inputs, zipmap=False, target_opset=15)
with open(sys.argv[2], "wb") as out:
    out.write(made.SerializeToString())
