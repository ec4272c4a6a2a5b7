from pathlib import Path

import pytest

from scheduler.stats.assets import FOLDER, Dashboard
from tests.stats.operators import Client, serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    (folder / "vendor").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>é")
    (folder / "vendor" / "a.js").write_text("let a")
    (folder / "notes.py").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    return folder


def test_page_and_assets(folder: Path) -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/dashboard")
        assert response.url.path == "/dashboard/"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert await response.text() == "<!doctype html>é"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        response = await client.get("/dashboard/vendor/a.js")
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        known = {"If-None-Match": response.headers["ETag"]}
        assert (await client.get("/dashboard/vendor/a.js", headers=known)).status == 304

    serve(talk, dashboard=Dashboard(folder))


@pytest.mark.parametrize("name", ["notes.py", "..%2Foutside.js", "vendor", "vendor/", "%00"])
def test_nothing_else_is_served(folder: Path, name: str) -> None:
    async def talk(client: Client) -> None:
        response = await client.get(f"/dashboard/{name}")
        assert response.status == 404
        assert "secret" not in await response.text()

    serve(talk, dashboard=Dashboard(folder))


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    async def talk(client: Client) -> None:
        assert (await client.get("/dashboard/")).status == 404

    serve(talk, dashboard=Dashboard(tmp_path / "none"))


def test_all_files_of_the_dashboard_are_of_known_kinds() -> None:
    served = Dashboard()._files
    present = {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*") if p.is_file()}
    unserved = {name for name in present - set(served) if not name.endswith((".md", ".LICENSE"))}
    assert not unserved
