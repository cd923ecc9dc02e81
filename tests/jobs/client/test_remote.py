"""What is sent to a server elsewhere."""

from __future__ import annotations

from singlepoint.jobs.client.remote import Server
from singlepoint.jobs.spec.job import parse


def test_the_variables_of_a_command_are_sent_as_they_are() -> None:
    spec = parse({"kind": "run", "name": "c", "command": ["sh"], "env": {"TOKEN": "s3cret"}})

    document = Server("http://127.0.0.1:1", "token")._with_files_there(spec)

    assert document["env"] == {"TOKEN": "s3cret"}
    assert "s3cret" not in spec.model_dump_json()
