"""A stage rerun from the Prefect UI, as a person does it."""

import pyarrow.parquet as pq
import pytest

from tests.integration.browser import Person, programs
from tests.integration.command import finish, last_run, start_run
from tests.tasks.by_hand import TINY


@pytest.fixture
def person(tmp_path):
    found = programs()
    if not found:
        pytest.skip("no chromium with its chromedriver on the PATH")
    somebody = Person(*found, tmp_path / "profile")
    yield somebody
    somebody.close()


def test_a_stage_is_rerun_from_its_form_with_a_changed_field(person, up):
    status, output = finish(start_run(up.store, TINY))
    assert status == 0, output

    page = next(word for word in output.split() if "/runs/flow-run/" in word)
    person.open(page)
    person.click("Artifacts")
    person.click("summary-sample")
    person.find("//h2[normalize-space()='Data set sample: promoted']")
    person.find("//li[starts-with(normalize-space(), 'verdict: none of')]")
    lists = pq.read_table(last_run(up.store)["recommendations"])
    person.find(f"//td[normalize-space()={lists['title'][0].as_py()!r}]")

    person.open(up.api.removesuffix("/api") + "/deployments")
    person.click("recommend")
    person.click("Run")
    person.click("Custom run")
    person.fill("Run Name", "longer lists")
    person.fill("List length", "5")
    person.submit("longer lists")

    person.watch("//*[contains(@class, 'page-heading')]//*[normalize-space()='Completed']")
    person.click("Artifacts")
    person.click("recommendations-sample")
    head, *rows = person.table()
    assert head == ["user_id", "rank", "item_id", "title", "score"]
    assert {row[1] for row in rows} == set("12345")
