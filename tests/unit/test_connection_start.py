"""A connection begins by what all have in common, and is like one that uvicorn begins. PROTOCOL: Read/Fast path."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from midstream.http.fast_path.connection_start import OWN, QuickStart

Server = tuple[uvicorn.Config, ServerState, dict[str, Any]]
PLAIN = HttpToolsProtocol.__init__


async def no_app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture
def server() -> Server:
    config = uvicorn.Config(no_app, log_config=None, proxy_headers=False)
    config.load()
    return config, ServerState(), {}


@pytest.fixture
def kind() -> type[QuickStart]:
    """A class of its own, as each server has."""
    return type("Connection", (QuickStart,), {})


async def test_a_quick_start_ends_where_a_plain_one_does(server: Server, kind: type[QuickStart]) -> None:
    loop = asyncio.get_running_loop()
    connections = [each(*server, _loop=loop) for each in (HttpToolsProtocol, kind, kind)]
    assert [vars(each).keys() == OWN for each in connections] == [False, True, True]
    names = vars(connections[0]).keys()
    plain, first, second = ({name: getattr(each, name) for name in names} for each in connections)
    assert {name for name in plain if first[name] is not plain[name]} == OWN
    assert {name for name in plain if first[name] is not second[name]} == OWN
    assert {name: type(plain[name]) for name in OWN} == {name: type(first[name]) for name in OWN}


async def test_another_server_has_its_own(server: Server, kind: type[QuickStart]) -> None:
    config, state, _ = server
    loop = asyncio.get_running_loop()
    first = kind(*server, _loop=loop)
    second = kind(config, ServerState(), {"of": "another"}, loop)
    assert (second.app_state, first.server_state) == ({"of": "another"}, state)
    assert second.tasks is not first.tasks
    third = kind(*server, _loop=loop)
    assert (third.server_state, third.app) == (state, no_app)


@pytest.mark.parametrize("other", [list, lambda: None], ids=["own to each", "common to all"])
async def test_with_an_attribute_that_nobody_knows_every_connection_begins_plainly(
    server: Server, kind: type[QuickStart], other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def begin(self: HttpToolsProtocol, *arguments: Any) -> None:
        PLAIN(self, *arguments)
        self.other = other()  # type: ignore[attr-defined]
        begun.append(self)

    monkeypatch.setattr(HttpToolsProtocol, "__init__", begin)
    loop = asyncio.get_running_loop()
    connections = [kind(*server, _loop=loop) for _ in range(2)]
    assert [each for each in begun if isinstance(each, QuickStart)] == connections
