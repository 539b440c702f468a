"""A person at a browser: what is clicked and typed is found by the words on the page."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.waiting import PATIENCE

# The page is drawn anew while one looks at it, and slides over what one clicks.
_PASSING = (StaleElementReferenceException, ElementClickInterceptedException)
# Nothing but the page itself is asked for.
_QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip


def programs() -> tuple[str, str] | None:
    """Chromium and its driver; None where either is missing."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Person:
    """Somebody who reads, clicks and types; leave with `close`."""

    def __init__(self, browser: str, driver: str, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for argument in (*_QUIET, f"--user-data-dir={profile}", "--window-size=1280,1040"):
            options.add_argument(argument)
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def close(self) -> None:
        self.driver.quit()

    def open(self, address: str) -> None:
        self.driver.get(address)

    def wait(self, true: Callable[[webdriver.Chrome], Any], what: str) -> Any:
        """What `true` gives as soon as that is something."""
        return WebDriverWait(self.driver, PATIENCE, 0.2, _PASSING).until(true, f"{what}: not on {self.driver.title}")

    def find(self, xpath: str) -> WebElement:
        """The first visible element."""
        return self.wait(lambda driver: _visible(driver, xpath), xpath)

    def click(self, text: str) -> None:
        """Click the first visible thing with this text."""
        xpath = f"//*[text()[normalize-space()='{text}']]"
        self.wait(lambda driver: _clicked(_visible(driver, xpath)), f"{text!r} to click")

    def watch(self, xpath: str) -> None:
        """Wait for what appears in the course of a run; the page asks the server only now and then."""
        for seconds in range(4, 40, 4):  # a busy machine takes its time to draw the page
            with suppress(TimeoutException):
                WebDriverWait(self.driver, seconds, 0.2, _PASSING).until(lambda driver: _visible(driver, xpath))
                return
            self.driver.refresh()
        raise AssertionError(f"no {xpath} on {self.driver.title}: {self.find('//body').text}")

    def fill(self, label: str, value: str) -> None:
        """Replace what stands in the field with this label."""
        xpath = f"//label[starts-with(normalize-space(), '{label}')]/following::input[1]"
        self.wait(lambda driver: _filled(_visible(driver, xpath), value), f"{label!r} to fill with {value!r}")

    def submit(self, name: str) -> None:
        """Submit the form, again if the server was too busy, and open the run `name` from the deployment's page.

        Once it has begun, its name begins with that of the data set.
        """
        link, refusal = f"//a[contains(normalize-space(), '{name}')]", "//*[contains(text(), 'Something went wrong')]"
        for _ in range(5):
            self.click("Submit")
            if self.find(f"{link} | {refusal}").tag_name == "a":
                self.wait(lambda driver: _clicked(_visible(driver, link)), f"{name!r} to click")
                return
            self.wait(lambda driver: _closed(driver, refusal), "the refusal closed")
        raise AssertionError(f"the server refused the run {name!r} five times")

    def table(self) -> list[list[str]]:
        """The texts of a table's cells, its head first, as soon as it has rows."""
        self.find("//table//td")
        return self.wait(_cells, "a table that stays")


def _cells(driver: webdriver.Chrome) -> list[list[str]]:
    rows = driver.find_elements(By.CSS_SELECTOR, "table tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]


def _visible(driver: webdriver.Chrome, xpath: str) -> WebElement | None:
    return next((element for element in driver.find_elements(By.XPATH, xpath) if element.is_displayed()), None)


def _closed(driver: webdriver.Chrome, message: str) -> bool:
    """Whether no such message is left; each call closes one, which slides in and may go by itself."""
    _clicked(_visible(driver, f"{message}/following::button[1]"))
    return _visible(driver, message) is None


def _clicked(element: WebElement | None) -> bool:
    if element:
        element.click()
    return element is not None


def _filled(field: WebElement | None, value: str) -> bool:
    if not field:
        return False
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(value)
    return field.get_property("value") == value
