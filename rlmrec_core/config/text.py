"""Settings of the stages that write and embed text: profiles and embeddings."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, model_validator

from rlmrec_core.config.device import DEVICE, Device, settled
from rlmrec_core.config.section import NOT_IN_KEY, InKey, Section

Domain = Literal["books", "businesses", "games", "movies", "generic"]
GeneratorName = Literal["extractive", "llm", "imported"]
ServerKind = Literal["auto", "openai", "azure", "vllm", "ollama", "llama.cpp"]
EmbedSource = Literal["profile", "title", "raw", "title+profile"]


_SECRET_IN_ADDRESS = re.compile(r"(^|[_-])(key|apikey|token|secret|password|sig|signature|auth)$", re.IGNORECASE)

_KEY = re.compile(r"(?<![A-Za-z0-9])(sk|gsk|xai|hf|pplx)[-_][A-Za-z0-9_-]{16,}")  # as those that sell keys write them
_NUMBERS = re.compile(r"[\d.]+")


class MissingSetting(ValueError):
    """A setting that neither the configuration nor the environment gives: says which, and where to put it."""


def _address(base_url: str | None) -> str | None:
    """An address in its one spelling. Raises ValueError where it holds a secret, without showing it."""
    if not base_url or not base_url.strip():
        return None
    parts = urlsplit(base_url.strip())
    if (
        _KEY.search(base_url)
        or parts.username
        or parts.password
        or any(_SECRET_IN_ADDRESS.search(name.replace("api-key", "key")) for name, _ in parse_qsl(parts.query, True))
    ):
        raise ValueError("the address holds a key or a password: take it out, and put the key into OPENAI_API_KEY")
    host = (parts.hostname or "").lower()
    if parts.scheme.lower() not in {"http", "https"} or not _is_host(host):
        raise ValueError('it is no address of a server, such as "http://127.0.0.1:8000/v1"')
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme.lower())
    port = f":{parts.port}" if parts.port and parts.port != usual else ""
    return urlunsplit((parts.scheme.lower(), f"{host}{port}", parts.path.rstrip("/"), parts.query, ""))


def _is_host(text: str) -> bool:
    if _NUMBERS.fullmatch(text) or ":" in text:
        try:
            return bool(ip_address(text.partition("%")[0]))
        except ValueError:
            return False
    return bool(re.fullmatch(r"[^\s/?#@\\]+", text))


def server_identity(base_url: str | None) -> str | None:
    """An address as keys know it: every name of this machine's loopback is the same server."""
    parts = urlsplit(base_url or "")
    if parts.hostname not in {"localhost", "::1"}:
        return base_url
    return urlunsplit(parts._replace(netloc=f"127.0.0.1:{parts.port}" if parts.port else "127.0.0.1"))


Address = Annotated[str | None, AfterValidator(_address), InKey(server_identity)]


def environment_address(environment: Mapping[str, str]) -> str | None:
    """The address that OPENAI_BASE_URL names. Raises MissingSetting where it holds a secret."""
    try:
        return _address(environment.get("OPENAI_BASE_URL"))
    except ValueError as error:
        raise MissingSetting(f"OPENAI_BASE_URL: {error}") from None


