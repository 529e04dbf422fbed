"""Wire forms of the Open Inference Protocol v2 and of grpc.health.v1, generated from our protos.

After a change of a .proto file, run in `src/` with grpcio-tools 1.66 (the oldest release whose
generated code runs on every protobuf that we support):

    python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. cotenant/serving/protocol/*.proto
"""
