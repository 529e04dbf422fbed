"""The server: REST and gRPC convert and call one data plane."""

import os

# gRPC reads this once, when it is first imported. Its event engine hands each call through
# threads of its own; the older poller answers a small request about a quarter sooner.
os.environ.setdefault(
    "GRPC_EXPERIMENTS",
    "-event_engine_client,-event_engine_listener,"
    "-event_engine_callback_cq,-event_engine_for_all_other_endpoints",
)
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
