r"""Generated from the .proto files beside; this does it again:

    python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src --grpc_python_out=src \
        src/fivefold/realtime/protos/features.proto
    python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src src/fivefold/realtime/protos/inference.proto
"""
