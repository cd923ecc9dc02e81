"""`singlepoint completion`: the script that lets a shell complete commands, options and jobs. It is click's own."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .options import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        'eval "$(singlepoint completion bash)"    # in ~/.bashrc; zsh likewise',
        "singlepoint completion fish > ~/.config/fish/completions/singlepoint.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL (bash, zsh, fish) complete commands, options, and ids and names of jobs."""
    complete = get_completion_class(shell)
    assert complete is not None, "click has all of them"
    click.echo(complete(ctx.find_root().command, {}, "singlepoint", "_SINGLEPOINT_COMPLETE").source())
