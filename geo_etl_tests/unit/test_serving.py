"""Where the servers are."""

import pytest

from geo_etl.resources.serving import ServingResource
from geo_etl.settings import get_settings
from geo_etl_tests.servers import Reply, scripted


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("features", "stac", "tiles"):
        monkeypatch.setattr(get_settings(), f"{name}_url", f"http://settings/{name}/")


def test_the_settings_say_where_servers_are() -> None:
    serving = ServingResource()
    assert (serving.features_root, serving.stac_root, serving.tiles_root) == (
        "http://settings/features",
        "http://settings/stac",
        "http://settings/tiles",
    )


def test_an_address_of_the_resource_goes_before_the_settings() -> None:
    serving = ServingResource(stac_url="http://here/stac/")
    assert serving.stac_root == "http://here/stac"
    assert serving.tiles_root == "http://settings/tiles"


def test_user_and_password_get_into_no_document() -> None:
    secret = "http://anna:p@ss@here:8000/x"
    serving = ServingResource(features_url=secret, stac_url=secret, tiles_url=secret)
    assert serving.features_root == serving.stac_root == "http://here:8000/x"
    assert serving.collection_url("geo.a") == "http://here:8000/x/collections/geo.a"
    urls = serving.raster_urls("searches/s", "")
    assert urls is not None
    assert "anna" not in f"{urls}"


def test_servers_are_asked_with_user_and_password() -> None:
    with scripted(Reply(b"{}")) as server:
        serving = ServingResource(stac_url=server.root.replace("//", "//anna:secret@"))
        with serving.prober() as prober:
            probe = prober.collection("c")
        assert server.authorized == ["Basic YW5uYTpzZWNyZXQ="]
    assert probe is not None
    assert probe.answer.url == f"{server.root}/collections/c"
