"""Options that several commands share: a command goes in, the command with the option comes out."""

import click

from cotenant.device.cpu.scheduling import MAX_RUNG, Rung


class _Rungs(click.Choice[str]):
    """The names of the rungs; a name becomes a `Rung`."""

    def __init__(self) -> None:
        super().__init__([rung.value for rung in Rung])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Rung:
        return Rung(super().convert(value, param, ctx))


def counts(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Callback of an option that takes whole numbers over 0 with commas between them."""
    if value is None:
        return ()
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise click.BadParameter(f"{value!r} is no list of whole numbers from 1 on; write 1,2")
    return numbers


max_rung_option = click.option(
    "--max-rung",
    "highest",
    type=_Rungs(),
    envvar=MAX_RUNG,
    show_envvar=True,
    help="Best rung of protection to use; see 'cotenant devices'. Default: the best there is.",
)
"""What a command gets is called `highest`."""
