"""The report and an experiment in a browser: hostile texts stay text, and the report is used by keyboard."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rlmrec_core.config import load_config
from rlmrec_core.experiments.sheet import Bar, Sheet
from rlmrec_core.reports import page
from tasks.experiment_page import experiment_page
from tests.integration.browser import Person, programs

HOSTILE = "</script><script>window.harmed=1</script><img src=x onerror='window.harmed=1'>"


def content() -> dict:
    item = {"profile": HOSTILE, "popularity": 3, "similar": [[1, 0.5]], "users": [0]}
    return {
        "title": HOSTILE,
        "about": HOSTILE,
        "verdict": [HOSTILE, "second line"],
        "measured": "on test",
        "metrics": {"columns": ["model", "recall@20"], "rows": [[HOSTILE, 0.25]]},
        "curve": [[0, 0.1], [3, 0.2]],
        "settings": [[HOSTILE, HOSTILE]],
        "settings_from": HOSTILE,
        "data": [["users", "2"]],
        "costs": [["items, ok", HOSTILE, 2, "nothing"]],
        "users": [
            {"id": HOSTILE, "profile": HOSTILE, "history": [0], "more": 2, "list": [[1, 0.5, HOSTILE]]},
            {"id": "zoe", "profile": "likes dragons", "history": [1], "more": 0, "list": [[0, 0.75, "because"]]},
        ],
        "items": [{"id": "a", "title": HOSTILE, **item}, {"id": "b", "title": None, **item, "similar": [[0, 0.5]]}],
    }


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    found = programs()
    if not found:
        pytest.skip("no Chromium with its driver is installed")
    somebody = Person(*found, tmp_path_factory.mktemp("profile"))
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page(HOSTILE, content()), encoding="utf-8")
    somebody.open(file.as_uri())
    yield somebody
    somebody.close()


def test_hostile_texts_are_shown_and_do_nothing(person):
    for link in ("#users button", "#user table button", "#items button", "#item table button"):
        person.driver.find_element(By.CSS_SELECTOR, link).click()
    shown = person.driver.find_element(By.TAG_NAME, "main").text
    assert shown.count(HOSTILE) >= 5
    assert person.driver.execute_script("return window.harmed === undefined && document.images.length === 0")
    assert person.driver.title == HOSTILE
    assert not person.driver.get_log("browser")


def test_a_user_is_found_by_keyboard(person):
    person.driver.find_element(By.ID, "find-user").send_keys("ZO", Keys.TAB, Keys.ENTER)
    shown = person.driver.find_element(By.ID, "user").text
    assert "User zoe" in shown
    assert "likes dragons" in shown
    assert "because" in shown
    person.driver.find_element(By.ID, "find-user").send_keys("nobody")
    assert "is among the 2 shown here" in person.driver.find_element(By.ID, "users").text


def test_it_fits_a_phone(person):
    person.driver.set_window_size(400, 800)
    width = person.driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0


def test_an_experiment_shows_its_rows_and_its_picture(person, tmp_path):
    bars = [Bar(HOSTILE, 0.3, 0.01, 0.25), Bar("sgl base", 0.2, is_reference=True)]
    sheet = Sheet(
        ["model", "recall@20"], [[HOSTILE, "0.3000 ± 0.0100*"], ["sgl base", "0.2000"]], HOSTILE, bars, [HOSTILE]
    )
    config = load_config(overrides={"name": "shop", "train": {"seeds": [1, 2]}})
    file = tmp_path / "experiment.html"
    file.write_text(experiment_page("table1", config, sheet, HOSTILE), encoding="utf-8")
    person.driver.set_window_size(400, 800)
    person.open(file.as_uri())
    assert person.driver.find_element(By.TAG_NAME, "main").text.count(HOSTILE) == 3
    assert "seeds 1, 2" in person.driver.find_element(By.ID, "about").text
    numbers = person.driver.find_elements(By.CSS_SELECTOR, "td.number")
    assert [cell.text for cell in numbers] == ["0.3000 ± 0.0100*", "0.2000"]
    drawn = "const picture = document.getElementById('picture'); return picture.complete && picture.naturalWidth"
    assert person.wait(lambda driver: driver.execute_script(drawn), "the picture") > 100
    assert person.driver.execute_script("return window.harmed === undefined")
    assert person.driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert not person.driver.get_log("browser")
