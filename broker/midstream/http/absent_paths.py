"""The paths of the peers' APIs that are not served here, and the answer to each."""

from typing import Final

_ELSEWHERE: Final = "ask the provider itself."

ABSENT: Final = {
    "/v1/embeddings": f"Embeddings are not made here: {_ELSEWHERE}",
    "/v1/moderations": f"Nothing is moderated here: {_ELSEWHERE}",
    "/v1/images": f"Images are not made here: {_ELSEWHERE}",
    "/v1/audio": f"Audio is neither made nor transcribed here: {_ELSEWHERE}",
    "/v1/videos": f"Videos are not made here: {_ELSEWHERE}",
    "/v1/realtime": "There are no realtime sessions here: stream a response, or use /v1/ws.",
    "/v1/files": "Files are not kept here: give their content in the message, or keep them at the provider.",
    "/v1/uploads": "Files are not kept here: give their content in the message, or keep them at the provider.",
    "/v1/vector_stores": f"There are no vector stores here: {_ELSEWHERE}",
    "/v1/containers": f"There are no containers here: {_ELSEWHERE}",
    "/v1/batches": f"Batches are not taken here: start one response each with `background`, or {_ELSEWHERE}",
    "/v1/messages/batches": f"Batches are not taken here: send one message each, or {_ELSEWHERE}",
    "/v1/conversations": "There are no conversations here: give `previous_response_id`, or the input itself.",
    "/v1/assistants": "There are no assistants here: use /v1/responses.",
    "/v1/fine_tuning": f"Models are not tuned here: {_ELSEWHERE}",
    "/v1/evals": f"There are no evals here: {_ELSEWHERE}",
    "/v1/skills": f"There are no skills here: {_ELSEWHERE}",
    "/v1/completions": "There are no completions without messages here: use /v1/chat/completions.",
    "/v1/complete": "There are no completions without messages here: use /v1/messages.",
}


def is_absent(path: str) -> bool:
    """Tell whether a path is one of those that are not served here, or below one."""
    return any(path == root or path.startswith(f"{root}/") for root in ABSENT)
