# The worker of rlmrec: `docker build -t rlmrec .`; compose.yaml runs it with all it needs.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY flows flows
COPY tasks tasks
COPY rlmrec_core rlmrec_core
COPY prompts prompts
COPY storage storage
# PIP_EXTRA_INDEX_URL can name the index of torch's CPU builds: a tenth of the size, no CUDA.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -c constraints.txt '.[s3]'

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 rlmrec && install -d -o rlmrec /data
COPY --from=build /venv /venv
WORKDIR /app
COPY prefect.yaml prefect.toml alarms.yaml ./
USER rlmrec
ENV PATH=/venv/bin:$PATH RLMREC_HOME=/app RLMREC_STORE=/data/artifacts RLMREC_SCRATCH=/data/scratch MPLCONFIGDIR=/tmp/matplotlib \
    PREFECT_SERVER_UI_V2_ENABLED=false PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
VOLUME /data
CMD ["prefect", "worker", "start", "--pool", "rlmrec", "--type", "process"]
