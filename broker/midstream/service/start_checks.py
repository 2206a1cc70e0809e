"""Whether a request can be run at all, before anything is counted or stored."""

from midstream.log.state import EXTERNAL
from midstream.requests.betas import refuse_betas
from midstream.requests.catalogue import Choice, UnknownModel, resolve
from midstream.requests.provider_objects import refuse_objects
from midstream.requests.remote_files import refuse_remote_files
from midstream.requests.request import GenerationRequest, TtlError
from midstream.requests.time_limits import refuse_long_times
from midstream.settings import Settings


def runnable_model(request: GenerationRequest, settings: Settings, models: Choice) -> str:
    """Return the full name of a request's model, if the request can be run; raises as `CallerStreams.start`."""
    model = _label(request, models) if request.producer == EXTERNAL else resolve(request.model, settings, models)
    refuse_long_times(request, settings)
    if (request.ttl_s or 0) > settings.max_ttl_s:
        raise TtlError(f"At most {settings.max_ttl_s} s (MIDSTREAM_MAX_TTL_S).")
    items = request.as_items()
    refuse_objects(model, request.params, items, settings)
    refuse_remote_files(model, items, settings)
    refuse_betas(model, request.params)
    return model


def _label(request: GenerationRequest, models: Choice) -> str:
    """Return what a stream of an external producer has for a model."""
    if not models.allows(request.label):
        raise UnknownModel(request.label, sorted(models.named))
    return request.label
