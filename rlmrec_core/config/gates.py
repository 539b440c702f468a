"""Settings of the gates: what a run's figures must be like for its lists to be put to use. Part of no key."""

from typing import Literal

from pydantic import Field

from rlmrec_core.config.section import Section

Action = Literal["stop", "warn", "off"]


class Check(Section):
    """The limits of one figure; one that is none is not looked at."""

    action: Action = Field("stop", description="What a figure outside its limits does: stop the run, warn, or nothing")
    least: float | None = Field(None, description="The figure may not be lower")
    most: float | None = Field(None, description="The figure may not be higher")
    fall: float | None = Field(
        None, ge=0, le=1, description="Share by which it may be lower than in the promoted run; 0.3: by 30 %"
    )
    rise: float | None = Field(
        None, ge=0, description="Share by which it may be higher than in the promoted run; 1: by 100 %"
    )
    only_if_new: bool = Field(
        False,
        description="Whether least and most stop a run only where the promoted one kept them; they warn where it did "
        "not, and in a first run",
    )


class GatesConfig(Section):
    """What is checked after each stage. A change that is too large warns only where the settings changed, too."""

    promote: bool = Field(
        True, description="Whether a run that passes is put to use at once; else by `rlmrec promote` alone"
    )
    rows: Check = Field(Check(fall=0.3, rise=1.0), description="Interactions that were read")
    users: Check = Field(Check(least=1, fall=0.3, rise=1.0), description="Users that the filters kept")
    items: Check = Field(Check(least=1, fall=0.3, rise=1.0), description="Items that the filters kept")
    text: Check = Field(
        Check(fall=0.2), description="Shares of items with title, description, attributes; of interactions with review"
    )
    malformed: Check = Field(Check(most=0.05), description="Share of the raw lines that were skipped as malformed")
    age_days: Check = Field(
        Check(action="warn"), description="Days since the newest interaction; set most where data come every night"
    )
    failed_profiles: Check = Field(
        Check(most=0.1), description="Share of the profiles that the model should have written and did not"
    )
    failed_vectors: Check = Field(Check(most=0.1), description="Share of items and users whose text got no vector")
    cost_usd: Check = Field(
        Check(action="warn", rise=2.0), description="US dollars that this run spent on profiles and vectors"
    )
    recall: Check = Field(Check(fall=0.2), description="Recall of the model that wrote the lists, beyond its interval")
    ndcg: Check = Field(Check(fall=0.2), description="NDCG of the model that wrote the lists, beyond its interval")
    coverage: Check = Field(Check(fall=0.5), description="Share of the items in anybody's list, beyond its interval")
    gain_over_popularity: Check = Field(
        Check(least=0.0, only_if_new=True), description="Recall of the model less that of the most popular items"
    )
    empty_lists: Check = Field(Check(most=0.05), description="Share of the users without a list")
    same_lists: Check = Field(Check(most=0.5), description="Share of the users who got the most frequent list")
    drift: Check = Field(
        Check(action="warn", most=0.25),
        description="Population stability index of the data against the promoted run: below 0.1 is calm, above 0.25 "
        "another population",
    )
    vector_shift: Check = Field(
        Check(action="warn", most=0.1), description="Cosine distance of the mean vector to that of the promoted run"
    )
