"""The template for another exchange has exactly the methods of the ports."""

import inspect
from typing import Any

import pytest

from src.domain.ports import Exchange, MarketFeed
from src.exchanges._template.exchange import TemplateExchange, TemplateFeed


def signatures(of: type[Any]) -> dict[str, inspect.Signature]:
    """Return the public methods of a class and what they take and return."""
    return {name: inspect.signature(each) for name, each in vars(of).items() if callable(each) and name[0] != "_"}


@pytest.mark.parametrize(("template", "port"), [(TemplateExchange, Exchange), (TemplateFeed, MarketFeed)])
def test_the_template_has_the_methods_of_its_port(template: type[Any], port: type[Any]) -> None:
    assert signatures(template) == signatures(port)