class LlmConfig(Section):
    """An OpenAI-compatible chat server. The key comes from the environment variable OPENAI_API_KEY, never from here."""

    model: str | None = Field(None, description="Model name; none takes RLMREC_LLM_MODEL from the environment")
    base_url: Address = Field(None, description="Server address; none takes OPENAI_BASE_URL, else OpenAI itself")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature")
    max_output_tokens: int = Field(400, ge=16, le=16_000, description="Cap on the answer, in tokens")
    server: Annotated[ServerKind, NOT_IN_KEY] = Field(
        "auto", description="What kind of server it is; auto finds out by asking"
    )
    mode: Annotated[Literal["online", "batch"], NOT_IN_KEY] = Field(
        "online", description="batch uses the batch endpoint: up to a day, about half the price"
    )
    reasoning: Annotated[Literal["auto", "on", "off"], NOT_IN_KEY] = Field(
        "auto",
        description="Room for a model's thoughts beside its answer; auto gives it when they cut an answer off",
    )
    concurrency: Annotated[int, NOT_IN_KEY] = Field(
        32, ge=1, le=512, description="Most requests in flight at once; a server may allow fewer"
    )
    timeout_seconds: Annotated[float, NOT_IN_KEY] = Field(
        60.0, gt=0, description="Time allowed for one answer, in seconds"
    )
    deadline_seconds: Annotated[float, NOT_IN_KEY] = Field(
        900.0, gt=0, description="Time allowed for one request with all its waiting and retries, in seconds"
    )
    budget_usd: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="Most that this stage's artifact may cost, interrupted runs included, in US dollars"
    )
    approve_above_usd: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="A run whose plan may cost more pauses until somebody approves it in the UI"
    )
    price_in: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="US dollars per million tokens read; none uses the price table"
    )
    price_out: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="US dollars per million tokens written"
    )
    batch_requests: Annotated[int, NOT_IN_KEY] = Field(
        20_000, ge=1, le=50_000, description="mode batch: most requests in one batch"
    )
    batch_poll_seconds: Annotated[float, NOT_IN_KEY] = Field(
        30.0, gt=0, description="mode batch: time between two looks, in seconds"
    )
    open_batches: Annotated[Literal["wait", "abandon"], NOT_IN_KEY] = Field(
        "wait",
        description="What to do about batches that earlier runs left open, in either mode: wait for their answers, or "
        "abandon them, so that their requests are asked anew and may be billed twice",
    )

    def resolved(self, environment: Mapping[str, str] = os.environ) -> Self:
        """These settings with model and address taken from the environment where they are left open.

        Raises MissingSetting if no model is named anywhere: no model is asked, or paid, by default.
        """
        model = self.model or environment.get("RLMREC_LLM_MODEL")
        if not model:
            raise MissingSetting(
                "generator llm needs a model: set llm.model, or the variable RLMREC_LLM_MODEL in the environment of "
                "the process that runs the stages, which has to be started anew for it"
            )
        return self.model_copy(update={"model": model, "base_url": self.base_url or environment_address(environment)})


class ProfileConfig(Section):
    """How the profiles of one side, items or users, are written (RLMRec, section 3.2, eq. 13 and 14)."""

    generator: GeneratorName = Field(
        "extractive", description="extractive needs no key; llm asks a server; imported takes ready ones"
    )
    domain: Domain = Field("generic", description="Which folder of prompt templates to use")
    # The templates enter the key by their digest, wherever they lie.
    prompts_dir: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="Folder of your own templates; none takes the ones shipped"
    )
    max_reviews: int = Field(
        10, ge=1, le=100, description="llm: reviews (items) or interactions (users) sampled into one prompt"
    )
    max_prompt_tokens: int = Field(
        2000, ge=200, le=200_000, description="llm: limit of one prompt, in tokens; longest review trimmed first"
    )
    max_words: int = Field(170, ge=20, le=1000, description="Limit of the summarization, in words")
    seed: int = Field(2023, ge=0, description="Seed of the sampling of reviews")
    fallback: Literal["none", "extractive"] = Field(
        "none", description="llm: what takes the place of a profile that could not be had; always labelled"
    )
    refresh_threshold: int = Field(
        1, ge=1, le=100, description="llm: new or changed interactions from which a refresh asks about a user again"
    )
    llm: LlmConfig = Field(LlmConfig(), description="The model server (generator llm)")

    def resolved(self, environment: Mapping[str, str] = os.environ) -> Self:
        """These settings with what the environment adds, and without what this generator does not read.

        Take a stage's key from these. Raises MissingSetting as `LlmConfig.resolved`.
        """
        if self.generator == "llm":
            return self.model_copy(update={"llm": self.llm.resolved(environment)})
        plain = ProfileConfig()
        return self.model_copy(update={name: getattr(plain, name) for name in ("llm", "fallback", "refresh_threshold")})


