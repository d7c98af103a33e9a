"""The fixtures of the tests from end to end: checkouts, and a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from scripts.browser import find_browser
from tests.e2e.checkout import Checkout, copy_project, give_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def make_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Checkout]]:
    """A function that copies the project into a folder of its own."""
    made: list[Checkout] = []

    def make() -> Checkout:
        folder = tmp_path_factory.mktemp("checkout") / "flasky"
        copy_project(folder)
        made.append(Checkout(folder))
        return made[-1]

    yield make
    for one in made:
        one.clean_up()


@pytest.fixture
def checkout(make_checkout: Callable[[], Checkout]) -> Checkout:
    return make_checkout()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; without one the tests fail in CI, and are skipped elsewhere."""
    path = find_browser()
    if path is None:
        give_up("no Chromium on this machine: python scripts/browser.py installs one")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()
