"""The server: REST and gRPC convert and call one data plane."""