class EmbedConfig(Section):
    """How profiles become semantic vectors (RLMRec, section 3.2)."""

    encoder: Literal["minilm", "sentence-transformers", "openai", "imported", "tfidf"] = Field(
        "minilm",
        description="minilm runs offline; imported takes the vectors that came with the data "
        "(ingest.item_vectors_file, or a release that has them); tfidf counts words, to compare the others with",
    )
    model: str | None = Field(None, description="Model name for sentence-transformers or openai")
    base_url: Address = Field(
        None, description="openai: server address; none takes OPENAI_BASE_URL, else OpenAI itself"
    )
    server: Annotated[ServerKind, NOT_IN_KEY] = Field("auto", description="openai: what kind of server it is")
    concurrency: Annotated[int, NOT_IN_KEY] = Field(
        4, ge=1, le=128, description="openai: most requests in flight at once"
    )
    budget_usd: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="openai: most that the vectors may cost, interrupted runs included, in US dollars"
    )
    price_in: Annotated[float | None, NOT_IN_KEY] = Field(
        None, ge=0, description="openai: US dollars per million tokens; none uses the price table"
    )
    retry_failed: Annotated[bool, NOT_IN_KEY] = Field(
        False, description="openai: ask again about texts for which an earlier run got no vector"
    )
    embed_source: EmbedSource = Field(
        "profile", description="Text to embed; the paper embeds the profile's summarization"
    )
    user_vectors: Literal["profile", "item_mean"] = Field(
        "profile",
        description="profile embeds the user's text; item_mean takes the normalised mean of the train items' vectors",
    )
    new_items: bool = Field(
        False,
        description="Also embed items that have text but nothing the models learn from: new articles, and those held "
        "out by prepare.cold_items. They get lists of their own, and are measured where they were held out",
    )
    batch_tokens: int | None = Field(
        None,
        ge=64,
        le=300_000,
        description="Tokens in one batch; none takes 1024 on the CPU, 65,536 on a GPU, 100,000 for a server",
    )
    bf16: bool = Field(
        False,
        description="minilm on the CPU: large products in bfloat16, nearly twice as fast on CPUs with AVX-512 BF16 or "
        "AMX, slower elsewhere; cosines with the vectors of fp32 are above .9999",
    )
    device: Device = DEVICE

    @model_validator(mode="after")
    def _weighs_words_of_its_texts_alone(self) -> Self:
        if self.encoder == "tfidf" and self.new_items:
            raise ValueError(
                "encoder tfidf weighs words by the texts of one run and cannot place new items: take minilm"
            )
        return self

    def resolved(self, environment: Mapping[str, str] = os.environ) -> Self:
        """These settings with the server's address taken from the environment where it is left open.

        Take the stage's key from these. Raises MissingSetting if an encoder that needs a model has none.
        """
        if self.encoder == "minilm":
            device = settled(self.device)
            own = {"model": None, "base_url": None, "device": device, "bf16": self.bf16 and device == "cpu"}
            return self.model_copy(update=own)
        if self.bf16:
            return self.model_copy(update={"bf16": False}).resolved(environment)
        if self.encoder == "tfidf":
            return self.model_copy(update={"model": None, "base_url": None, "batch_tokens": None, "device": "cpu"})
        if self.encoder == "imported":
            plain = EmbedConfig()
            unread = ("model", "base_url", "embed_source", "batch_tokens")
            return self.model_copy(update={name: getattr(plain, name) for name in unread} | {"device": "cpu"})
        if not self.model:
            raise MissingSetting(f"encoder {self.encoder} needs embed.model: the name of an embedding model")
        if self.encoder == "openai":
            return self.model_copy(
                update={"base_url": self.base_url or environment_address(environment), "device": "cpu"}
            )
        return self.model_copy(update={"base_url": None, "device": settled(self.device)})

    @property
    def client(self) -> LlmConfig:
        """The settings of the client that asks an embedding server; model and address as resolved."""
        return LlmConfig(
            model=self.model, base_url=self.base_url, server=self.server, concurrency=self.concurrency,
            timeout_seconds=120.0, budget_usd=self.budget_usd, price_in=self.price_in, price_out=0.0,
        )  # fmt: skip
