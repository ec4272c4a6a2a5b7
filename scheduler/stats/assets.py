"""The dashboard's files, read once: no request touches the disk or names a path on it."""

from pathlib import Path

from aiohttp import web

from scheduler.stats.responses import Prepared

FOLDER = Path(__file__).parent / "dashboard"
PAGE = "index.html"

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Dashboard:
    """Serves a folder of assets; kinds of files that no page needs are left out."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read all of `folder`, which may be missing. Raises OSError."""
        self._files = {
            path.relative_to(folder).as_posix(): Prepared(path.read_bytes(), _TYPES[path.suffix])
            for path in sorted(folder.rglob("*"))
            if path.suffix in _TYPES and path.is_file()
        }

    async def page(self, request: web.Request) -> web.Response:
        """Send the browser to where the page's relative links work."""
        # Relative, so that it also holds behind a proxy that adds a prefix.
        location = f"{request.path.rpartition('/')[2]}/"
        return web.Response(status=308, headers={"Location": location, **_HEADERS})

    async def asset(self, request: web.Request) -> web.Response:
        """Answer with a file. Raises HTTPNotFound."""
        file = self._files.get(request.match_info["name"] or PAGE)
        if file is None:
            raise web.HTTPNotFound
        return file.respond(request, _HEADERS)
