"""`@midstream.app`: names a function of the user's own as an app (PROTOCOL: App/Modules)."""

import importlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from midstream.access.access_settings import listed
from midstream.settings import Settings

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
LIFESPAN: Final = "__midstream_lifespan__"

_paths: dict[str, str] = {}
"""By the name of an app, its `module:function`."""


def app(name: str, *, lifespan: Lifespan | None = None) -> Callable[[Function], Function]:
    """Name a function as the app `name`, in a module that `MIDSTREAM_APP_MODULES` names.

    Args:
        name: What follows `app/` in the name of the model.
        lifespan: Returns an async context manager that every worker enters at its start and leaves at its end. What it
            yields is `context.objects`.

    Raises:
        ValueError: There is no name, another function has it, or the function is not its module's own.
    """

    def register(function: Function) -> Function:
        qualified = getattr(function, "__qualname__", "")
        path = f"{getattr(function, '__module__', '')}:{qualified}"
        if not name or not qualified.isidentifier():
            raise ValueError(f"@midstream.app({name!r}) is for a function of a module, and needs a name")
        if _paths.setdefault(name, path) != path:
            raise ValueError(f"the app {name} is {_paths[name]} already, and cannot be {path}")
        setattr(function, LIFESPAN, lifespan)
        return function

    return register


def with_app_modules(settings: Settings) -> Settings:
    """Return the settings with the apps of the modules in `MIDSTREAM_APP_MODULES`, which are imported here.

    A module that cannot be imported is logged, and the process goes on without its apps.
    """
    apps = dict(settings.apps)
    for module in listed(settings.app_modules):
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            logger.error("the module %s of MIDSTREAM_APP_MODULES cannot be imported: %s", module, error)  # noqa: TRY400
            continue
        own = {name: path for name, path in _paths.items() if path.partition(":")[0] == module}
        if not own:
            logger.warning("the module %s of MIDSTREAM_APP_MODULES has no function with @midstream.app", module)
        apps = own | apps
    return settings.model_copy(update={"apps": apps}) if settings.app_modules else settings
