"""The end of a request goes in; its record comes out, of one that ran or of one that never did."""

from cotenant.core.record import Outcome, Record
from cotenant.core.request import Request
from cotenant.core.task import Task
from cotenant.runtime.tenant import Flight, Tenant


def record_of(
    tenant: Tenant,
    flight: Flight,
    request: Request,
    outcome: Outcome,
    end_s: float,
    *,
    output_s: float = 0.0,
) -> Record:
    """Of a request that ran, as one of its flight."""
    return Record(
        request.id,
        request.task,
        tenant.critical,
        outcome,
        request.arrival_s,
        flight.start_s,
        end_s,
        tenant.component,
        tenant.width,
        len(flight.requests),
        flight.segments,
        flight.alone,
        request.rows,
        flight.rows,
        output_s,
    )


def record_unserved(task: Task, request: Request, outcome: Outcome, end_s: float) -> Record:
    """Of a request that never ran."""
    return Record(
        request.id,
        request.task,
        task.critical,
        outcome,
        request.arrival_s,
        start_s=None,
        end_s=end_s,
        component=None,
        width=None,
        batch=0,
        segments=(),
        alone=False,
        rows=request.rows,
    )
