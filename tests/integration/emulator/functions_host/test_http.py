"""HTTP triggers on a real host: routes, keys, settings, what a function gets and gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.functions_host import LiveHost


@pytest.mark.parametrize(("method", "path", "expected"), [
    ("GET", "items/7", {"route": "item", "method": "GET", "id": "7"}),
    ("DELETE", "items/7", {"route": "item", "method": "DELETE", "id": "7"}),
    ("GET", "items/0", None),
    ("GET", "items/pear", {"route": "named", "name": "pear", "q": None}),
    ("GET", "items/pear/3?q=a&q=b", {"route": "named", "name": "pear", "size": "3", "q": "a,b"}),
    ("GET", "items/pear/big", None),
    ("GET", "items/special", {"route": "special"}),
    ("POST", "items/special", None),
    ("GET", "files/a/b%20c.txt", {"route": "files", "path": "a/b c.txt", "length": 0}),
    ("GET", "files", {"route": "files", "path": None, "length": 0}),
    ("GET", "nowhere", None),
    ("GET", "closed", None),
])
def test_a_path_reaches_its_function(shop: LiveHost, method: str, path: str, expected: dict[str, Any] | None) -> None:
    answer = shop.http.request(method, f"/shop/v1/{path}")
    assert answer.status_code == (404 if expected is None else 200), answer.text
    if expected is not None:
        assert answer.json() == expected


def test_bodies_headers_and_cookies_pass_both_ways(shop: LiveHost) -> None:
    assert shop.http.put("/shop/v1/files/x", content=bytes(70_000)).json()["length"] == 70_000
    answer = shop.http.get("/shop/v1/cookie", headers={"X-Who": "ada"})
    assert answer.text == "crumbs"
    assert (answer.headers["x-who"], answer.headers["x-shop"]) == ("ada", "open")
    assert answer.headers["set-cookie"] == "basket=7; Path=/; HttpOnly"


def test_a_function_that_raises_is_a_500_and_the_host_lives(shop: LiveHost) -> None:
    assert shop.http.get("/shop/v1/fails").status_code == 500
    assert "the shop burns" in shop.log
    assert shop.http.get("/shop/v1/items/1").status_code == 200


def test_settings_come_from_the_file_and_the_environment_wins(shop: LiveHost) -> None:
    assert shop.http.get("/shop/v1/settings").json() == {
        "SHOP_HUB": "ShopHub", "SHOP_GREETING": "from the environment", "SHOP_SCHEDULE": "0 0 3 * * *"}


def test_keys_open_what_their_level_says(shop: LiveHost) -> None:
    def status(path: str, key: str | None = None, *, header: bool = False) -> int:
        given = {} if key is None else {"headers": {"x-functions-key": key}} if header else {"params": {"code": key}}
        return shop.http.get(f"/shop/v1/{path}", **given).status_code

    own = shop.admin("GET", "/admin/functions/keyed/keys").json()["keys"][0]
    other = shop.admin("GET", "/admin/functions/managed/keys").json()["keys"][0]
    assert own["name"] == "default"
    keys = shop.keys
    assert [status("keyed", key) for key in (None, "wrong", "", keys["eventgrid_extension"], other["value"])] == [401] * 5
    assert [status("keyed", key, header=header) for key in (own["value"], keys["default"], keys["master"]) for header in (True,
        False)] == [200] * 6
    assert [status("managed", key) for key in (None, own["value"], other["value"], keys["default"])] == [401] * 4
    assert status("managed", keys["master"]) == 200
    assert shop.http.get("/shop/v1/keyed", params={"code": keys["default"]}, headers={"x-functions-key": "wrong"}).status_code == 401


def test_keys_are_made_rotated_and_deleted(shop: LiveHost) -> None:
    made = shop.admin("PUT", "/admin/functions/keyed/keys/partner", json={"name": "partner", "value": "s3cret"})
    assert (made.status_code, made.json()["value"]) == (201, "s3cret")
    assert shop.http.get("/shop/v1/keyed", params={"code": "s3cret"}).status_code == 200
    rotated = shop.admin("POST", "/admin/functions/keyed/keys/partner").json()["value"]
    assert [shop.http.get("/shop/v1/keyed", params={"code": key}).status_code for key in ("s3cret", rotated)] == [401, 200]
    assert shop.admin("DELETE", "/admin/functions/keyed/keys/partner").status_code == 204
    assert shop.http.get("/shop/v1/keyed", params={"code": rotated}).status_code == 401
    assert shop.admin("DELETE", "/admin/functions/keyed/keys/partner").status_code == 404
    assert shop.admin("PUT", "/admin/host/functionkeys/all", json={"value": "every-one"}).status_code == 201
    assert shop.http.get("/shop/v1/keyed", params={"code": "every-one"}).status_code == 200
    assert shop.admin("PUT", "/admin/functions/keyed/keys/bad", content=b"{").status_code == 400
    assert shop.http.get("/admin/functions/keyed/keys").status_code == 401
    assert shop.admin("PUT", "/admin/functions/keyed/keys/a%20b", json={"value": "x"}).status_code == 400
    assert {key["name"] for key in shop.admin("GET", "/admin/host/systemkeys").json()["keys"]} >= {
        "eventgrid_extension", "durabletask_extension"}


def test_the_admin_api_shows_and_runs_functions(shop: LiveHost) -> None:
    assert shop.http.get("/admin/host/status").json()["state"] == "Running"
    functions = {function["name"]: function for function in shop.admin("GET", "/admin/functions").json()}
    assert functions["closed"]["isDisabled"] is True
    assert functions["nightly"]["config"]["bindings"][0]["type"] == "timerTrigger"
    assert shop.admin("POST", "/admin/functions/keyed", json={"input": ""}).status_code == 400
    assert shop.admin("POST", "/admin/functions/nobody", json={"input": ""}).status_code == 404
