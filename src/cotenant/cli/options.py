"""Options that several commands share: a command goes in, the command with the option comes out."""

from collections.abc import Callable

import click

from cotenant.device.cpu.scheduling import MAX_RUNG, Rung


class _Rungs(click.Choice[str]):
    """The names of the rungs; a name becomes a `Rung`."""

    def __init__(self) -> None:
        super().__init__([rung.value for rung in Rung])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Rung:
        return Rung(super().convert(value, param, ctx))


_Callback = Callable[[click.Context, click.Parameter, str | None], tuple[int, ...]]


def _whole_numbers(least: int) -> _Callback:
    """Callback of an option that takes whole numbers with commas between them."""

    def numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
        if value is None:
            return ()
        try:
            found = tuple(int(part) for part in value.split(","))
        except ValueError:
            found = (least - 1,)
        if min(found) < least:
            raise click.BadParameter(
                f"{value!r} is no list of whole numbers from {least} on; write {least},{least + 1}"
            )
        return found

    return numbers


counts = _whole_numbers(1)

cores_option = click.option(
    "--cores",
    "asked_cores",
    callback=_whole_numbers(0),
    metavar="N,N",
    help="That servers may use, as 0 or 0,1; all if absent. The load generator, which stands for "
    "other machines, has the rest.",
)
"""What a command gets is called `asked_cores`."""


max_rung_option = click.option(
    "--max-rung",
    "highest",
    type=_Rungs(),
    envvar=MAX_RUNG,
    show_envvar=True,
    help="Best rung of protection to use; see 'cotenant devices'. Default: the best there is.",
)
"""What a command gets is called `highest`."""
