"""schemathesis against a whole system, for `scripts/schema`."""

import asyncio
import json
import os
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from midstream.access.api_keys import digest
from tests.contract.receivers import webhooks_file
from tests.servers import ValkeyProcess, free_port
from tests.system import ROOT, System

KEY: Final = "k" * 32
OWNER: Final = "o" * 32
SCOPES: Final = ("start", "read", "stop", "send", "operate")
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
ENDED, EXTERNAL, RUNNING, SPARE = 20, 10, 2, 100
THREADS: Final = ["plain", "with space", "a/b", "a/events", "ünï", "100%", "..", "a?b#c"]
SPARE_THREADS: Final = [f"spare {number}" for number in range(20)]
TURNS: Final = 2
SETTINGS: Final[dict[str, object]] = {
    "lease_ms": 600_000,  # an external producer's stream stays open
    "max_wait_s": 0.2,
    "broker_drain_ms": 100,
    "generation_timeout_s": 5,
    "end_give_up_s": 1,
    "tenant_generations": 0,
    "user_generations": 0,
    "tenant_starts_per_minute": 0,
    "user_starts_per_minute": 0,
    "demo_delay_ms": 1,
}
"""Such that no answer takes long, and no limit comes before the answer that is looked at."""


def program() -> str:
    """Return where schemathesis is.

    Raises:
        SystemExit: It is nowhere.
    """
    path = shutil.which("schemathesis", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        raise SystemExit("There is no program schemathesis here: pipx install schemathesis.")
    return path


async def there(system: System) -> dict[str, list[str] | str]:
    """Start streams that end, and some that external producers have; return what values of parameters name them."""
    ended = [await system.post(model="demo/count", input="x", params={"words": 5}) for _ in range(ENDED + SPARE)]
    slow = {"words": 400, "delay_ms": 100}
    running = [await system.post(model="demo/count", input="x", params=slow) for _ in range(RUNNING)]
    headers = {"Stream-Owner": OWNER}
    external = []
    for _ in range(2 * EXTERNAL):
        answer = await system.http.post("/v1/streams", json={"producer": "external"}, headers=headers)
        assert answer.status_code == 201, answer.text
        external.append(answer.json()["id"])
    for name in (*THREADS, *SPARE_THREADS):
        for _ in range(TURNS):
            await system.post(model="demo/count", input="x", thread=name, params={"words": 5})
    outlets = (await system.http.get("/v1/operate/outlets")).json()["data"]
    ids = [*ended[:ENDED], *running, *external[:EXTERNAL]]
    return {
        "stream_id": ids,
        "spare": [*ended[ENDED:], *external[EXTERNAL:]],
        "response_id": [f"resp_{each}" for each in ids],
        "tenant": ["acme"],
        "outlet": [each["name"] for each in outlets],
        "thread": THREADS,
        "spare_thread": SPARE_THREADS,
        "owner": OWNER,
    }


async def run(examples: int, options: list[str]) -> int:
    """Ask, and return schemathesis' exit status."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ValkeyProcess(folder))
        row = f'[[keys]]\nname = "all"\nsha256 = "{digest(KEY)}"\ntenant = "acme"\nscopes = {json.dumps(SCOPES)}\n'
        (folder / "keys.toml").write_text(row)
        nowhere = webhooks_file(folder / "webhooks.toml", ("acme", f"http://127.0.0.1:{free_port()}"))
        settings = SETTINGS | {"keys_file": folder / "keys.toml", "webhooks_file": nowhere}
        system = await stack.enter_async_context(System(server.url, folder, None, **settings))
        system.http.headers["Authorization"] = f"Bearer {KEY}"
        await system.start()
        command = [program(), "run", f"{system.url}/openapi.json", "-H", f"Authorization: Bearer {KEY}"]
        command += ["--max-examples", str(examples), "--checks", ",".join(CHECKS), "--request-timeout", "15"]
        command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color", "--warnings", "off"]
        hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.schema_hooks", "SCHEMA_THERE": json.dumps(await there(system))}
        environment = os.environ | hooks | {"PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(*command, *options, env=environment, cwd=folder)
        status = await process.wait()
        for name in ("broker0", "worker0"):
            lines = [line for line in system.log(name).splitlines() if "midstream.ends.deliverer" not in line]
            errors = [line for line in lines if '"level": "error"' in line]
            print(f"{name}: {len(errors)} errors in its log", *errors[:5], sep="\n")  # noqa: T201
            status |= bool(errors)
    return status
