"""A stage rerun from the Prefect UI, as a person does it, on data whose titles and profiles are hostile."""

import csv
import json
import urllib.request

import numpy as np
import pyarrow.parquet as pq
import pytest
from selenium.webdriver.common.by import By

from tests.integration.browser import Person, programs
from tests.integration.command import finish, last_run, start_run
from tests.tasks.by_hand import TINY

NAME = "hostile"


@pytest.fixture
def person(tmp_path):
    found = programs()
    if not found:
        pytest.skip("no chromium with its chromedriver on the PATH")
    somebody = Person(*found, tmp_path / "profile")
    yield somebody
    somebody.close()


def harm(item: int) -> str:
    """A title that would run a script, in HTML, in markdown or in an address."""
    act = f"window.harmed={item}"
    tricks = [f"<img src=x onerror={act}>", f"<script>{act}</script>", f"[look](javascript:{act})"]
    return f"Book {item} {tricks[item % 3]}"


@pytest.fixture
def hostile(tmp_path):
    """Settings of a run on a shop whose texts are all hostile."""
    folder, rng = tmp_path / "shop", np.random.default_rng(1)
    folder.mkdir()
    tables = {
        "interactions": [["user_id", "item_id", "review"]]
        + [[f"u{user}", f"i{item}", harm(item)] for user in range(20) for item in rng.permutation(16)[:7]],
        "items": [["item_id", "title", "description"]] + [[f"i{item}", harm(item), harm(item)] for item in range(16)],
    }
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    columns = {name: name for name in ("user_id", "item_id", "review", "title", "description")}
    base = TINY["train"] | {"variants": ["base"]}
    return TINY | {"ingest": {"reader": "tabular", "path": str(folder), "columns": columns}, "train": base}


def unharmed(person) -> bool:
    return person.driver.execute_script("return window.harmed === undefined")


def test_a_stage_is_rerun_from_its_form_with_a_changed_field(person, up, hostile):
    status, output = finish(start_run(up.store, hostile, name=NAME))
    assert status == 0, output

    page = next(word for word in output.split() if "/runs/flow-run/" in word)
    person.open(page)
    person.click("Artifacts")
    person.click(f"summary-{NAME}")
    person.find(f"//h2[normalize-space()='Data set {NAME}: promoted']")
    person.find("//li[starts-with(normalize-space(), 'verdict: none of')]")
    titles = pq.read_table(last_run(up.store)["recommendations"])["title"].to_pylist()
    begins = " ".join(titles[0].split()[:2])
    person.find(f"//td[starts-with(normalize-space(), {begins!r})]")
    assert unharmed(person)

    # The page of all deployments shows a few at a time.
    with urllib.request.urlopen(f"{up.api}/deployments/name/recommend/recommend") as answer:
        deployment = json.load(answer)["id"]
    person.open(f"{up.api.removesuffix('/api')}/deployments/deployment/{deployment}")
    person.click("Run")
    person.click("Custom run")
    person.fill("Run Name", "longer lists")
    person.fill("List length", "5")
    person.submit("longer lists")

    person.watch("//*[contains(@class, 'page-heading')]//*[normalize-space()='Completed']")
    person.click("Artifacts")
    person.click(f"recommendations-{NAME}")
    head, *rows = person.table()
    assert head == ["user_id", "rank", "item_id", "title", "score"]
    assert {row[1] for row in rows} == set("12345")
    assert {tuple(row[3].split()[:2]) for row in rows} <= {("Book", str(item)) for item in range(16)}
    assert unharmed(person)
    assert not person.driver.find_elements(By.CSS_SELECTOR, "td script, td a")
