"""How each route of the OpenAPI document is asked, and which scopes it needs (PROTOCOL: Access/Every route)."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from midstream.access.grant import Scope

START, READ, STOP, SEND, OPERATE = Scope.START, Scope.READ, Scope.STOP, Scope.SEND, Scope.OPERATE
FENCE = {"Stream-Epoch": "1", "Stream-Owner": "0123456789abcdef", "Stream-Tail": "1"}
ASK = {"model": "demo/count", "input": "hi"}
TALK = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]}
CHAT = {"trigger": "submit-message", "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]}


@dataclass(frozen=True)
class Row:
    """How a route is asked, and what it needs.

    Attributes:
        needs: The scopes; a credential without one of them is refused, whatever it asks for.
        body: What is sent. `{stream}` stands for a stream's id, here as in the path.
        begins: Whether it begins a stream, which is then the sender's own.
        is_public: Whether it is for everybody, with a credential or without.
    """

    needs: tuple[Scope, ...] = ()
    body: dict[str, Any] | None = None
    begins: bool = False
    is_public: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def sent(self, method: str, path: str, stream_id: str) -> dict[str, Any]:
        """Return the request about a stream."""
        named = {
            "stream_id": stream_id,
            "response_id": f"resp_{stream_id}",
            "chat_id": f"chat-{stream_id}",
            "thread": f"chat-{stream_id}",
            "user": "ada",
            "tenant": "acme",
            "outlet": "hook",
            "name": "host:1:abcd",
        }
        content = orjson.dumps(self.body).decode().replace("{stream}", stream_id) if self.body is not None else ""
        headers = self.headers | ({"Content-Type": "application/json"} if content else {})
        url = path.format(**named, model="demo/count")
        return {"method": method.upper(), "url": url, "content": content, "headers": headers}


ROUTES: dict[tuple[str, str], Row] = {
    ("post", "/v1/streams"): Row((START,), ASK, begins=True),
    ("get", "/v1/streams"): Row((READ,)),
    ("get", "/v1/streams/{stream_id}"): Row((READ,)),
    ("delete", "/v1/streams/{stream_id}"): Row((STOP,)),
    ("get", "/v1/streams/{stream_id}/entries"): Row((READ,)),
    ("get", "/v1/streams/{stream_id}/events"): Row((READ,)),
    ("post", "/v1/streams/{stream_id}/cancel"): Row((STOP,)),
    ("post", "/v1/streams/{stream_id}/entries"): Row((SEND,), {"type": "text", "text": "hi"}, headers=FENCE),
    ("post", "/v1/streams/{stream_id}/lease"): Row((SEND,), headers=FENCE),
    ("post", "/v1/streams/{stream_id}/seal"): Row((SEND,), {"outcome": "completed"}, headers=FENCE),
    ("get", "/v1/threads"): Row((READ,)),
    ("get", "/v1/threads/{thread}"): Row((READ,)),
    ("get", "/v1/threads/{thread}/events"): Row((READ,)),
    ("delete", "/v1/threads/{thread}"): Row((STOP,)),
    ("delete", "/v1/users/{user}"): Row((STOP,)),
    ("post", "/v1/tokens"): Row((READ,), {"stream": "{stream}"}),
    ("post", "/v1/session"): Row(),
    ("delete", "/v1/session"): Row(is_public=True),
    ("post", "/api/chat"): Row((START, READ, STOP), CHAT | {"id": "chat-{stream}", "model": "demo/count"}, begins=True),
    ("get", "/api/chat/{chat_id}/stream"): Row((READ,)),
    ("post", "/api/chat/{chat_id}/stop"): Row((STOP,)),
    ("post", "/v1/responses"): Row((START, READ), ASK | {"previous_response_id": "resp_{stream}"}),
    ("post", "/v1/responses/compact"): Row((START, READ), ASK | {"previous_response_id": "resp_{stream}"}),
    ("post", "/v1/responses/input_tokens"): Row((START,), ASK | {"previous_response_id": "resp_{stream}"}),
    ("get", "/v1/responses/{response_id}"): Row((READ,)),
    ("delete", "/v1/responses/{response_id}"): Row((STOP,)),
    ("post", "/v1/responses/{response_id}/cancel"): Row((STOP, READ)),
    ("get", "/v1/responses/{response_id}/input_items"): Row((READ,)),
    ("post", "/v1/chat/completions"): Row((START, READ), TALK, begins=True),
    ("post", "/v1/messages"): Row((START, READ), TALK | {"max_tokens": 9}, begins=True),
    ("post", "/v1/messages/count_tokens"): Row((START,), TALK),
    ("get", "/v1/models"): Row(),
    ("get", "/v1/models/{model}"): Row(),
    ("get", "/v1/operate/streams"): Row((OPERATE,)),
    ("post", "/v1/operate/streams/{tenant}/{stream_id}/cancel"): Row((OPERATE,)),
    ("post", "/v1/operate/streams/{tenant}/{stream_id}/requeue"): Row((OPERATE,)),
    ("post", "/v1/operate/streams/{tenant}/{stream_id}/seal"): Row((OPERATE,), {"reason": "it hangs"}),
    ("post", "/v1/operate/streams/{tenant}/{stream_id}/trim"): Row((OPERATE,)),
    ("post", "/v1/operate/streams/{tenant}/{stream_id}/retain"): Row((OPERATE,), {"ttl_s": 60}),
    ("delete", "/v1/operate/streams/{tenant}/{stream_id}"): Row((OPERATE,)),
    ("post", "/v1/operate/workers/{name}/drain"): Row((OPERATE,)),
    ("post", "/v1/operate/brokers/{name}/drain"): Row((OPERATE,)),
    ("post", "/v1/operate/acts"): Row((OPERATE,), {"act": "cancel", "where": {"q": "{stream}"}, "expect": 1}),
    ("get", "/v1/operate/audit"): Row((OPERATE,)),
    ("get", "/v1/operate/costs"): Row((OPERATE,)),
    ("get", "/v1/operate/outlets"): Row((OPERATE,)),
    ("get", "/v1/operate/outlets/{outlet}"): Row((OPERATE,)),
    ("post", "/v1/operate/outlets/{outlet}/again"): Row((OPERATE,)),
    ("get", "/v1/operate/workers"): Row((OPERATE,)),
    ("get", "/v1/operate/brokers"): Row((OPERATE,)),
    ("get", "/v1/operate/queue"): Row((OPERATE,)),
    ("get", "/v1/operate/redis"): Row((OPERATE,)),
    ("get", "/v1/operate/doctor"): Row((OPERATE,)),
    ("get", "/v1/operate/stats"): Row((OPERATE,)),
    ("get", "/v1/operate/streams/{tenant}/{stream_id}"): Row((OPERATE,)),
    ("get", "/v1/operate/streams/{tenant}/{stream_id}/entries"): Row((OPERATE,)),
    ("get", "/v1/operate/streams/{tenant}/{stream_id}/frames"): Row((OPERATE,)),
    ("get", "/v1/operate/streams/{tenant}/{stream_id}/shape"): Row((OPERATE,)),
    ("get", "/healthz"): Row(is_public=True),
    ("get", "/readyz"): Row(is_public=True),
}
