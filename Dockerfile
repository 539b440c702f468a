# The worker and the server of rlmrec: `docker build -t rlmrec .`; compose.yaml runs it with all it needs.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
# First what changes seldom: every package in the version and with the digests that were tested together.
COPY requirements.lock constraints.txt ./
# The lock file's torch is built for CUDA. TORCH_INDEX can name an index of other builds, with other digests than the lock
# file's: the one of CPU builds, a tenth of the size; or, with CUDA, the folder above those for each version, of which
# CUDA names one by its folder, such as cu126 for an older driver.
ARG TORCH_INDEX
ARG CUDA
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX${CUDA:+/$CUDA}" torch; \
        grep -E '^[a-z0-9]' requirements.lock | grep -Ev '^(torch==|triton|nvidia-|cuda-)' | cut -d' ' -f1 > versions.txt; \
        pip install --no-cache-dir --no-deps -r versions.txt; \
    else \
        pip install --no-cache-dir --require-hashes -r requirements.lock; \
    fi; \
    if [ -n "$CUDA" ]; then \
        python -c "import sys, torch; sys.exit('cu' + str(torch.version.cuda).replace('.', '') != '$CUDA')" \
            || { echo "torch is not built for CUDA=$CUDA; TORCH_INDEX names where such a build is"; exit 1; }; \
    fi
COPY pyproject.toml LICENSE README.md ./
COPY flows flows
COPY tasks tasks
COPY rlmrec_core rlmrec_core
COPY prompts prompts
COPY storage storage
RUN pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 rlmrec && install -d -o rlmrec /data
COPY --from=build /venv /venv
WORKDIR /app
COPY prefect.yaml prefect.toml alarms.yaml deploy/with-secrets.sh ./
USER rlmrec
ENV PATH=/venv/bin:$PATH RLMREC_HOME=/app RLMREC_STORE=/data/artifacts RLMREC_SCRATCH=/data/scratch MPLCONFIGDIR=/tmp/matplotlib \
    PREFECT_SERVER_UI_V2_ENABLED=false PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
VOLUME /data
CMD ["prefect", "worker", "start", "--pool", "rlmrec", "--type", "process"]
