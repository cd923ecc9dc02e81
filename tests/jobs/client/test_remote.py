"""What is sent to a server elsewhere."""

from __future__ import annotations

import os

from singlepoint.jobs.client.remote import Server
from singlepoint.jobs.spec.job import parse


def test_the_variables_of_a_command_are_sent_as_they_are() -> None:
    spec = parse({"kind": "run", "name": "c", "command": ["sh"], "env": {"TOKEN": "s3cret"}})

    document = Server("http://127.0.0.1:1", "token")._with_files_there(spec)

    assert document["env"] == {"TOKEN": "s3cret"}
    assert "s3cret" not in spec.model_dump_json()


def test_where_a_command_runs_is_a_place_there() -> None:
    server = Server("http://127.0.0.1:1", "token")
    here, elsewhere = (
        server._with_files_there(parse({"kind": "run", "name": "c", "command": ["ls"], "cwd": cwd}))
        for cwd in (os.getcwd(), "/srv/project")
    )

    assert "cwd" not in here
    assert elsewhere["cwd"] == "/srv/project"
