"""HTTP requests become calls of the data plane, and what it says becomes JSON."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import orjson

from cotenant.core.errors import CotenantError, InvalidRequest, NotFound
from cotenant.serving import codec
from cotenant.serving.courtesy import Courtesy
from cotenant.serving.dataplane import DataPlane
from cotenant.serving.http import HttpRequest, HttpResponse
from cotenant.serving.json_form import build_answer, inflate, parse_call, parse_json
from cotenant.serving.security import Token

_NO_CACHE = {name: {"count": 0, "ns": 0} for name in ("cache_hit", "cache_miss")}
"""There is no cache of responses; perf_analyzer reads these without asking whether they are."""
_OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")


class Target(NamedTuple):
    """What a path names, besides its route."""

    model: str
    version: str


Endpoint = Callable[[HttpRequest, Target], Awaitable[HttpResponse]]


class Rest:
    """The REST face of a data plane."""

    def __init__(self, plane: DataPlane, token: Token, max_body_bytes: int) -> None:
        self._plane = plane
        self._token = token
        self._max_body_bytes = max_body_bytes
        self._courtesy = Courtesy(plane.runtime)
        # A route is its path without the names in it; each has one method, or two.
        self._routes: dict[str, dict[str, Endpoint]] = {
            "": {"GET": self._server},
            "health/live": {"GET": self._live},
            "health/ready": {"GET": self._ready},
            "cotenant/lanes": {"GET": self._lanes},
            "models/stats": {"GET": self._statistics},
            "models/*": {"GET": self._model},
            "models/*/ready": {"GET": self._model_ready},
            "models/*/config": {"GET": self._config},
            "models/*/stats": {"GET": self._statistics},
            "models/*/infer": {"POST": self._infer},
            "repository/index": {"POST": self._index},
            "repository/models/*/load": {"POST": self._load},
            "repository/models/*/unload": {"POST": self._unload},
        }

    async def respond(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; every error becomes `{"error": ...}`."""
        try:
            if request.path not in _OPEN_PATHS:
                self._token.check(request.headers.get(b"authorization"))
            route, target = _route(request.path)
            methods = self._routes.get(route)
            if methods is None:
                raise NotFound(
                    f"there is no {request.path!r} here; "
                    "see GET /v2 and /v2/models/NAME, POST /v2/models/NAME/infer"
                )
            method = "GET" if request.method == "HEAD" else request.method
            endpoint = methods.get(method)
            if endpoint is None:
                allowed = ", ".join(methods)
                answer = refuse(405, f"{request.path} takes {allowed}, not {request.method}")
                return answer._replace(headers=((b"allow", allowed.encode()),))
            response = await endpoint(self._plain(request), target)
        except CotenantError as error:
            response = refuse(codec.status_of(error).http, codec.message_of(error))
            if response.status == 401:
                response = response._replace(headers=((b"www-authenticate", b"Bearer"),))
        trace = request.headers.get(b"traceparent")
        if trace is not None:
            response = response._replace(headers=(*response.headers, (b"traceparent", trace)))
        return response

    def hold(self, url: bytes, resume: Callable[[], None]) -> bool:
        """Whether the body of a request to `url` stays unread until `resume` is called."""
        try:
            _, target = _route(url.partition(b"?")[0].decode("latin-1"))
        except InvalidRequest:
            return False  # it will be told so when its body is there
        return self._courtesy.hold(target.model, resume)

    def _plain(self, request: HttpRequest) -> HttpRequest:
        encoding = request.headers.get(b"content-encoding", b"identity").decode("latin-1").lower()
        if encoding == "identity":
            return request
        return request._replace(body=inflate(request.body, encoding, self._max_body_bytes))

    # Endpoints

    async def _infer(self, request: HttpRequest, target: Target) -> HttpResponse:
        header_length = request.headers.get(b"inference-header-content-length")
        asked = parse_call(target.model, target.version, request.body, header_length)
        pieces, json_length = build_answer(asked, await self._plane.infer(asked.call))
        if json_length is None:
            return HttpResponse(200, pieces)
        length = (b"inference-header-content-length", b"%d" % json_length)
        return HttpResponse(200, pieces, (length,), b"application/octet-stream")

    async def _server(self, _request: HttpRequest, _target: Target) -> HttpResponse:
        return _json(self._plane.server_metadata())

    async def _live(self, _request: HttpRequest, _target: Target) -> HttpResponse:
        return _json({"live": True})

    async def _ready(self, _request: HttpRequest, _target: Target) -> HttpResponse:
        ready = self._plane.ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def _lanes(self, _request: HttpRequest, _target: Target) -> HttpResponse:
        return _json(self._plane.lanes())

    async def _statistics(self, _request: HttpRequest, target: Target) -> HttpResponse:
        answer = self._plane.model_statistics(*target)
        for one in answer["model_stats"]:
            one["inference_stats"] |= _NO_CACHE
        return _json(answer)

    async def _model(self, _request: HttpRequest, target: Target) -> HttpResponse:
        return _json(self._plane.metadata(*target))

    async def _model_ready(self, _request: HttpRequest, target: Target) -> HttpResponse:
        ready = self._plane.model_ready(*target)
        return _json({"name": target.model, "ready": ready}, 200 if ready else 503)

    async def _config(self, _request: HttpRequest, target: Target) -> HttpResponse:
        return _json(self._plane.config(*target))

    async def _index(self, request: HttpRequest, _target: Target) -> HttpResponse:
        only_ready = parse_json(request.body).get("ready", False)
        if not isinstance(only_ready, bool):
            raise InvalidRequest(f"'ready' is {only_ready!r}; send true or false")
        return _json(self._plane.index(only_ready))

    async def _load(self, request: HttpRequest, target: Target) -> HttpResponse:
        parameters = parse_json(request.body).get("parameters") or {}
        await self._plane.load(target.model, parameters)
        return _json({})

    async def _unload(self, request: HttpRequest, target: Target) -> HttpResponse:
        parse_json(request.body)
        await self._plane.unload(target.model)
        return _json({})


def refuse(status: int, message: str) -> HttpResponse:
    """An error in the one shape that clients know."""
    return _json({"error": message}, status)


def _route(path: str) -> tuple[str, Target]:
    """A path's route and the names in it.

    >>> _route("/v2/models/cam/versions/1/infer")
    ('models/*/infer', Target(model='cam', version='1'))
    """
    root, *parts = path.removeprefix("/").removesuffix("/").split("/")
    if root != "v2" or not path.startswith("/"):
        return "unknown", Target("", "")
    at = 2 if parts[:2] == ["repository", "models"] else 1
    if len(parts) <= at or parts[0] not in ("models", "repository") or parts == ["models", "stats"]:
        return "/".join(parts), Target("", "")
    if parts[0] == "repository" and at == 1:
        return "/".join(parts), Target("", "")
    model, version = _name(parts[at]), ""
    parts[at] = "*"
    if len(parts) > at + 2 and parts[at + 1] == "versions":
        version = _name(parts[at + 2])
        del parts[at + 1 : at + 3]
    return "/".join(parts), Target(model, version)


def _name(part: str) -> str:
    if "%" not in part:
        return part
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the path holds {part!r}, which is no UTF-8") from error


def _json(content: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, (orjson.dumps(content),))
