"""HTTP/2 for servers: bytes of connections become streams with bodies, and their answers bytes.

It knows nothing of what is asked; `cotenant.serving.rpc` speaks gRPC over it. Sections in its
comments are those of RFC 9113, "HTTP/2".
"""
