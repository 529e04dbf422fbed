"""Every error that Cotenant raises on purpose; nothing goes in, one tree comes out.

A message says what happened, where, and what to do about it. Protocol codes live in
`serving/codec.py` alone, which maps the branches of this tree:

    CotenantError
     +- WorkloadError          a workload file or command line that cannot be used
     +- ModelError             a model file that is corrupt, unsupported or unsafe
     +- DeviceError            a component that cannot do what was asked of it
     |   +- DriverError        a refusal of an accelerator's driver; in `device/elastic/driver.py`
     +- InvalidRequest         a request whose form is wrong: names, shapes, bytes
     |   +- RequestTooLarge    a body or tensor over the configured limit
     +- NotFound               an unknown model, version or route
     +- Unsupported            a feature of the protocol that is switched off or absent
     +- Unauthorized           a missing or wrong bearer token
     +- Unavailable            the server cannot take this request now
     |   +- QueueFull          the task's bounded queue has no room
     |   +- NotReady           the model is loading, restarting or being unloaded
     |   +- ShuttingDown       the server drains and takes nothing new
     |   +- Admission          loading this model would break a promise made to another
     +- DeadlineExceeded       the request waited too long or can no longer be in time
     +- Cancelled              the client went away
     +- ExecutionError         the inference itself failed
         +- LaneLost           the interpreter that ran it died
"""


class CotenantError(Exception):
    """Root of all errors raised on purpose."""


class WorkloadError(CotenantError):
    """A workload file or command line that cannot be used."""


class ModelError(CotenantError):
    """A model file that is corrupt, unsupported or unsafe."""


class DeviceError(CotenantError):
    """A component that cannot do what was asked of it."""


class InvalidRequest(CotenantError):
    """A request whose form is wrong."""


class RequestTooLarge(InvalidRequest):
    """A body or tensor over the configured limit."""


class NotFound(CotenantError):
    """An unknown model, version or route."""


class Unsupported(CotenantError):
    """A feature of the protocol that is switched off or absent."""


class Unauthorized(CotenantError):
    """A missing or wrong bearer token."""


class Unavailable(CotenantError):
    """The server cannot take this request now; trying again later may work."""


class QueueFull(Unavailable):
    """The task's bounded queue has no room."""


class NotReady(Unavailable):
    """The model is loading, restarting or being unloaded."""


class ShuttingDown(Unavailable):
    """The server drains and takes nothing new."""


class Admission(Unavailable):
    """Loading this model would break a promise made to another."""


class DeadlineExceeded(CotenantError):
    """The request waited too long or can no longer be in time."""


class Cancelled(CotenantError):
    """The client went away before its request was answered."""


class ExecutionError(CotenantError):
    """The inference itself failed."""


class LaneLost(ExecutionError):
    """The interpreter that ran the request died; it is being restarted."""
