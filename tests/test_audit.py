from tests.audit import verdict

SOUND = {"name": "sound", "version": "1.0", "vulns": []}
FAULTY = {"name": "faulty", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}
OLD_PIP = {"name": "pip", "version": "20.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_a_finding_fails_and_names_the_release_that_is_fixed():
    lines, status = verdict([SOUND, FAULTY, UNKNOWN])
    assert status == 1
    assert lines == [
        "faulty 2.0: PYSEC-1, fixed in 2.1",
        "1 known vulnerabilities in 2 packages; 1 could not be audited",
    ]


def test_no_finding_in_what_is_ours_passes():
    assert verdict([SOUND, OLD_PIP]) == (["0 known vulnerabilities in 1 packages"], 0)


def test_an_audit_of_nothing_is_not_called_clean():
    lines, status = verdict([UNKNOWN, OLD_PIP])
    assert status == 0 and "NOT DONE" in lines[0]
