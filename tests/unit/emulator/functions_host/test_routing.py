"""Routes of HTTP triggers: which path goes to which function, with which parameters."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.functions_host.routing import InvalidRoute, compile_route, compile_template, find
from emulator.functions_host.runtime import Function


def _function(name: str, route: str | None = None, methods: list[str] | None = None) -> Function:
    trigger: dict[str, Any] = {"type": "httpTrigger", "name": "req", "route": route, "methods": methods}
    return Function(name, name, [trigger])


@pytest.mark.parametrize(("template", "path", "expected"), [
    ("items", "items", {}),
    ("items", "ITEMS", {}),
    ("items", "items/1", None),
    ("items/{id}", "items/a%2Fb", {"id": "a/b"}),
    ("items/{id}", "items/", None),
    ("items/{id}", "items", None),
    ("items/{id?}", "items", {}),
    ("items/{id?}", "items/", {}),
    ("items/{id?}", "items/7", {"id": "7"}),
    ("items/{id:int?}", "items", {}),
    ("items/{id:int?}", "items/x", None),
    ("items/{id:int}", "items/-12", {"id": "-12"}),
    ("items/{id:int}", "items/2147483648", None),
    ("items/{id:long}", "items/2147483648", {"id": "2147483648"}),
    ("items/{id:int}", "items/٣", None),
    ("items/{id:int:min(5)}", "items/4", None),
    ("items/{id:int:min(5)}", "items/5", {"id": "5"}),
    ("items/{id:range(1,3)}", "items/4", None),
    ("items/{id:max(3)}", "items/3", {"id": "3"}),
    ("n/{name:alpha}", "n/abc", {"name": "abc"}),
    ("n/{name:alpha}", "n/ab1", None),
    ("n/{name:length(2)}", "n/abc", None),
    ("n/{name:length(2,3)}", "n/abc", {"name": "abc"}),
    ("n/{name:minlength(4)}", "n/abc", None),
    ("n/{name:maxlength(2)}", "n/abc", None),
    ("n/{on:bool}", "n/True", {"on": "True"}),
    ("n/{on:bool}", "n/yes", None),
    ("n/{id:guid}", "n/CD2C1638-1638-72D5-1638-DEADBEEF1638", {"id": "CD2C1638-1638-72D5-1638-DEADBEEF1638"}),
    ("n/{id:guid}", "n/123", None),
    ("n/{at:datetime}", "n/2026-12-31", {"at": "2026-12-31"}),
    ("n/{at:datetime}", "n/someday", None),
    ("n/{w:double}", "n/1.5e3", {"w": "1.5e3"}),
    ("n/{w:decimal}", "n/1.5e3", None),
    ("n/{s:regex(^\\d{3}-[a-z]+$)}", "n/123-ab", {"s": "123-ab"}),
    ("n/{s:regex(^\\d{3}$)}", "n/1234", None),
    ("f/{*path}", "f/a/b%20c", {"path": "a/b c"}),
    ("f/{*path}", "f", {}),
    ("f/{**path}", "f/a/b", {"path": "a/b"}),
    ("g/{name=World}", "g", {"name": "World"}),
    ("g/{name=World}", "g/you", {"name": "you"}),
    ("v{version}/x", "v2/x", {"version": "2"}),
    ("f/{file}.{ext?}", "f/a.txt", {"file": "a", "ext": "txt"}),
    ("f/{file}.{ext?}", "f/a", {"file": "a"}),
    ("f/{{a}}", "f/{a}", {}),
])
def test_a_template_matches_as_asp_net_does(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert compile_template(template).match(path) == expected


@pytest.mark.parametrize("template", ["a/{id", "a/id}", "a/{id}{name}", "a/{id}/{ID}", "a/{*rest}/b", "a/{id?}/b", "a/{id:nothing}", "a/{}",
                                      "a//b", "a/{id:length(x)}", "a/{id:length(3,1)}", "a/{id:regex([)}", "a/{*rest?}", "a/x{*rest}"])
def test_a_template_that_can_not_be_used_is_refused_with_the_functions_name(template: str) -> None:
    with pytest.raises(InvalidRoute, match="broken: the route"):
        compile_route(_function("broken", template), "api")


@pytest.mark.parametrize("route", ["admin/x", "runtime/webhooks", "ADMIN"])
def test_the_hosts_own_paths_are_reserved(route: str) -> None:
    with pytest.raises(InvalidRoute, match="built in routes"):
        compile_route(_function("mine", route), "")
    assert compile_route(_function("mine", route), "api").path == f"api/{route}"


def test_the_most_specific_route_wins_whatever_the_order() -> None:
    functions = [_function("rest", "items/{*rest}"), _function("any", "items/{id}"), _function("number", "items/{id:int}"),
                 _function("literal", "items/new"), _function("all", "items"), _function("posted", "items/{id}", ["POST"])]
    for turn in range(len(functions)):
        routes = sorted((compile_route(f, "") for f in functions[turn:] + functions[:turn]), key=lambda route: route.rank)
        chosen = {path: found[0].function.name for path in ("items/new", "items/4", "items/x", "items/x/y", "items")
                  if (found := find(routes, "GET", path)) is not None}
        assert {**chosen, "items/x": ""} == {"items/new": "literal", "items/4": "number", "items/x": "", "items/x/y": "rest",
                                             "items": "all"}
        assert chosen["items/x"] == "any"


def test_a_function_without_a_route_has_its_name_and_the_methods_it_names() -> None:
    routes = [compile_route(_function("Hello", methods=["get"]), "api")]
    assert find(routes, "GET", "api/hello") is not None
    assert find(routes, "POST", "api/hello") is None
