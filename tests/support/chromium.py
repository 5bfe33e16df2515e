"""Debian's Chromium, headless, for tests of pages."""

import shutil

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
NEEDS_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='needs chromium in the path'),
]
FLAGS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]


@pytest.fixture(scope='module')
def browser():
    """A browser of Playwright's."""
    playwright = pytest.importorskip('playwright.sync_api')
    with playwright.sync_playwright() as library:
        found = library.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()
