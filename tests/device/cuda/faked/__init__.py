"""A kind of device whose driver is the fake, for whole interpreters of the logic."""

from cotenant.device.cuda.kind import CUDA

FAKED = CUDA._replace(room="tests.device.cuda.faked", package="tests.device.cuda.fake")
