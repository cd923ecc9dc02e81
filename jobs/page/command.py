"""`singlepoint open`: lets a browser in."""

from __future__ import annotations

import click

from singlepoint.jobs.client.entry import read_address, service_token, signed
from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import BrokerAway
from singlepoint.jobs.store.home import open_home

OPENS_S = 300.0


@click.command(name="open", epilog="\b\nExamples:\n  singlepoint open\n  xdg-open $(singlepoint open)")
@click.pass_obj
def open_page(settings: Settings) -> None:
    """Print the address of the page; it lets one browser in, once, within five minutes."""
    home = open_home(settings.home_path)
    address = read_address(home)
    if address is None:
        raise BrokerAway("no page is served in this home", hint="`singlepoint up --detach --http 8080` starts it")
    word = signed(service_token(home), f"once:{address.instance}", now() + OPENS_S)
    click.echo(f"{address.url}/open?once={word}")
