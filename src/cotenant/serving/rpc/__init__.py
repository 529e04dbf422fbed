"""gRPC over HTTP/2: streams become calls of methods, and what these say becomes messages.

It follows gRPC's "PROTOCOL-HTTP2", and knows nothing of inference.
"""
